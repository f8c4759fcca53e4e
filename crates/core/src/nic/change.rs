//! What changed between two inventories: for the log.

use super::{Inventory, Port, Vf, VfNetdev};
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// A port or a VF that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `ens1f0 (0000:01:00.0)`, or `VF 3 of ens1f0 (0000:01:10.6)`.
    pub what: String,
    /// `down`, `mtu 1500 -> 9000`, ...
    pub how: Vec<String>,
    /// Pods may have lost their network by it.
    pub severe: bool,
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.how.join(", "))
    }
}

/// All changes, ports first, in the order of their keys.
pub fn changes(before: &Inventory, after: &Inventory) -> Vec<Change> {
    let ports = union(before.ports.iter().map(|p| (&p.key, p)), after.ports.iter().map(|p| (&p.key, p)));
    let vfs = |inventory| Inventory::vfs(inventory).map(|(port, vf)| (vf.pci, (port, vf)));
    let vfs = union(vfs(before), vfs(after));
    let ports = ports.into_values().filter_map(|(before, after)| of_port(before, after));
    ports.chain(vfs.into_values().filter_map(|(before, after)| of_vf(before, after))).collect()
}

fn union<K: Ord, V>(
    before: impl Iterator<Item = (K, V)>,
    after: impl Iterator<Item = (K, V)>,
) -> BTreeMap<K, (Option<V>, Option<V>)> {
    let mut all: BTreeMap<K, (Option<V>, Option<V>)> =
        before.map(|(key, value)| (key, (Some(value), None))).collect();
    for (key, value) in after {
        all.entry(key).or_insert((None, None)).1 = Some(value);
    }
    all
}

fn of_port(before: Option<&Port>, after: Option<&Port>) -> Option<Change> {
    let port = after.or(before)?;
    let what = format!("{} ({})", port.netdev, port.key);
    match (before, after) {
        (Some(before), Some(after)) => {
            let severe = before.up && !after.up || before.num_vfs != after.num_vfs;
            change(what, port_fields(before), port_fields(after), severe)
        }
        (None, _) => Some(Change { what, how: vec!["appeared".into()], severe: false }),
        (_, None) => Some(Change { what, how: vec!["is gone".into()], severe: true }),
    }
}

fn of_vf(before: Option<(&Port, &Vf)>, after: Option<(&Port, &Vf)>) -> Option<Change> {
    let (port, vf) = after.or(before)?;
    let what = format!("VF {} of {} ({})", vf.index, port.netdev, vf.pci);
    match (before, after) {
        (Some((_, before)), Some((_, after))) => change(what, vf_fields(before), vf_fields(after), false),
        (None, _) => Some(Change { what, how: vec!["appeared".into()], severe: false }),
        (_, None) => Some(Change { what, how: vec!["is gone".into()], severe: true }),
    }
}

type Fields = Vec<(&'static str, String)>;

fn change(what: String, before: Fields, after: Fields, severe: bool) -> Option<Change> {
    let pairs = before.into_iter().zip(after).filter(|((_, before), (_, after))| before != after);
    let how: Vec<String> =
        pairs.map(|((name, before), (_, after))| format!("{name} {before} -> {after}")).collect();
    (!how.is_empty()).then_some(Change { what, how, severe })
}

/// A field that is new must be named here before it compiles.
fn port_fields(port: &Port) -> Fields {
    let Port {
        key: _,
        netdev,
        ifindex: _,
        mac,
        driver,
        id: _,
        speed_mbps,
        numa: _,
        up,
        carrier,
        mtu,
        controller,
        total_vfs,
        num_vfs,
        eswitch,
        switch_id: _,
        vfs: _,
    } = port;
    vec![
        ("name", netdev.to_string()),
        ("MAC", or_none(mac.as_ref())),
        ("driver", driver.clone()),
        ("speed", or_none(speed_mbps.as_ref())),
        ("state", if *up { "up" } else { "down" }.into()),
        ("link", if *carrier { "up" } else { "down" }.into()),
        ("mtu", mtu.to_string()),
        ("controller", or_none(controller.as_ref())),
        ("possible VFs", total_vfs.to_string()),
        ("VFs", num_vfs.to_string()),
        ("eswitch", eswitch.to_string()),
    ]
}

fn vf_fields(vf: &Vf) -> Fields {
    let Vf { index: _, pci: _, id: _, driver, netdev, iommu_group: _, representor } = vf;
    let netdev = match netdev {
        VfNetdev::None => "none".into(),
        VfNetdev::Host { name } => name.to_string(),
        VfNetdev::Elsewhere { netns, name } => {
            let name = name.as_ref().map_or("unknown", |name| name.as_str());
            format!("{name} in {}", netns.as_deref().unwrap_or("another namespace"))
        }
    };
    vec![
        ("driver", or_none(driver.as_ref())),
        ("netdev", netdev),
        ("representor", or_none(representor.as_ref())),
    ]
}

fn or_none(value: Option<&impl Display>) -> String {
    value.map_or("none".into(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::{Eswitch, PortKey};

    fn port(netdev: &str, vfs: Vec<Vf>) -> Port {
        Port {
            key: PortKey { device: format!("0000:01:00.{}", netdev.len() % 8), port: 0 },
            netdev: netdev.parse().unwrap(),
            ifindex: 2,
            mac: None,
            driver: "igb".into(),
            id: None,
            speed_mbps: Some(1000),
            numa: None,
            up: true,
            carrier: true,
            mtu: 1500,
            controller: None,
            total_vfs: 7,
            num_vfs: u16::try_from(vfs.len()).unwrap(),
            eswitch: Eswitch::Legacy,
            switch_id: None,
            vfs,
        }
    }

    fn vf(index: u16, netdev: VfNetdev) -> Vf {
        let pci = format!("0000:01:10.{}", index * 2).parse().unwrap();
        Vf {
            index,
            pci,
            id: None,
            driver: Some("igbvf".into()),
            netdev,
            iommu_group: None,
            representor: None,
        }
    }

    fn shown(before: Vec<Port>, after: Vec<Port>) -> Vec<(String, bool)> {
        let changes = changes(&Inventory { ports: before }, &Inventory { ports: after });
        changes.iter().map(|change| (change.to_string(), change.severe)).collect()
    }

    #[test]
    fn nothing_changed() {
        let ports = vec![port("nic0", vec![vf(0, VfNetdev::None)])];
        assert_eq!(shown(ports.clone(), ports), []);
    }

    #[test]
    fn ports_come_go_and_change() {
        let nic = port("nic0", vec![]);
        let down = Port { up: false, carrier: false, speed_mbps: None, ..nic.clone() };
        let title = "nic0 (0000:01:00.4)";
        assert_eq!(shown(vec![], vec![nic.clone()]), [(format!("{title}: appeared"), false)]);
        assert_eq!(shown(vec![nic.clone()], vec![]), [(format!("{title}: is gone"), true)]);
        let how = "speed 1000 -> none, state up -> down, link up -> down";
        assert_eq!(shown(vec![nic.clone()], vec![down.clone()]), [(format!("{title}: {how}"), true)]);
        assert!(!shown(vec![down], vec![nic])[0].1);
    }

    #[test]
    fn vfs_come_go_and_change() {
        let at_home = VfNetdev::Host { name: "eth0".parse().unwrap() };
        let away = VfNetdev::Elsewhere { netns: Some("/run/netns/pod".into()), name: "net1".parse().ok() };
        let before = port("nic0", vec![vf(0, at_home), vf(1, VfNetdev::None)]);
        let after = port("nic0", vec![vf(0, away)]);
        let title = "nic0 (0000:01:00.4)";
        assert_eq!(
            shown(vec![before], vec![after]),
            [
                (format!("{title}: VFs 2 -> 1"), true),
                ("VF 0 of nic0 (0000:01:10.0): netdev eth0 -> net1 in /run/netns/pod".into(), false),
                ("VF 1 of nic0 (0000:01:10.2): is gone".into(), true),
            ]
        );
    }
}
