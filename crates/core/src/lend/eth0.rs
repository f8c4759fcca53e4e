//! Whether a pod's eth0 is a VF: the declared order of falling back, and why it was needed.

use super::{Hints, LendRequest, Lent, Refusal, Taken, Want, lend};
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
    let mut all = others.clone();
    // Last, so that what cannot be served is eth0 if there is a choice.
    all.wants.push(Want { eth0: true, ..eth0.clone() });
    let refusal = match lend(&all, pools, inventory, taken, hints) {
        Ok(mut lent) => {
            let none = || Eth0::Veth { reason: "no VF was asked for".into() };
            let eth0 = lent.pop().map_or_else(none, |vf| Eth0::Vf(Box::new(vf)));
            return Ok(Choice { eth0, others: lent });
        }
        Err(refusal) => refusal,
    };
    if offload == Offload::Required {
        return Err(refusal);
    }
    let others = without()?;
    let reason = format!("offload is preferred, but no VF can be eth0: {}", refusal.why(&eth0.ifname));
    Ok(Choice { eth0: Eth0::Veth { reason }, others })
}
