//! How the pools stand: for people, who see only here why a VF that nobody has is not lent.

use super::candidates::{Fit, fit};
use super::{Hints, Hold, Node, Taken, Why};
use crate::ids::PoolName;
use crate::nic::Inventory;
use crate::pool::{Pool, resolve};
use crate::vf::VfMode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A pool's VFs, or those that are in none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// The pool; none: the VFs that are in no pool, which only inline plugins take.
    pub pool: Option<PoolName>,
    /// What its VFs are to pods.
    pub mode: Option<VfMode>,
    /// All VFs.
    pub total: u64,
    /// Those that could be lent now.
    pub free: u64,
    /// Those that pods have.
    pub lent: u64,
    /// Those that are being cleaned.
    pub quarantine: u64,
    /// Those that nobody has and that cannot be lent all the same, by why.
    #[serde(default)]
    pub unusable: BTreeMap<String, u64>,
}

/// Of each pool, in the order of the configuration; then of the VFs without a pool, if there are any.
pub fn usage(pools: &[Pool], inventory: &Inventory, taken: &Taken) -> Vec<Usage> {
    let (resolved, hints) = (resolve(pools, inventory, taken), Hints::default());
    let node = Node { pools, resolved: &resolved, inventory, taken, hints: &hints };
    let of_pool =
        |pool: &Pool| Usage { pool: Some(pool.name.clone()), mode: Some(pool.mode), ..Usage::default() };
    let mut all: Vec<Usage> = pools.iter().map(of_pool).collect();
    let mut without = Usage::default();
    for (port, vf) in inventory.vfs() {
        let pool = resolved.pool_of.get(&vf.pci).copied();
        let hold = taken.get(vf.pci).map(|holding| &holding.hold);
        let why = match (hold, pool) {
            (Some(_), _) => None,
            (None, Some(pool)) => match fit(&node, &pools[pool], false, &pools[pool].defaults, (port, vf)) {
                Fit::Now => None,
                Fit::Later(why) | Fit::Never(why) => Some(why),
            },
            (None, None) => {
                resolved.overlaps.iter().find(|o| o.vf.pci == vf.pci).map(|o| Why::Overlaps(o.pools.clone()))
            }
        };
        pool.map_or(&mut without, |pool| &mut all[pool]).count(hold, why);
    }
    all.extend((without.total > 0).then_some(without));
    all
}

impl Usage {
    fn count(&mut self, hold: Option<&Hold>, why: Option<Why>) {
        self.total += 1;
        match (hold, why) {
            (Some(Hold::Lent), _) => self.lent += 1,
            (Some(Hold::Quarantine(_)), _) => self.quarantine += 1,
            (Some(Hold::Unclear(why)), _) => *self.unusable.entry(why.clone()).or_default() += 1,
            (None, None) => self.free += 1,
            (None, Some(why)) => *self.unusable.entry(why.to_string()).or_default() += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lend::Holding;
    use crate::lend::fixture::{holding, inventory, pci, pool, port};
    use crate::nic::VfNetdev;

    #[test]
    fn every_vf_is_counted_once_and_what_is_not_lent_says_why() {
        let mut nic = port(1, None, 7);
        nic.vfs[2].netdev = VfNetdev::Elsewhere { netns: None, name: None };
        let mut down = port(2, None, 2);
        down.up = false;
        let pools =
            [pool("fast", &["nic1#0-4", "nic2"]), pool("other", &["nic1#4-5"]), pool("empty", &["nic9"])];
        let mut taken = Taken::default();
        taken.insert(pci(1, 0), holding(Hold::Lent));
        taken.insert(pci(1, 1), holding(Hold::Quarantine("reset failed".into())));
        taken.insert(pci(1, 6), holding(Hold::Lent));
        taken.insert(pci(1, 3), Holding::unclear("its claim cannot be read"));
        let all = usage(&pools, &inventory(vec![nic, down]), &taken);
        let elsewhere = Why::Elsewhere.to_string();
        let unread = "its claim cannot be read".to_owned();
        let unusable = [(elsewhere, 1), (unread, 1), ("of a port that is down".to_owned(), 2)].into();
        let named = |name: &str| Usage {
            pool: Some(name.parse().unwrap()),
            mode: Some(VfMode::Netdev),
            ..Usage::default()
        };
        let overlap = "the pools fast and other select the same VFs".to_owned();
        assert_eq!(
            all,
            [
                Usage { total: 6, lent: 1, quarantine: 1, unusable, ..named("fast") },
                Usage { total: 1, free: 1, ..named("other") },
                named("empty"),
                Usage { total: 2, lent: 1, unusable: [(overlap, 1)].into(), ..Usage::default() },
            ]
        );
    }
}
