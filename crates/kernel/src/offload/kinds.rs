//! Which netdevs are looked at: NICs' ports, what is on them, and some by name. Not those of pods, of which a node has
//! hundreds, nor those of VFs and their representors.

use crate::link::Link;
use offramp_core::ids::IfName;
use std::collections::BTreeSet;

/// A port of a NIC, in place of a kind of link.
const PORT: &str = "port";
/// What ports are put in and VLANs put on. Others, such as macvlan, are pods'.
const UPPER: [&str; 4] = ["bond", "bridge", "team", "vlan"];
/// However many VLANs are on a port: a look must not take long.
const MOST: usize = 128;

/// A netdev that is looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Its name.
    pub name: IfName,
    /// `port`, or the kind of link that it is.
    pub kind: String,
    /// What it is on: a bond's ports, a VLAN's link.
    pub on: Vec<IfName>,
}

/// Those of `links` that are one of `ports`, or on one, or of these names. In the order of the links: what is oldest comes
/// first, up to a bound.
pub fn wanted(links: &[Link], ports: &BTreeSet<&IfName>, names: &[IfName]) -> Vec<Wanted> {
    let named = |link: &Link| names.iter().any(|name| name.as_str() == link.name);
    let is_port = |link: &Link| ports.iter().any(|port| port.as_str() == link.name);
    let mut chosen: BTreeSet<u32> = links.iter().filter(|l| is_port(l)).map(|l| l.index).collect();
    // VLAN on bridge on bond on port is the highest.
    for _ in 0..4 {
        let controllers: BTreeSet<u32> =
            links.iter().filter(|l| chosen.contains(&l.index)).filter_map(|l| l.controller).collect();
        let is_upper = |link: &Link| {
            let is_vlan = link.kind.as_deref() == Some("vlan");
            controllers.contains(&link.index) || is_vlan && link.lower.is_some_and(|on| chosen.contains(&on))
        };
        let upper =
            |link: &&Link| link.kind.as_deref().is_some_and(|kind| UPPER.contains(&kind)) && is_upper(link);
        let more: Vec<u32> = links.iter().filter(upper).map(|l| l.index).collect();
        chosen.extend(more);
    }
    let kind = |link: &Link| match &link.kind {
        Some(kind) if !is_port(link) => kind.clone(),
        _ => PORT.to_owned(),
    };
    let all: Vec<&Link> =
        links.iter().filter(|link| chosen.contains(&link.index) || named(link)).take(MOST).collect();
    let on = |upper: &Link| {
        let lower = all.iter().filter(|lower| is_on(upper, lower));
        lower.filter_map(|lower| lower.name.parse().ok()).collect()
    };
    let wanted =
        |link: &&Link| Some(Wanted { name: link.name.parse().ok()?, kind: kind(link), on: on(link) });
    all.iter().filter_map(wanted).collect()
}

/// Of other kinds than VLANs the link that they name may be one of another namespace.
fn is_on(upper: &Link, lower: &Link) -> bool {
    let is_vlan = upper.kind.as_deref() == Some("vlan");
    lower.controller == Some(upper.index) || is_vlan && upper.lower == Some(lower.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(names: &[&str]) -> Vec<IfName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn link(index: u32, name: &str, kind: Option<&str>, lower: Option<u32>, controller: Option<u32>) -> Link {
        let kind = kind.map(str::to_owned);
        Link { index, name: name.into(), kind, lower, controller, ..Link::default() }
    }

    #[test]
    fn what_is_on_a_port_counts_and_pods_do_not() {
        let mut links = vec![
            link(1, "lo", None, None, None),
            link(2, "nic0", None, None, Some(5)),
            link(3, "nic0v0", None, None, None),
            link(4, "nic1", None, None, None),
            link(5, "bond0", Some("bond"), None, Some(7)),
            link(6, "bond0.7", Some("vlan"), Some(5), None),
            link(7, "br0", Some("bridge"), None, None),
            link(8, "br0.9", Some("vlan"), Some(7), None),
            link(9, "macvlan0", Some("macvlan"), Some(4), None),
            link(10, "offramp.vx", Some("vxlan"), None, None),
            link(11, "other.vx", Some("vxlan"), None, None),
            link(12, "offramp0", Some("bridge"), None, None),
            link(13, "other.7", Some("vlan"), Some(11), None),
        ];
        // Their peers' indexes, in other namespaces, are those of ports here.
        links.extend((20..270).map(|i| link(i, &format!("veth{i}"), Some("veth"), Some(2), Some(12))));
        let ports: Vec<IfName> = ["nic0", "nic1"].map(|n| n.parse().unwrap()).into();
        let names = ["offramp.vx".parse().unwrap(), "absent".parse().unwrap()];
        let found = wanted(&links, &ports.iter().collect(), &names);
        let on = |name: &str| found.iter().find(|w| w.name.as_str() == name).unwrap().on.clone();
        assert_eq!(
            ["br0.9", "br0", "bond0", "nic0"].map(on),
            [["br0"].as_slice(), &["bond0"], &["nic0"], &[]].map(names_of)
        );
        let found: Vec<String> = found.iter().map(|w| format!("{} {}", w.kind, w.name)).collect();
        let expected = ["port nic0", "port nic1", "bond bond0", "vlan bond0.7", "bridge br0", "vlan br0.9"];
        assert_eq!(found, [&expected[..], &["vxlan offramp.vx"]].concat());
    }

    #[test]
    fn there_is_a_bound() {
        let vlan = |i| link(i, &format!("nic0.{i}"), Some("vlan"), Some(2), None);
        let mut links = vec![link(2, "nic0", None, None, None)];
        links.extend((10..1000).map(vlan));
        let nic: IfName = "nic0".parse().unwrap();
        assert_eq!(wanted(&links, &[&nic].into(), &[]).len(), MOST);
    }
}
