//! What links leave to their hardware.

use offramp_core::doctor::{Look, Offloads};
use std::collections::BTreeMap;
use std::path::Path;

/// Of these links, as far as they are there.
pub fn read(_links: &[String]) -> Look<BTreeMap<String, Offloads>> {
    Ok(BTreeMap::new())
}

/// How many CPUs are online: not those that this process may use.
pub fn cpus(sysfs: &Path) -> Look<usize> {
    let path = sysfs.join("devices/system/cpu/online");
    let list = std::fs::read_to_string(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
    count(list.trim()).ok_or_else(|| format!("{} reads {list:?}", path.display()))
}

/// Of a list such as `0-3,8`.
fn count(list: &str) -> Option<usize> {
    let one = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    };
    list.split(',').map(one).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn cpus_are_counted() {
        let counted = ["0", "0-3", "0-3,8,10-11", "", "3-1"].map(super::count);
        assert_eq!(counted, [Some(1), Some(4), Some(7), None, None]);
    }
}
