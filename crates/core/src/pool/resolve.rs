//! Which VF belongs to which pool.

use super::Pool;
use crate::ids::PoolName;
use crate::lend::Taken;
use crate::nic::{Inventory, PciAddr};
use crate::vf::VfRef;
use std::collections::BTreeMap;
use std::fmt;

/// The pools' VFs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The pool, by its place in the list, of each VF that has exactly one.
    pub pool_of: BTreeMap<PciAddr, usize>,
    /// VFs that several pools select. They belong to none and are never lent, until the configuration is mended.
    pub overlaps: Vec<Overlap>,
}

/// A VF that several pools select.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The VF.
    pub vf: VfRef,
    /// The pools, at least two, in the order of the configuration.
    pub pools: Vec<PoolName>,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pools: Vec<&str> = self.pools.iter().map(PoolName::as_str).collect();
        write!(f, "{} is selected by the pools {}: it is lent by none of them", self.vf, pools.join(" and "))
    }
}

impl Resolved {
    /// What the configuration should not say of this node: pools that select the same VFs, or none.
    pub fn problems(&self, pools: &[Pool]) -> Vec<String> {
        let mut shared: BTreeMap<&[PoolName], Vec<&Overlap>> = BTreeMap::new();
        for overlap in &self.overlaps {
            shared.entry(&overlap.pools).or_default().push(overlap);
        }
        let shared = shared.into_values().map(|overlaps| match overlaps[..] {
            [first] => first.to_string(),
            [first, .., last] => format!("{first}; so are {} more, up to {}", overlaps.len() - 1, last.vf),
            [] => String::new(),
        });
        let is_empty = |(index, pool): &(usize, &Pool)| {
            !self.pool_of.values().any(|of| of == index)
                && !self.overlaps.iter().any(|o| o.pools.contains(&pool.name))
        };
        let empty = pools.iter().enumerate().filter(is_empty);
        shared.chain(empty.map(|(_, pool)| format!("pool {} has no VF on this node", pool.name))).collect()
    }
}

/// Finds each VF's pool. A VF that is taken is judged by the driver it had before: being lent in vfio mode takes
/// no VF out of its pool.
pub fn resolve(pools: &[Pool], inventory: &Inventory, taken: &Taken) -> Resolved {
    let mut resolved = Resolved::default();
    for (port, vf) in inventory.vfs() {
        let driver = taken.free_driver(vf);
        let selects = |pool: &Pool| pool.selectors.iter().any(|s| s.selects(port, vf, driver));
        let of: Vec<usize> = (0..pools.len()).filter(|i| selects(&pools[*i])).collect();
        match of[..] {
            [] => {}
            [pool] => {
                resolved.pool_of.insert(vf.pci, pool);
            }
            _ => resolved.overlaps.push(Overlap {
                vf: port.vf_ref(vf),
                pools: of.iter().map(|i| pools[*i].name.clone()).collect(),
            }),
        }
    }
    resolved.overlaps.sort_by_key(|o| o.vf.pci);
    resolved
}
