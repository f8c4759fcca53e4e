use super::*;
use crate::nic::{Eswitch, Port};

fn name(s: &str) -> IfName {
    s.parse().unwrap()
}

fn link(index: u32, called: &str, controller: Option<u32>, kind: LinkKind) -> NodeLink {
    NodeLink { index, name: name(called), mac: Some(MacAddr::local(u64::from(index))), controller, kind }
}

fn port(netdev: &str, total_vfs: u16) -> Port {
    Port {
        key: PortKey { device: format!("0000:01:00.{}", netdev.len()), port: 0 },
        netdev: name(netdev),
        ifindex: 0,
        mac: None,
        driver: "igb".into(),
        id: None,
        speed_mbps: None,
        numa: None,
        up: true,
        carrier: true,
        mtu: 1500,
        controller: None,
        total_vfs,
        num_vfs: 0,
        eswitch: Eswitch::Legacy,
        switch_id: None,
        vfs: Vec::new(),
    }
}

fn ask(uplink: &str, links: &[NodeLink], synced: &[&str]) -> Result<UplinkPath, String> {
    let inventory = Inventory { ports: vec![port("pf", 7), port("pf22", 7), port("plain", 0)] };
    let synced: BTreeSet<IfName> = synced.iter().map(|s| name(s)).collect();
    resolve(&name(uplink), links, &inventory, &synced)
}

fn vlan(on: u32, id: u64) -> LinkKind {
    LinkKind::Vlan { on, id: id.try_into().unwrap(), ethertype: 0x8100 }
}

const BOND: LinkKind = LinkKind::Bond { active: Some(2) };

#[test]
fn a_port_and_a_vlan_on_it() {
    let links = [link(2, "pf", None, LinkKind::Device), link(5, "pf.7", None, vlan(2, 7))];
    let plain = ask("pf", &links, &[]).unwrap();
    assert_eq!((plain.vlan, plain.mac, plain.ports.len()), (None, MacAddr::local(2), 1));
    let tagged = ask("pf.7", &links, &[]).unwrap();
    assert_eq!((tagged.vlan, tagged.ports), (Some(7.try_into().unwrap()), plain.ports));
    // The node routes on the VLAN's link.
    assert_eq!((tagged.link, tagged.mac), (name("pf.7"), MacAddr::local(5)));
}

#[test]
fn a_bond_by_its_active_port() {
    let links = [
        link(2, "pf", Some(9), LinkKind::Device),
        link(3, "pf22", Some(9), LinkKind::Device),
        link(9, "bond0", None, BOND),
        link(10, "bond0.3", None, vlan(9, 3)),
    ];
    let path = ask("bond0.3", &links, &[]).unwrap();
    assert_eq!((path.link, path.vlan), (name("bond0.3"), Some(3.try_into().unwrap())));
    assert_eq!(path.bond, Some(name("bond0")));
    assert_eq!(path.ports, ask("pf", &links, &[]).unwrap().ports);
    assert!(path.caveat.unwrap().contains("VFs of pf "));
    let idle = [link(9, "bond0", None, LinkKind::Bond { active: None })];
    assert!(ask("bond0", &idle, &[]).unwrap_err().contains("active-backup"));
}

#[test]
fn a_bridge_by_its_only_nic() {
    let veth = || link(7, "veth0", Some(9), LinkKind::Other("veth".into()));
    let mut links =
        vec![link(2, "pf", Some(9), LinkKind::Device), veth(), link(9, "br0", None, LinkKind::Bridge)];
    let unknown = ask("br0", &links, &[]).unwrap_err();
    assert!(unknown.contains("syncBridges names br0"), "{unknown}");
    assert_eq!(ask("br0", &links, &["br0"]).unwrap().link, name("br0"));
    let mac = links[0].mac;
    links[2].mac = mac;
    assert_eq!(ask("br0", &links, &[]).unwrap().mac, mac.unwrap());
    links.push(link(3, "pf22", Some(9), LinkKind::Device));
    assert!(ask("br0", &links, &[]).unwrap_err().contains("both pf and pf22"));
    let alone = [veth(), link(9, "br0", None, LinkKind::Bridge)];
    assert!(ask("br0", &alone, &[]).unwrap_err().contains("no port of a NIC is in bridge br0"));
}

#[test]
fn what_no_vf_is_behind_is_said() {
    let links = [
        link(2, "pf", None, LinkKind::Device),
        link(4, "plain", None, LinkKind::Device),
        link(5, "eth9", None, LinkKind::Device),
        link(6, "pf.7", None, vlan(2, 7)),
        link(7, "pf.7.8", None, vlan(6, 8)),
        link(8, "wg0", None, LinkKind::Other("wireguard".into())),
        link(9, "loop.1", None, vlan(9, 7)),
        link(10, "s.7", None, LinkKind::Vlan { on: 2, id: 7.try_into().unwrap(), ethertype: 0x88a8 }),
    ];
    for (uplink, why) in [
        ("plain", "no SR-IOV"),
        ("eth9", "no port of a NIC"),
        ("pf.7.8", "VLAN on VLAN"),
        ("wg0", "wireguard"),
        ("gone", "not there"),
        ("loop.1", "VLAN on VLAN"),
        ("s.7", "802.1ad"),
    ] {
        let e = ask(uplink, &links, &[]).unwrap_err();
        assert!(e.contains(why), "{uplink}: {e}");
    }
}

#[test]
fn what_comes_by_a_link_comes_by_all_that_it_is_on() {
    let links = [
        link(2, "pf", Some(9), LinkKind::Device),
        link(3, "pf22", Some(9), LinkKind::Device),
        link(4, "plain", None, LinkKind::Device),
        link(9, "bond0", None, BOND),
        link(10, "bond0.7", None, vlan(9, 7)),
    ];
    let of = |uplink| below(&name(uplink), &links).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(of("bond0.7"), ["bond0", "bond0.7", "pf", "pf22"]);
    assert_eq!((of("plain"), of("pf"), of("gone")), (vec!["plain".into()], vec!["pf".into()], vec![]));
    // Links that are on each other end all the same.
    let ring = [link(1, "a", Some(2), LinkKind::Bridge), link(2, "b", Some(1), LinkKind::Bridge)];
    assert_eq!(below(&name("a"), &ring).len(), 2);
}
