//! What a pod's eth0 is. The paths in their order: a VF, queues of its own, a pair on the bridge; and why a better one
//! was not to be had. The table in docs/offloads.md is this function for people.

use super::{Hints, LendRequest, Lent, LentQueues, QueueWant, Reason, Refusal, Taken, Want, Why, lend};
use crate::ids::IfName;
use crate::nic::Inventory;
use crate::pair::Pair;
use crate::pool::{Pool, QueueKind};
use crate::wish::Offload;

/// What a pod gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The cluster interface.
    pub eth0: Eth0,
    /// Why it is that, for the plan's `reason`.
    pub reason: String,
    /// The others, in the order of the request.
    pub others: Vec<Lent>,
}

/// What eth0 is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eth0 {
    /// A VF.
    Vf(Box<Lent>),
    /// A link with queues of a NIC.
    Queues(LentQueues),
    /// A pair on the bridge.
    Pair(Pair),
}

/// Chooses for eth0 and the pod's other interfaces at once. `eth0` is what eth0 would be asked for as a VF; `others` has
/// the further interfaces, which have no path but a VF: eth0 falls back before one of them is refused.
pub fn choose_eth0(
    offload: Offload,
    eth0: &Want,
    others: &LendRequest,
    pools: &[Pool],
    inventory: &Inventory,
    taken: &Taken,
    hints: &Hints,
) -> Result<Choice, Refusal> {
    let lend = |request: &LendRequest| lend(request, pools, inventory, taken, hints);
    let without = lend(others);
    if offload == Offload::None {
        return by_pair(&eth0.ifname, hints, "no offload was asked for", without?);
    }
    let refusal = match by_device(eth0, others, &without, pools, hints, lend) {
        Err(refusal) if offload == Offload::Preferred => refusal,
        outcome => return outcome,
    };
    let others = without?;
    let (lacking, why) = (refusal.lacking(&eth0.ifname), refusal.why(&eth0.ifname));
    let reason = format!("offload is preferred, but no {lacking} can be eth0: {why}");
    by_pair(&eth0.ifname, hints, &reason, others).map_err(|why| refusal.and(why))
}

/// A VF, else queues. `without` is what the other interfaces get where eth0 has no VF.
fn by_device(
    eth0: &Want,
    others: &LendRequest,
    without: &Result<Vec<Lent>, Refusal>,
    pools: &[Pool],
    hints: &Hints,
    lend: impl Fn(&LendRequest) -> Result<Vec<Lent>, Refusal>,
) -> Result<Choice, Refusal> {
    let (vfs_may_do, queues_may_do) = paths(eth0, pools, hints);
    let mut refused = None;
    if vfs_may_do {
        let mut all = others.clone();
        // Last, so that what cannot be served is eth0 if there is a choice.
        all.wants.push(Want { eth0: true, ..eth0.clone() });
        match lend(&all) {
            Ok(mut lent) => {
                let Some(vf) = lent.pop() else {
                    return by_pair(&eth0.ifname, hints, "no VF was asked for", lent);
                };
                let reason = format!("{} of pool {}", vf.vf, vf.pool);
                return Ok(Choice { eth0: Eth0::Vf(Box::new(vf)), reason, others: lent });
            }
            // What another interface lacks, queues for this one do not mend.
            Err(refusal) if !queues_may_do || !refusal.interfaces().contains(&eth0.ifname) => {
                return Err(refusal);
            }
            Err(refusal) => refused = Some(refusal),
        }
    }
    let namespace = others.namespace.as_deref();
    let (ifname, pool, count) = (&eth0.ifname, eth0.pool.as_ref(), eth0.settings.queues);
    let queues = hints.queues.lend(QueueWant { namespace, ifname, pool, count, numa: &hints.numa });
    match (queues, without) {
        (Ok(queues), Ok(others)) => {
            let led = match queues.kind {
                QueueKind::Lease => "",
                QueueKind::Steer => ", to which its packets are led, but for those that come by VXLAN",
            };
            let (reason, others) = (format!("{queues}, pool {}{led}", queues.pool), others.clone());
            Ok(Choice { eth0: Eth0::Queues(queues), reason, others })
        }
        (Ok(_), Err(of_others)) => Err(of_others.clone()),
        (Err(no_queues), without) => Err(match (refused, without) {
            // It tells of the other interfaces, too.
            (Some(refused), Err(of_others)) => refused.and(Refusal {
                waiting_helps: no_queues.waiting_helps && of_others.waiting_helps,
                ..no_queues
            }),
            (Some(refused), Ok(_)) => refused.and(no_queues),
            (None, Err(of_others)) => no_queues.beside(of_others.clone()),
            (None, Ok(_)) => no_queues,
        }),
    }
}

/// Nothing is lent to eth0.
fn by_pair(ifname: &IfName, hints: &Hints, reason: &str, others: Vec<Lent>) -> Result<Choice, Refusal> {
    match hints.pairs.choose() {
        Ok(chosen) => Ok(Choice { eth0: Eth0::Pair(chosen.pair), reason: chosen.explain(reason), others }),
        Err(e) => {
            let why = Why::NoPair { why: e.msg, hint: e.details };
            let reason = Reason { ifname: ifname.clone(), pool: None, pf: None, why };
            Err(Refusal { reasons: vec![reason], waiting_helps: false })
        }
    }
}

/// Whether VFs, and whether queues, come into question: by the pool that is named, else by the pools that there are.
fn paths(eth0: &Want, pools: &[Pool], hints: &Hints) -> (bool, bool) {
    let queues = &hints.queues;
    match &eth0.pool {
        Some(name) if queues.has_pool(name) => (false, true),
        Some(_) => (true, false),
        None => (!pools.is_empty() || queues.pools.is_empty(), !queues.pools.is_empty()),
    }
}
