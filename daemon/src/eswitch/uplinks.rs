//! Which PFs are behind a bridge's ports: a port itself, or what a VLAN device or a bond that is a port sits on.

use offramp_core::eswitch::Uplink;
use offramp_core::ids::MacAddr;
use offramp_kernel::link::Link;
use std::path::Path;

/// A VLAN on a bond on a PF has two; more is a loop that the kernel would not have allowed.
const DEPTH: u32 = 8;

/// The PFs with VFs that are behind the bridge of this number. `class_net` is `/sys/class/net`.
pub fn of_bridge(class_net: &Path, bridge: u32, links: &[Link]) -> Vec<Uplink> {
    // Pods' links are the most by far, and lead to no NIC.
    let ports = links.iter().filter(|l| l.controller == Some(bridge) && !l.is_pair());
    let mut uplinks = Vec::new();
    for port in ports {
        let found = pfs(class_net, &port.name, DEPTH).into_iter();
        let links = found.filter_map(|name| links.iter().find(|l| l.name == name));
        uplinks.extend(
            links.filter_map(|pf| Some(Uplink { pf: pf.name.parse().ok()?, mac: mac(pf), port: port.index })),
        );
    }
    uplinks
}

/// A link's unicast address.
pub fn mac(link: &Link) -> Option<MacAddr> {
    <[u8; 6]>::try_from(link.mac.as_slice()).ok()?.try_into().ok()
}

fn pfs(class_net: &Path, link: &str, depth: u32) -> Vec<String> {
    if has_vfs(class_net, link) {
        return vec![link.to_owned()];
    }
    let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
    // Documentation/ABI/testing/sysfs-class-net: a link to each netdev below.
    let entries = std::fs::read_dir(class_net.join(link)).into_iter().flatten().flatten();
    let mut lower: Vec<String> =
        entries.filter_map(|e| Some(e.file_name().to_str()?.strip_prefix("lower_")?.to_owned())).collect();
    lower.sort();
    lower.iter().flat_map(|name| pfs(class_net, name, depth)).collect()
}

/// Whether it is a PF with VFs whose switch is run by its filter (Documentation/ABI/testing/sysfs-bus-pci). In switchdev
/// mode, when it has a switch ID, the bridge's forwarding database is the switch's.
fn has_vfs(class_net: &Path, link: &str) -> bool {
    let read = |file: &str| std::fs::read_to_string(class_net.join(link).join(file));
    let vfs = read("device/sriov_numvfs").is_ok_and(|n| n.trim().parse::<u32>().is_ok_and(|n| n > 0));
    vfs && !read("phys_switch_id").is_ok_and(|id| !id.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn link(index: u32, name: &str, kind: Option<&str>, controller: Option<u32>) -> Link {
        let mac = vec![2, 0, 0, 0, 0, index as u8];
        Link { index, name: name.into(), kind: kind.map(str::to_owned), controller, mac, ..Link::default() }
    }

    #[test]
    fn a_pf_is_found_behind_vlan_and_bond_and_not_without_vfs_or_with_representors() {
        let dir = tempfile::tempdir().unwrap();
        for (name, vfs) in [("pf0", "3\n"), ("pf1", "2\n"), ("pf2", "0\n")] {
            fs::create_dir_all(dir.path().join(name).join("device")).unwrap();
            fs::write(dir.path().join(name).join("device/sriov_numvfs"), vfs).unwrap();
        }
        fs::create_dir_all(dir.path().join("pf3/device")).unwrap();
        fs::write(dir.path().join("pf3/device/sriov_numvfs"), "4\n").unwrap();
        fs::write(dir.path().join("pf3/phys_switch_id"), "b859\n").unwrap();
        for (upper, lower) in [("bond0", "pf0"), ("bond0", "pf1"), ("bond0.7", "bond0"), ("loop", "loop")] {
            fs::create_dir_all(dir.path().join(upper).join(format!("lower_{lower}"))).unwrap();
        }
        let links = [
            link(1, "br0", Some("bridge"), None),
            link(2, "bond0.7", Some("vlan"), Some(1)),
            link(3, "pf0", None, Some(9)),
            link(4, "pf1", None, Some(9)),
            link(5, "pf2", None, Some(1)),
            link(8, "pf3", None, Some(1)),
            link(6, "loop", Some("vlan"), Some(1)),
            link(7, "veth0", Some("veth"), Some(1)),
        ];
        let found = of_bridge(dir.path(), 1, &links);
        let found: Vec<_> = found.iter().map(|u| (u.pf.as_str(), u.port)).collect();
        assert_eq!(found, [("pf0", 2), ("pf1", 2)]);
        assert_eq!(of_bridge(dir.path(), 9, &links).len(), 2);
        assert_eq!(of_bridge(dir.path(), 8, &links), []);
    }
}
