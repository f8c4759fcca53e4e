//! Queues to which a NIC leads a pod's packets: drivers are asked, what somebody removed is put back, and what an ADD that
//! died was trying is taken away.

use super::{Node, now};
use offramp_core::cni::CniError;
use offramp_core::ids::{AttachmentId, IfName};
use offramp_core::lend::{Fault, LentQueues};
use offramp_core::net::Family;
use offramp_core::nic::{Inventory, Port, PortKey};
use offramp_core::pool::{QueueKind, QueuePool};
use offramp_core::queue::QueueClaim;
use offramp_core::record::{Mode, Record, State};
use offramp_core::steer::{SharedQueues, SteerQueues, Takes};
use offramp_core::vf::uplink::below;
use offramp_core::wire::Prepare;
use offramp_kernel::ethtool::{Ethtool, Tables};
use offramp_kernel::netlink::Socket;
use offramp_kernel::steering::{self, Answer, Device, probes};
use offramp_kernel::uplink::node_links;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What drivers have answered.
#[derive(Debug, Default)]
pub struct Answers(Mutex<HashMap<Question, Answer>>);

/// Who was asked, and when it is another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Question {
    /// A netdev's number: who is loaded anew has another.
    ifindex: u32,
    /// Its flow rules were turned off.
    without_rules: bool,
}

impl Question {
    fn now(nic: &IfName, ifindex: u32) -> offramp_kernel::Result<Self> {
        let ethtool = Ethtool::require(format!("ask {nic} for flow rules"));
        Ok(Self { ifindex, without_rules: ethtool?.ntuple_is_off(nic)? })
    }
}

impl Answers {
    /// Forgets refusals that may have passed, as that of a table that was full.
    pub(super) fn forget_what_may_pass(&self) {
        self.lock().retain(|_, answer| answer.lasts);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, question: Question) -> Option<Answer> {
        self.lock().get(&question).cloned()
    }
}

/// A try that is not over yet.
pub(super) enum Unasked {
    /// The driver leads none of what pods need; it is known from now on.
    Refused,
    /// What was tried is still there, and why: the queues are in quarantine.
    Left(CniError),
}

/// How a pod's queues were found.
#[derive(Default)]
struct Repaired {
    /// How much was put back.
    made: usize,
    /// Others' packets come there, too.
    shared: Option<SharedQueues>,
}

impl Node {
    /// Why packets cannot be led to a port's queues, as far as that is known without touching the NIC.
    pub(super) fn steer_fault(&self, port: &Port) -> Option<Fault> {
        let nic = &port.netdev;
        let refused = |words: String| {
            Some(Fault::Refused(format!("its driver, {}, leads no packets to queues: {words}", port.driver)))
        };
        if let Err(fault) = self.leads_to_pods(nic) {
            return Some(fault);
        }
        let asked = match Question::now(nic, port.ifindex) {
            Ok(asked) => asked,
            Err(e) => return Some(Fault::Passing(e.to_string())),
        };
        if let Some(answer) = self.steerers.of(asked) {
            answer.takes.lacks(self.families())?;
            let words = answer.refusal.unwrap_or_else(|| "it has rules for a part of them only".into());
            return if answer.lasts { refused(words) } else { Some(Fault::Passing(words)) };
        }
        match Ethtool::require(format!("ask {nic} for RSS contexts")).and_then(|mut e| e.lacks_steering(nic))
        {
            Ok(None) => None,
            Ok(Some(words)) => refused(words),
            Err(e) => Some(Fault::Passing(e.to_string())),
        }
    }

    /// Only what comes by the node's uplink is for pods.
    fn leads_to_pods(&self, nic: &IfName) -> Result<(), Fault> {
        let uplink = self.view().uplink.as_ref().map(|uplink| uplink.name.clone());
        let uplink =
            uplink.ok_or_else(|| Fault::Passing("the node's uplink is not known, or is down".into()))?;
        let links = Socket::open().and_then(|mut socket| node_links(&mut socket));
        let links = links.map_err(|e| Fault::Passing(e.to_string()))?;
        if below(&uplink, &links).contains(nic) {
            return Ok(());
        }
        Err(Fault::Refused(format!("pods' packets come by the uplink {uplink}, and not by {nic}")))
    }

    fn families(&self) -> BTreeSet<Family> {
        self.ranges().iter().map(|range| Family::of(range.subnet.ip())).collect()
    }

    /// What the NIC's rules can lead. Asked once, if the answer lasts, on queues that were claimed for that.
    pub(super) fn ask_steerer(&self, ask: &Prepare, lent: &LentQueues) -> Result<Takes, Unasked> {
        let ifindex = offramp_kernel::link::index_of(&lent.nic).map_err(|e| Unasked::Left(e.into()))?;
        let asked = ifindex.map(|index| Question::now(&lent.nic, index)).transpose();
        let asked = asked.map_err(|e| Unasked::Left(e.into()))?;
        let known = asked.and_then(|asked| self.steerers.of(asked));
        let answer = match known {
            Some(answer) => answer,
            None => {
                let answer = self.ask(lent).map_err(|e| {
                    self.quarantine_queues(ask, lent);
                    Unasked::Left(e)
                })?;
                tracing::info!(nic = %lent.nic, ?answer, "was asked which packets it can lead to queues");
                let still =
                    |asked: &Question| Question::now(&lent.nic, asked.ifindex).is_ok_and(|now| now == *asked);
                if let Some(asked) = asked.filter(still) {
                    self.steerers.lock().insert(asked, answer.clone());
                }
                answer
            }
        };
        match answer.takes.lacks(self.families()) {
            None => Ok(answer.takes),
            Some(_) => Err(Unasked::Refused),
        }
    }

    fn ask(&self, lent: &LentQueues) -> Result<Answer, CniError> {
        let _rules = self.store.lock_flow_rules()?;
        let probe = probe(lent.nic.clone(), lent);
        Ok(steering::ask(&mut Device::open(&lent.nic)?, &probe)?)
    }

    fn quarantine_queues(&self, ask: &Prepare, lent: &LentQueues) {
        let claims = self.store.queue_claims();
        for queue in lent.refs() {
            if let Ok(Some(claim)) = claims.read(&queue)
                && claim.holder == ask.attachment
                && let Err(e) = claims.set(&claim.given_back(now()))
            {
                tracing::warn!(%queue, error = %e, "cannot be put in quarantine");
            }
        }
        self.bench.ring();
    }

    /// Puts back what is not on NICs any more of pods that are there; how many of them lacked something.
    pub(super) fn repair_steering(&self, claims: &[QueueClaim]) -> u64 {
        let may_be =
            |claim: &QueueClaim| self.pool_of(claim).is_none_or(|pool| pool.kind == QueueKind::Steer);
        let lent = claims.iter().filter(|claim| !claim.in_quarantine() && may_be(claim));
        let holders: BTreeSet<&AttachmentId> = lent.map(|claim| &claim.holder).collect();
        let (mut repairs, mut faults) = (0, Vec::new());
        for holder in holders {
            match self.repair_one(holder) {
                Ok(looked) => {
                    if looked.made > 0 {
                        let made = looked.made;
                        tracing::warn!(%holder, made, "what leads its packets to its queues was gone, it is put back");
                        repairs += 1;
                    }
                    if let Some(shared) = looked.shared {
                        let problem = format!("{shared}: ethtool -X {} equal N ends that", shared.nic);
                        tracing::warn!(problem);
                        faults.push(problem);
                    }
                }
                Err(e) => {
                    tracing::warn!(%holder, error = %e, "its packets are not led to its queues");
                    faults.push(format!("{holder}: its packets are not led to its queues: {e}"));
                }
            }
        }
        self.view().unsteered = faults;
        repairs
    }

    /// None: the configuration does not have it any more.
    fn pool_of(&self, claim: &QueueClaim) -> Option<&QueuePool> {
        self.config.queue_pools.iter().find(|pool| pool.name == claim.pool)
    }

    fn repair_one(&self, holder: &AttachmentId) -> Result<Repaired, CniError> {
        let nothing = Repaired::default();
        // Whoever holds the lock works on it.
        let Ok(_lock) = self.store.lock(holder, Duration::ZERO) else { return Ok(nothing) };
        let Some(record) = self.store.read(holder)? else { return Ok(nothing) };
        let Record { state: State::Ready, mode: Mode::Node, plan, .. } = &record else { return Ok(nothing) };
        let Some(want) = plan.steering() else { return Ok(nothing) };
        let Some(inventory) = self.nics.seen() else { return Ok(nothing) };
        let Some(port) = inventory.port(&want.port) else { return Ok(nothing) };
        let want = SteerQueues { nic: port.netdev.clone(), ..want.clone() };
        let _rules = self.store.lock_flow_rules()?;
        let mut device = Device::open(&want.nic)?;
        let made = steering::apply(&mut device, &want)?;
        let queues = steering::mixed(&mut device, &want)?;
        let shared = SharedQueues { holder: holder.clone(), nic: want.nic, queues };
        Ok(Repaired { made, shared: Some(shared).filter(|shared| !shared.queues.is_empty()) })
    }

    /// Takes away what was tried on the port's queues by an ADD that died meanwhile; the contexts that are left. Of an
    /// attachment with a record nothing is left by then.
    fn clear_tries(&self, port: &Port, claims: &[QueueClaim]) -> Result<Tables, String> {
        let is_unheld = |claim: &&QueueClaim| claim.in_quarantine() && claim.queue.port == port.key;
        let unheld = claims.iter().filter(is_unheld).map(|claim| claim.queue.queue).collect();
        let _rules = self.store.lock_flow_rules().map_err(|e| e.to_string())?;
        let cleared = Device::open(&port.netdev)
            .and_then(|mut device| steering::clear_tries(&mut device, &port.key, &unheld));
        cleared.map_err(|e| e.to_string())
    }

    /// Why a queue in quarantine is not free as far as contexts tell.
    pub(super) fn still_steered(
        &self,
        claim: &QueueClaim,
        claims: &[QueueClaim],
        inventory: &Inventory,
        cleared: &mut Cleared,
    ) -> Option<String> {
        self.pool_of(claim).filter(|pool| pool.kind == QueueKind::Steer)?;
        let port = inventory.port(&claim.queue.port)?;
        let left = cleared.entry(port.key.clone()).or_insert_with(|| self.clear_tries(port, claims));
        match left {
            Ok(left) => has_it(&port.netdev, left, claim.queue.queue),
            Err(why) => Some(why.clone()),
        }
    }
}

/// What is left on ports that were looked at.
pub(super) type Cleared = HashMap<PortKey, Result<Tables, String>>;

/// The context that has a queue, and how that ends.
pub(super) fn has_it(nic: &IfName, contexts: &Tables, queue: u32) -> Option<String> {
    let (id, _) = contexts.iter().find(|(_, table)| table.contains(&queue))?;
    Some(format!("RSS context {id} has it: ethtool -X {nic} context {id} delete frees it"))
}

fn probe(nic: IfName, lent: &LentQueues) -> SteerQueues {
    SteerQueues { port: lent.port.clone(), nic, queues: lent.queues.clone(), leads: probes() }
}
