//! The queues of this node's NICs that pods can have: asked of the drivers, and looked after.

use super::steering::{Cleared, has_it};
use super::{Node, now};
use offramp_core::cni::CniError;
use offramp_core::ids::IfName;
use offramp_core::lend::{Fault, Holding, Lessor, NodeQueues, QueuesTaken};
use offramp_core::nic::{Inventory, Port, PortKey};
use offramp_core::offload::{Answer, Flows};
use offramp_core::pool::{FlowRules, QueueKind};
use offramp_core::queue::{QueueClaim, QueueRef};
use offramp_core::vf::Claimed;
use offramp_kernel::ethtool::{Ethtool, Tables};
use offramp_kernel::queues::{Lacking, Queues, RxQueue, lacking};
use offramp_ledger::QueueClaims;
use offramp_ledger::clean::pause;
use offramp_ledger::queues::{Looked, QueuesClaimed, Seen, look};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What drivers have answered, by the numbers of their netdevs: who is loaded anew has another.
#[derive(Debug, Default)]
pub struct Asked(Mutex<HashMap<u32, Option<Lacking>>>);

impl Asked {
    /// Forgets what an operator may have cured: netkit's module may be there now.
    pub(super) fn forget_what_may_pass(&self) {
        self.lock().retain(|_, answer| !matches!(answer, Some(Lacking::Netkit(_))));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Option<Lacking>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a port lacks for its queues to be leased; none: nothing. Asked once, if the answer lasts: it takes a namespace.
    fn lacking(&self, port: &Port) -> Result<Option<Lacking>, String> {
        let mut asked = self.lock();
        if let Some(known) = asked.get(&port.ifindex) {
            return Ok(known.clone());
        }
        let answer = lacking(port.netdev.as_str(), port.ifindex)
            .map_err(|e| format!("whether they can be leased is not known: {e}"))?;
        tracing::info!(nic = %port.netdev, ?answer, "was asked whether its queues can be leased");
        Ok(asked.entry(port.ifindex).or_insert(answer).clone())
    }

    /// Whether a port's driver leases queues.
    pub fn whether_leases(&self, port: &Port) -> Answer {
        match self.lacking(port) {
            Ok(None) => Answer::There,
            Ok(Some(Lacking::Kernel(why) | Lacking::Netkit(why) | Lacking::Driver(why))) => {
                Answer::Missing { why }
            }
            Err(why) => Answer::Unknown { why },
        }
    }

    /// Why none of a port's queues can be leased.
    fn fault(&self, port: &Port) -> Option<Fault> {
        let lacking = match self.lacking(port) {
            Ok(lacking) => lacking,
            Err(why) => return Some(Fault::Passing(why)),
        };
        lacking.map(|lacking| {
            Fault::Refused(match lacking {
                Lacking::Kernel(why) | Lacking::Netkit(why) => why,
                Lacking::Driver(words) => {
                    format!("its driver, {}, leases no queues: {words}", port.driver)
                }
            })
        })
    }
}

/// When queues in quarantine are looked at again.
pub type Due = HashMap<QueueRef, Instant>;

impl Node {
    /// What there is to choose from now; nothing where no pool is of queues.
    pub fn queues(&self, inventory: &Inventory) -> Result<NodeQueues, CniError> {
        let pools = &self.config.queue_pools;
        if pools.is_empty() {
            return Ok(NodeQueues::default());
        }
        let named = |port: &Port, kind| {
            let of_kind = pools.iter().filter(|pool| pool.kind == kind);
            of_kind.flat_map(|pool| &pool.nics).any(|nic| nic.of == port.netdev)
        };
        let taken = taken(&self.store.queue_claims().list()?);
        let mut lessors = Vec::new();
        for kind in [QueueKind::Lease, QueueKind::Steer] {
            let ports = inventory.ports.iter().filter(|port| named(port, kind));
            lessors.extend(ports.map(|port| self.lessor(port, kind, &taken)));
        }
        Ok(NodeQueues { pools: pools.clone(), lessors, taken })
    }

    fn lessor(&self, port: &Port, kind: QueueKind, taken: &QueuesTaken) -> Lessor {
        let seen = if port.up { queues_of(port) } else { Err(format!("{} is down", port.netdev)) };
        let (queues, unseen) = match seen {
            Ok(queues) => (queues, None),
            Err(why) => (Vec::new(), Some(Fault::Passing(why))),
        };
        Lessor {
            port: port.key.clone(),
            nic: port.netdev.clone(),
            kind,
            numa: port.numa,
            queues: queues.last().map_or(0, |last| last.id + 1),
            fault: match kind {
                QueueKind::Lease => self.asked.fault(port),
                QueueKind::Steer => self.steer_fault(port),
            }
            .or(unseen),
            in_use: in_use(port, kind, &queues, taken),
        }
    }

    /// Looks at the queues that nobody has any more; returns how many claims without a holder it found.
    pub(crate) fn look_after_queues(&self) -> Result<u64, CniError> {
        let claims = self.store.queue_claims();
        claims.remove_torn()?;
        // Before the first look at the NICs all would seem gone.
        let Some(inventory) = self.nics.seen() else { return Ok(0) };
        let (mut listing, mut repairs) = (claims.list()?, 0);
        let mut sights = Sights::default();
        repairs += self.repair_steering(&listing.claims);
        let mut due = self.queues_due.lock().unwrap_or_else(PoisonError::into_inner);
        due.retain(|queue, _| listing.claims.iter().any(|c| c.in_quarantine() && c.queue == *queue));
        for claim in &mut listing.claims {
            let abandoned =
                || claims.give_back_if_abandoned(&self.store, claim, now()).is_ok_and(|gone| gone);
            if !claim.in_quarantine() && abandoned() {
                tracing::warn!(queue = %claim.queue, holder = %claim.holder, "its holder is gone, it will be looked at");
                *claim = claim.clone().given_back(now());
                repairs += 1;
            }
        }
        let mut cleared = Cleared::new();
        for claim in &listing.claims {
            let waits = |at: &Instant| *at > Instant::now();
            if claim.in_quarantine() && !due.get(&claim.queue).is_some_and(waits) {
                let seen = match self.still_steered(claim, &listing.claims, &inventory, &mut cleared) {
                    None => self.seen(&mut sights, claim, &inventory),
                    Some(why) => &Seen::Unseen(why),
                };
                match look_at_queue(&claims, claim, seen) {
                    Some(at) => drop(due.insert(claim.queue.clone(), at)),
                    None => drop(due.remove(&claim.queue)),
                }
            }
        }
        due.values().for_each(|at| self.bench.look_at(*at));
        Ok(repairs)
    }

    /// A NIC is looked at once, however many of its queues are in quarantine.
    fn seen<'a>(&self, sights: &'a mut Sights, claim: &QueueClaim, inventory: &Inventory) -> &'a Seen {
        // Of a pool that is not in the configuration any more, the safe way.
        let pool = self.config.queue_pools.iter().find(|pool| pool.name == claim.pool);
        let rules = pool.map(|pool| pool.rules).unwrap_or_default();
        let key = &claim.queue.port;
        sights.entry((key.clone(), rules)).or_insert_with(|| see(inventory.port(key), rules))
    }

    /// The queues that are not free, and what an operator should know of them.
    pub(super) fn queue_claims(&self) -> (Vec<QueueClaim>, Vec<String>) {
        let QueuesClaimed { claims, unreadable } = self.store.queue_claims().list().unwrap_or_default();
        let is_stuck = |claim: &&QueueClaim| matches!(claim.state, Claimed::Quarantine { attempts: 1.., .. });
        let stuck = claims.iter().filter(is_stuck).map(ToString::to_string);
        let unsteered = self.view().unsteered.clone();
        let problems = stuck.chain(unreadable.into_iter().map(|(.., why)| why)).chain(unsteered).collect();
        (claims, problems)
    }
}

/// When one that cannot be freed yet is looked at again: soon, later each time.
fn look_at_queue(claims: &QueueClaims, claim: &QueueClaim, seen: &Seen) -> Option<Instant> {
    let (queue, attempts) = match claim.state {
        Claimed::Quarantine { attempts, .. } => (&claim.queue, attempts),
        Claimed::Lent => return None,
    };
    let why = match look(claims, claim, seen) {
        Ok(Looked::Free) => {
            tracing::info!(%queue, "nobody has it, it is free");
            return None;
        }
        Ok(Looked::Gone) => {
            tracing::warn!(%queue, "it is gone, and its claim with it");
            return None;
        }
        Ok(Looked::Kept(why)) => why,
        Err(e) => e.to_string(),
    };
    tracing::warn!(%queue, why, "it stays in quarantine");
    Some(Instant::now() + pause(attempts.saturating_add(1)))
}

/// NICs that were looked at, and what of their rules counted.
type Sights = HashMap<(PortKey, FlowRules), Seen>;

fn see(port: Option<&Port>, rules: FlowRules) -> Seen {
    let Some(port) = port else { return Seen::Gone };
    if !port.up {
        return Seen::Unseen(format!("{} is down: who has it is not told", port.netdev));
    }
    let queues = match queues_of(port) {
        Ok(queues) => queues,
        Err(why) => return Seen::Unseen(why),
    };
    match counting(rules, || flows_of(&port.netdev)) {
        Ok(flows) => Seen::Nic { nic: port.netdev.clone(), queues, flows },
        Err(why) => Seen::Unseen(why),
    }
}

/// The flow rules that keep queues in quarantine. Some drivers count them, and never tell them: an operator ends that.
fn counting(
    rules: FlowRules,
    flows: impl FnOnce() -> offramp_kernel::Result<Flows>,
) -> Result<Flows, String> {
    let how = "if none matters, set rules: ignore of its pool";
    match rules {
        FlowRules::Ignore => Ok(Flows::default()),
        FlowRules::Quarantine => {
            flows().map_err(|e| format!("whether a flow rule leads to it is not known: {e}; {how}"))
        }
    }
}

/// A claim that cannot be read is somebody's.
fn taken(claimed: &QueuesClaimed) -> QueuesTaken {
    let mut taken: QueuesTaken = claimed.claims.iter().collect();
    for (port, queue, _) in &claimed.unreadable {
        taken.insert(port.clone(), *queue, Holding::unclear("its claim cannot be read"));
    }
    taken
}

fn queues_of(port: &Port) -> Result<Vec<RxQueue>, String> {
    Queues::open().and_then(|mut queues| queues.of_link(port.ifindex)).map_err(|e| e.to_string())
}

/// None without ethtool's netlink (Linux 5.6): then no queue was ever leased.
fn flows_of(nic: &IfName) -> offramp_kernel::Result<Flows> {
    Ethtool::open()?.map_or_else(|| Ok(Flows::default()), |mut ethtool| ethtool.flows(nic))
}

/// What keeps queues from being lent although nobody has a claim on them.
fn in_use(port: &Port, kind: QueueKind, queues: &[RxQueue], taken: &QueuesTaken) -> BTreeMap<u32, String> {
    let nic = &port.netdev;
    let (spread, unknown) = match Spread::of(nic, kind) {
        Ok(spread) => (spread, None),
        Err(e) => (Spread::default(), Some(e.to_string())),
    };
    let why = |queue: &RxQueue| spread.keeps(nic, queue).or_else(|| unknown.clone());
    let unclaimed = queues.iter().filter(|queue| taken.get(&port.key, queue.id).is_none());
    unclaimed.filter_map(|queue| Some((queue.id, why(queue)?))).collect()
}

/// The queues over which a NIC spreads packets that are nobody's in particular.
#[derive(Default)]
struct Spread {
    main: Vec<u32>,
    contexts: Tables,
}

impl Spread {
    /// An operator's RSS context may be there for whoever leases its queues; led to queues are a pod's packets alone.
    fn of(nic: &IfName, kind: QueueKind) -> offramp_kernel::Result<Self> {
        let Some(mut ethtool) = Ethtool::open()? else { return Ok(Self::default()) };
        let contexts = match kind {
            QueueKind::Lease => Tables::new(),
            QueueKind::Steer => ethtool.contexts(nic)?,
        };
        Ok(Self { main: ethtool.rss(nic)?.map(|rss| rss.queues).unwrap_or_default(), contexts })
    }

    fn keeps(&self, nic: &IfName, queue: &RxQueue) -> Option<String> {
        match (queue.leased, queue.user) {
            (true, _) => Some("a link that is not Offramp's leases it".to_owned()),
            (_, Some(user)) => Some(user.to_string()),
            // Who takes the queue takes the node's packets.
            _ if self.main.contains(&queue.id) => {
                Some(format!("{nic} spreads the node's packets over it: ethtool -X {nic} equal N frees it"))
            }
            _ => has_it(nic, &self.contexts, queue.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use offramp_kernel::Error;

    #[test]
    fn a_queue_of_the_nics_own_table_or_of_a_context_is_nobodys_alone() {
        let spread = Spread { main: vec![0, 1], contexts: [(3, [4, 5].into())].into() };
        let nic = "ens1f0".parse().unwrap();
        let why = |id| spread.keeps(&nic, &RxQueue { id, user: None, leased: false });
        assert!(why(1).is_some_and(|why| why.contains("ethtool -X ens1f0 equal N")));
        assert!(why(5).is_some_and(|why| why.contains("ethtool -X ens1f0 context 3 delete")));
        assert_eq!(why(6), None);
    }

    #[test]
    fn whoever_never_tells_its_rules_is_not_asked_where_they_are_ignored() {
        let refuses = || Err(Error::Missing { what: "the list of flow rules of ens1f0".into() });
        let why = counting(FlowRules::Quarantine, refuses).unwrap_err();
        assert!(why.contains("of ens1f0 is not there") && why.contains("rules: ignore"), "{why}");
        assert_eq!(counting(FlowRules::Ignore, || unreachable!()), Ok(Flows::default()));
    }
}
