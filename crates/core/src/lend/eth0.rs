//! What a pod's eth0 is. The paths in their order: a VF, queues of its own, veth; and why a better one was not to be had.

use super::{Hints, LendRequest, Lent, LentQueues, QueueWant, Refusal, Taken, Want, lend};
use crate::nic::Inventory;
use crate::pool::Pool;
use crate::wish::Offload;

/// What a pod gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The cluster interface.
    pub eth0: Eth0,
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
    /// A veth pair; why, for the plan's `reason`.
    Veth {
        /// Why.
        reason: String,
    },
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
    let without = || lend(others, pools, inventory, taken, hints);
    if offload == Offload::None {
        let eth0 = Eth0::Veth { reason: "no offload was asked for".into() };
        return Ok(Choice { eth0, others: without()? });
    }
    let by_queues = || {
        let namespace = others.namespace.as_deref();
        let (ifname, pool, count) = (&eth0.ifname, eth0.pool.as_ref(), eth0.settings.queues);
        hints.queues.lend(QueueWant { namespace, ifname, pool, count, numa: &hints.numa })
    };
    let (vfs_may_do, queues_may_do) = paths(eth0, pools, hints);
    let queues = if vfs_may_do {
        let mut all = others.clone();
        // Last, so that what cannot be served is eth0 if there is a choice.
        all.wants.push(Want { eth0: true, ..eth0.clone() });
        match lend(&all, pools, inventory, taken, hints) {
            Ok(mut lent) => {
                let none = || Eth0::Veth { reason: "no VF was asked for".into() };
                let eth0 = lent.pop().map_or_else(none, |vf| Eth0::Vf(Box::new(vf)));
                return Ok(Choice { eth0, others: lent });
            }
            Err(refusal) if queues_may_do => by_queues().map_err(|why| refusal.and(why)),
            Err(refusal) => Err(refusal),
        }
    } else {
        by_queues()
    };
    let refusal = match queues {
        Ok(queues) => return Ok(Choice { eth0: Eth0::Queues(queues), others: without()? }),
        Err(refusal) => refusal,
    };
    if offload == Offload::Required {
        return Err(refusal);
    }
    let others = without()?;
    let (lacking, why) = (refusal.lacking(&eth0.ifname), refusal.why(&eth0.ifname));
    let reason = format!("offload is preferred, but no {lacking} can be eth0: {why}");
    Ok(Choice { eth0: Eth0::Veth { reason }, others })
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
