//! Asks when something has changed, and concludes.

use super::ask::{Ends, ask};
use super::cures::Cures;
use super::{Order, features, report};
use crate::node::{Node, now};
use crate::overlay::{Links, Target};
use crate::status::{KindStatus, StageStatus};
use offramp_core::peer::{Peer, Peers};
use offramp_core::probe::{Cure, Feature, Kind, ROUNDS, Round, Stage, Trial, Verdict, judge, ladder, wait};
use offramp_kernel::random;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many peers of each kind of path are asked, whoever answers first.
const ASKED: usize = 3;
/// Rings come in swarms: no two looks follow each other closer than this.
const APART: Duration = Duration::from_secs(1);
/// New peers may answer what nobody did; but not each of thousands that come and go.
const TIMES_WITH_NEW_PEERS: u32 = 3;

/// What must be as it was for verdicts to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    links: Links,
    kinds: Vec<Kind>,
    /// Those that are on, of the tunnel's device and of the uplink.
    on: Vec<String>,
}

struct Prober<'a> {
    node: &'a Node,
    cures: Cures,
    found: BTreeMap<Kind, KindStatus>,
    seen: Option<Signature>,
    peers: Peers,
    /// How often something stayed unknown, and when that is asked again.
    times: u32,
    next: Option<Instant>,
    /// When what is due is asked: not by all nodes at once.
    start: Option<Instant>,
    /// An operator has put back what was turned off, and does not want it off.
    held: bool,
}

/// Looks for ever.
pub fn run(node: &Arc<Node>) {
    let mut prober = Prober {
        node,
        cures: Cures::recall(node),
        found: BTreeMap::new(),
        seen: None,
        peers: Peers::default(),
        times: 0,
        next: None,
        start: None,
        held: false,
    };
    let mut looked: Option<Instant> = None;
    loop {
        let order = node.probes.wait(prober.start.or(prober.next));
        if order == Order::Look {
            std::thread::sleep(looked.map_or(Duration::ZERO, |at| APART.saturating_sub(at.elapsed())));
            looked = Some(Instant::now());
        }
        let outcome = prober.serve(order);
        let asked = if let Order::Probe { asked, .. } = order { Some(asked) } else { None };
        node.probes.publish(report::status(&prober.found, prober.cures.all(), node), asked);
        if let Some(outcome) = outcome {
            node.ran("probe", outcome.map(|()| 0));
        }
    }
}

impl Prober<'_> {
    /// None: there was nothing to do.
    fn serve(&mut self, order: Order) -> Option<Result<(), String>> {
        if let Order::Probe { undo, .. } = order {
            self.held = undo;
        }
        if !self.may_cure()
            && let Err(e) = self.cures.put_back(self.node, |_| true).outcome
        {
            return Some(Err(e.to_string()));
        }
        if !self.node.config.offloads.probe {
            return None;
        }
        let seen = self.node.view().overlay.clone()?;
        let Some(links) = seen.links() else {
            self.found.clear();
            (self.seen, self.next, self.start) = (None, None, None);
            return None;
        };
        let targets = seen.targets();
        // What is on again now may be broken: that is tested without delay.
        let at_once = matches!(order, Order::Probe { .. }) || self.cures.in_doubt(&links);
        let followed = self.cures.follow(self.node, &links).map_err(|e| e.to_string());
        let due = self.is_due(order, &links, &targets);
        if !due || !self.has_begun(at_once, &targets) {
            self.start = self.start.filter(|_| due);
            return followed.err().map(Err);
        }
        self.found.retain(|kind, _| targets.iter().any(|t| t.kind == *kind));
        let mut outcome = followed;
        for target in &targets {
            outcome = outcome.and(self.probe(target, &links));
        }
        self.settle(links, &targets);
        Some(outcome)
    }

    fn may_cure(&self) -> bool {
        self.node.config.offloads.probe && self.node.config.offloads.cure > Cure::None && !self.held
    }

    /// Whether verdicts may be others, or were none.
    fn is_due(&mut self, order: Order, links: &Links, targets: &[Target]) -> bool {
        let peers = self.node.view().peers.clone();
        if !Arc::ptr_eq(&peers, &self.peers) {
            self.peers = peers;
            // Never later than planned: where peers come all the time, that would be never.
            if let Some(planned) = self.next {
                self.times = self.times.min(TIMES_WITH_NEW_PEERS);
                self.next = Some(planned.min(self.retry()));
            }
        }
        let is_other = self.seen.as_ref() != Some(&signature(links, targets));
        if is_other {
            self.times = 0;
        }
        let is_time = self.next.is_some_and(|at| at <= Instant::now());
        is_other || is_time || matches!(order, Order::Probe { .. })
    }

    /// Whether it is time for what is due; if not, it is planned, and orders are served until then.
    fn has_begun(&mut self, at_once: bool, targets: &[Target]) -> bool {
        let now = Instant::now();
        let peers = targets.iter().map(|t| t.peers.len()).max().unwrap_or(0);
        let planned = || now + wait::before(peers, random::bits64().unwrap_or(0));
        let start = *self.start.get_or_insert_with(planned);
        let begun = at_once || start <= now;
        self.start = self.start.filter(|_| !begun);
        begun
    }

    /// Remembers what this was found with, and when to ask again.
    fn settle(&mut self, links: Links, targets: &[Target]) {
        self.seen = Some(signature(&links, targets));
        let unknown = |stage: &StageStatus| matches!(stage.verdict, Verdict::Unknown { .. });
        self.next = None;
        if self.found.values().flat_map(|kind| &kind.stages).any(unknown) {
            self.next = Some(self.retry());
            self.times = self.times.saturating_add(1);
        }
    }

    /// When to ask what stayed unknown again.
    fn retry(&self) -> Instant {
        Instant::now() + wait::again(self.times, random::bits64().unwrap_or(0))
    }

    /// One kind of path, stage by stage.
    fn probe(&mut self, target: &Target, links: &Links) -> Result<(), String> {
        let mut outcome = Ok(());
        let mut stages: Vec<StageStatus> = Vec::new();
        for stage in Stage::ALL {
            let before = stages.last();
            let verdict = match before.filter(|before| before.verdict != Verdict::Works) {
                Some(before) => Verdict::unknown(format!("{} comes first", before.stage)),
                None => match self.stage(target, links, stage) {
                    Ok(verdict) => verdict,
                    Err(e) => {
                        outcome = Err(e.clone());
                        Verdict::unknown(e)
                    }
                },
            };
            tracing::debug!(path = %target.kind, %stage, %verdict, "probed");
            stages.push(StageStatus { stage, verdict });
        }
        let (device, peers) = (target.device.clone(), target.peers.len());
        let status = KindStatus { kind: target.kind, device, peers, stages, at: now() };
        self.found.insert(target.kind, status);
        outcome
    }

    /// Asks, and if something does not arrive, turns off what may help.
    fn stage(&mut self, target: &Target, links: &Links, stage: Stage) -> Result<Verdict, String> {
        let peers = chosen(&target.peers);
        let trial = |node: &Node| judge(&trials(node, target, &peers, stage));
        let verdict = trial(self.node);
        if verdict != Verdict::Faulty || !self.may_cure() {
            return Ok(verdict);
        }
        self.climb(target, links, stage, &|node| trial(node) == Verdict::Works)
    }

    /// Turns off one thing after the other, until something `helps`; what does not, or is refused, is left on.
    fn climb(
        &mut self,
        target: &Target,
        links: &Links,
        stage: Stage,
        helps: &dyn Fn(&Node) -> bool,
    ) -> Result<Verdict, String> {
        let failed = |e: offramp_kernel::Error| e.to_string();
        for rung in rungs(self.node.config.offloads.cure, target.kind, stage, links).map_err(failed)? {
            let what = format!("{} of {}", rung.features.join(", "), rung.device);
            let tried = self.cures.attempt(self.node, rung, (target.kind, stage), links);
            let is_cure = tried.is_ok() && helps(self.node);
            self.cures.conclude(self.node, is_cure).map_err(failed)?;
            if is_cure {
                report::tell(self.node, target.kind, stage, &what);
                return Ok(Verdict::Works);
            }
            let why = tried.err().map_or_else(|| "it does not help".to_owned(), failed);
            tracing::warn!(path = %target.kind, %stage, what, why, "it is on again");
        }
        Ok(Verdict::Faulty)
    }
}

fn signature(links: &Links, targets: &[Target]) -> Signature {
    let on = links.devices().flat_map(|(device, _)| {
        let all = features::read(device).unwrap_or_default();
        all.into_iter().filter(|f| f.can_go).map(move |f| format!("{device} {}", f.name))
    });
    Signature { links: links.clone(), kinds: targets.iter().map(|t| t.kind).collect(), on: on.collect() }
}

fn rungs(
    cure: Cure,
    kind: Kind,
    stage: Stage,
    links: &Links,
) -> offramp_kernel::Result<Vec<offramp_core::probe::Rung>> {
    let tunnel = links.tunnel.as_ref().map(|(name, _)| name);
    let inside: Option<Vec<Feature>> = tunnel.map(features::read).transpose()?;
    let uplink = features::read(&links.uplink.0)?;
    let tunnel = tunnel.zip(inside.as_deref());
    Ok(ladder(stage, kind.way, cure, tunnel, Some((&links.uplink.0, &uplink))))
}

/// A few of them, others each time.
fn chosen(peers: &[(Arc<Peer>, IpAddr)]) -> Vec<(Arc<Peer>, IpAddr)> {
    let start = random::bits64().unwrap_or(0) as usize % peers.len().max(1);
    peers.iter().cycle().skip(start).take(ASKED.min(peers.len())).cloned().collect()
}

/// Asks one after the other, until one says that it works.
fn trials(node: &Node, target: &Target, peers: &[(Arc<Peer>, IpAddr)], stage: Stage) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (peer, gateway) in peers {
        let ends = Ends { from: target.from, to: SocketAddr::new(*gateway, node.config.offloads.port) };
        let mut rounds = Vec::new();
        while rounds.len() < ROUNDS && !rounds.contains(&Round::Passes) {
            rounds.push(ask(stage, ends).unwrap_or_else(Round::Unclear));
        }
        let passed = rounds.contains(&Round::Passes);
        trials.push(Trial { peer: peer.name.clone(), rounds });
        if passed {
            break;
        }
    }
    trials
}
