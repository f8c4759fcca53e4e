use super::*;
use crate::ids::Vni;
use crate::net::Family;
use crate::offload::{CpuSteering, Feature, Sizes, TunnelPort, TunnelTable};
use crate::overlay::Mode;

const FEATURES: [&str; 7] = [
    "tx-checksum-ip-generic",
    "tx-scatter-gather",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-udp_tnl-csum-segmentation",
    "tx-udp_tnl-segmentation",
    "rx-udp_tunnel-port-offload",
];

fn name(name: &str) -> IfName {
    name.parse().unwrap()
}

/// A node, for [`Facts`] to borrow from.
struct Site {
    settings: Settings,
    underlay: Underlay,
    devices: BTreeMap<IfName, Device>,
    configured: Option<u64>,
    turned_off: Vec<TurnedOff>,
    turned_on: Vec<IfName>,
    big_tcp: Option<Allowed>,
}

/// A bond of two NICs that can do all.
fn site() -> Site {
    let device = |on: &[&str]| {
        let sizes = Sizes { gso_max_size: Some(65_536), gro_max_size: Some(65_536), ..Sizes::default() };
        let mut device = Device { on: on.iter().map(|n| name(n)).collect(), sizes, ..Device::default() };
        let feature = Feature { on: true, fixed: false, wanted: true };
        device.features.0 = FEATURES.map(|f| (f.to_owned(), feature)).into();
        device
    };
    let all: [(&str, &[&str]); 4] =
        [("offramp-vxlan", &[]), ("bond0", &["nic0", "nic1"]), ("nic0", &[]), ("nic1", &[])];
    let addresses = vec!["192.0.2.1/24".parse().unwrap(), "2001:db8::1/64".parse().unwrap()];
    Site {
        settings: Settings {
            mode: Mode::Auto,
            device: name("offramp-vxlan"),
            vni: Vni::try_from(1).unwrap(),
            port: 4789,
            family: None,
        },
        underlay: Underlay { index: 2, name: "bond0".into(), mtu: 9000, addresses },
        devices: all.map(|(n, on)| (name(n), device(on))).into(),
        configured: None,
        turned_off: Vec::new(),
        turned_on: Vec::new(),
        big_tcp: None,
    }
}

impl Site {
    /// As text: `vxlan MTU: 1450 (why) -> todo`.
    fn told(&self, peers: &[(Way, Family, usize)]) -> Vec<String> {
        let mtu =
            self.configured.unwrap_or_else(|| super::super::pod_mtu(&self.settings, &self.underlay).into());
        let facts = Facts {
            settings: &self.settings,
            underlay: &self.underlay,
            has_tunnel: self.settings.mode.tunnels(),
            peers: peers.iter().map(|(way, family, n)| (Kind { way: *way, family: *family }, *n)).collect(),
            pod_mtu: Mtu::try_from(mtu).ok(),
            configured_mtu: self.configured.and_then(|mtu| Mtu::try_from(mtu).ok()),
            devices: &self.devices,
            turned_off: self.turned_off.clone(),
            turned_on: self.turned_on.clone(),
            big_tcp: self.big_tcp.clone(),
        };
        let text = |d: Decision| {
            let todo = d.todo.map(|todo| format!(" -> {todo}")).unwrap_or_default();
            format!("{} {}: {} ({}){todo}", d.scope, d.topic, d.is, d.why)
        };
        decide(&facts).into_iter().map(text).collect()
    }

    /// The one decision about a topic.
    fn about(&self, peers: &[(Way, Family, usize)], what: &str) -> String {
        let all = self.told(peers);
        let found: Vec<_> =
            all.iter().filter_map(|text| text.strip_prefix(what)?.strip_prefix(": ")).collect();
        assert_eq!(found.len(), 1, "{what}: {all:#?}");
        found[0].to_owned()
    }

    fn change(&mut self, device: &str, feature: &str, on: bool, fixed: bool, wanted: bool) {
        let device = self.devices.get_mut(&name(device)).unwrap();
        device.features.0.insert(feature.into(), Feature { on, fixed, wanted });
    }

    fn table(&mut self, nic: &str, size: u32, ports: &[(&str, u16)]) {
        let ports = ports.iter().map(|(kind, port)| TunnelPort { kind: (*kind).into(), port: *port });
        let table =
            TunnelTable { types: vec!["vxlan".into(), "geneve".into()], size, ports: ports.collect() };
        self.devices.get_mut(&name(nic)).unwrap().tunnel_ports = vec![table];
    }
}

const FAR: [(Way, Family, usize); 1] = [(Way::Vxlan, Family::V4, 1)];

#[test]
fn a_node_with_both_kinds_of_peers() {
    let peers = [(Way::Direct, Family::V4, 2), (Way::Direct, Family::V6, 1), (Way::Vxlan, Family::V6, 1)];
    assert_eq!(
        site().told(&peers),
        [
            "pods ways: direct, else vxlan (overlay.mode is auto: a tunnel only where a router is between)",
            "pods MTU: 8950 (the tunnel's, the smallest of all paths')",
            "direct IPv4 pods: 2 peers (in a subnet of bond0: no tunnel is needed)",
            "direct IPv6 pods: 1 peer (in a subnet of bond0: no tunnel is needed)",
            "direct MTU: 9000 (that of bond0)",
            "direct checksums: left to nic0, nic1 (the features for it are on, all the way)",
            "direct segmentation: left to nic0, nic1 (the features for it are on, all the way)",
            "direct packet sizes: GSO 65536, GRO 65536 (the kernel's for bond0, left alone)",
            "vxlan IPv6 pods: 1 peer (in no subnet of bond0, or not by IPv6)",
            "vxlan outer packets: IPv4, from 192.0.2.1 (bond0 has an IPv4 address, which comes first)",
            "vxlan MTU: 8950 (bond0's 9000 - 50 for VXLAN over IPv4)",
            "vxlan UDP port: 4789 (IANA's for VXLAN, which NICs parse; nic0, nic1: no table of tunnels' ports that could be told of it)",
            "vxlan checksums: left to nic0, nic1 (the features for it are on, all the way)",
            "vxlan segmentation: left to nic0, nic1 (the features for it are on, all the way)",
            "vxlan packet sizes: GSO 65536, GRO 65536 (the kernel's for offramp-vxlan, left alone)",
        ]
    );
}

#[test]
fn modes_decide_which_paths_there_are() {
    let mut site = site();
    let none = "no peer (no peer needs the tunnel now; it is there for those to come)";
    assert_eq!([site.about(&[], "vxlan IPv4 pods"), site.about(&[], "vxlan IPv6 pods")], [none; 2]);
    site.settings.mode = Mode::Vxlan;
    assert_eq!(site.about(&FAR, "pods ways"), "vxlan (overlay.mode is vxlan)");
    assert_eq!(site.about(&FAR, "vxlan IPv4 pods"), "1 peer (overlay.mode is vxlan)");
    site.settings.mode = Mode::Direct;
    let near = [(Way::Direct, Family::V4, 1)];
    assert_eq!(site.about(&near, "direct IPv4 pods"), "1 peer (overlay.mode is direct)");
    assert_eq!(site.about(&near, "pods MTU"), "9000 (that of bond0: nothing is tunnelled)");
    assert!(!site.told(&near).iter().any(|text| text.starts_with("vxlan")));
    site.settings.mode = Mode::None;
    assert_eq!(
        site.told(&[]),
        [
            "pods ways: none (overlay.mode is none: they are somebody else's affair)",
            "pods MTU: 9000 (that of bond0: nothing is tunnelled)",
        ]
    );
}

#[test]
fn the_mtu_is_that_of_the_outer_family_or_configured() {
    let mut site = site();
    (site.settings.family, site.underlay.mtu) = (Some(Family::V6), 1500);
    assert_eq!(site.about(&FAR, "vxlan MTU"), "1430 (bond0's 1500 - 70 for VXLAN over IPv6)");
    assert_eq!(site.about(&FAR, "vxlan outer packets"), "IPv6, from 2001:db8::1 (overlay.underlay is ipv6)");
    site.settings.family = None;
    site.underlay.addresses.remove(0);
    assert_eq!(site.about(&FAR, "vxlan outer packets"), "IPv6, from 2001:db8::1 (bond0 has no IPv4 address)");
    site.configured = Some(1400);
    assert_eq!(site.about(&FAR, "pods MTU"), "1400 (bridge.mtu says so)");
    assert_eq!(site.about(&FAR, "vxlan MTU"), "1430 (bond0's 1500 - 70 for VXLAN over IPv6)");
    site.configured = Some(1500);
    let larger = "1500 (bridge.mtu says so; not every path carries it (1430), and their routes say so)";
    assert_eq!(site.about(&FAR, "pods MTU"), larger);
    assert!(site.about(&FAR, "vxlan MTU").starts_with("1430, which its routes say ("));
}

#[test]
fn a_nic_that_looks_into_tunnels_was_told_of_the_port_or_it_is_said_why_not() {
    let port = |site: &Site| site.about(&FAR, "vxlan UDP port");
    let mut site = site();
    site.table("nic0", 4, &[("geneve", 6081), ("vxlan", 4789)]);
    let iana = "IANA's for VXLAN, which NICs parse";
    assert_eq!(port(&site), format!("4789, known to nic0 ({iana}; in the table of ports to look behind)"));
    site.table("nic1", 4, &[("vxlan", 8472)]);
    assert_eq!(
        port(&site),
        format!(
            "4789, unknown to nic1 ({iana}; nic1 has a table for it with room, and its driver did not take it) -> \
             have it told again: ethtool -K nic1 rx-udp_tunnel-port-offload off, then on"
        )
    );
    site.table("nic1", 1, &[("vxlan", 8472)]);
    assert_eq!(
        port(&site),
        format!(
            "4789, unknown to nic1 ({iana}; the table of nic1 is full: vxlan 8472) -> remove the tunnels on other \
             ports, or have them use 4789 too"
        )
    );
    site.change("nic1", "rx-udp_tunnel-port-offload", false, false, false);
    assert_eq!(
        port(&site),
        format!(
            "4789, unknown to nic1 ({iana}; rx-udp_tunnel-port-offload of nic1 is off) -> ethtool -K nic1 \
             rx-udp_tunnel-port-offload on"
        )
    );
    // It can be done for the operator, and is told then.
    assert_eq!(tellable(&below(&site.devices, "bond0")), [&name("nic0"), &name("nic1")]);
    site.turned_on = vec![name("nic0")];
    let why = |site: &mut Site| {
        site.table("nic1", 4, &[("vxlan", 4789)]);
        port(site)
    };
    let told = "in the table of ports to look behind; rx-udp_tunnel-port-offload of nic0 was off: \
                offloads.tunnelPort is auto";
    assert_eq!(why(&mut site), format!("4789, known to nic0, nic1 ({iana}; {told})"));
    site.table("nic1", 1, &[("vxlan", 8472)]);
    // The doctor says the same, of all that the uplink is on.
    let why = |devices| untold(&below(devices, "bond0"), 4789).into_iter().map(|u| u.why).collect::<Vec<_>>();
    assert_eq!(why(&site.devices), ["rx-udp_tunnel-port-offload of nic1 is off"]);
    // Some look behind the one port and cannot be told of another.
    site.change("nic1", "rx-udp_tunnel-port-offload", true, true, true);
    assert_eq!(tellable(&below(&site.devices, "bond0")), [&name("nic0")], "it has no choice");
    site.turned_on.clear();
    site.table("nic1", 1, &[("vxlan", 4789)]);
    assert!(port(&site).starts_with("4789, known to nic0, nic1 ("));
    (site.settings.port, site.underlay.name) = (8472, "nic1".into());
    assert_eq!(
        port(&site),
        "8472, unknown to nic1 (overlay.port says so; NICs parse 4789; nic1 looks behind 4789 only) -> set \
         overlay.port to 4789, on all nodes"
    );
    // Not if it has another table.
    let other = |ports: &[u16]| TunnelTable {
        types: vec!["vxlan".into()],
        size: 2,
        ports: ports.iter().map(|port| TunnelPort { kind: "vxlan".into(), port: *port }).collect(),
    };
    let tables = |site: &mut Site, more| {
        site.table("nic1", 1, &[("vxlan", 4789)]);
        site.devices.get_mut(&name("nic1")).unwrap().tunnel_ports.push(more);
        port(site)
    };
    let told = tables(&mut site, other(&[1, 2]));
    assert!(told.contains("the table of nic1 is full: vxlan 4789, vxlan 1, vxlan 2"), "{told}");
    let told = tables(&mut site, other(&[1]));
    assert!(told.contains("nic1 has a table for it with room"), "{told}");
}

#[test]
fn whoever_does_not_do_a_part_is_named_with_the_reason() {
    let both = |site: &Site| ["vxlan checksums", "vxlan segmentation"].map(|what| site.about(&FAR, what));
    const CHECKSUM: &str = "tx-checksum-ip-generic";
    const CSUM_TNL: &str = "tx-udp_tnl-csum-segmentation";
    let mut site = site();
    site.change("nic1", CSUM_TNL, false, true, false);
    let cannot = "by the CPU, before nic1 (tx-udp_tnl-csum-segmentation of nic1 is off: it cannot have it)";
    assert_eq!(both(&site)[1], cannot);
    assert!(both(&site)[0].starts_with("left to nic0, nic1"));
    site.change("bond0", CSUM_TNL, false, false, true);
    assert!(both(&site)[1].ends_with(
        "before bond0 (tx-udp_tnl-csum-segmentation of bond0 is off: it needs another one that is off)"
    ));
    site.change("bond0", CSUM_TNL, false, false, false);
    assert!(
        both(&site)[1]
            .ends_with("is off: somebody turned it off) -> ethtool -K bond0 tx-udp_tnl-csum-segmentation on")
    );
    // Tunnelled or not, it is TCP that is cut up; and what that needs is the cause.
    site.change("bond0", "tx-tcp6-segmentation", false, false, false);
    assert!(both(&site)[1].starts_with("by the CPU, before bond0 (tx-tcp6-segmentation of bond0 is off"));
    for device in ["bond0", "offramp-vxlan"] {
        site.change(device, "tx-tcp-segmentation", false, false, true);
        site.change(device, "tx-scatter-gather", false, false, false);
        let todo = format!("somebody turned it off) -> ethtool -K {device} tx-scatter-gather on");
        assert!(both(&site)[1].ends_with(&todo), "{:?}", both(&site));
    }
    // What a test had turned off comes first, and what needs it goes with it.
    site.change("offramp-vxlan", CHECKSUM, false, false, false);
    site.change("offramp-vxlan", "tx-tcp-segmentation", false, false, true);
    site.turned_off = vec![TurnedOff {
        device: name("offramp-vxlan"),
        features: vec![CHECKSUM.into()],
        why: "packets did not arrive".into(),
    }];
    let cured = "by the CPU, before offramp-vxlan (tx-checksum-ip-generic of offramp-vxlan is off: packets did not \
                 arrive) -> offrampd probe --undo turns it on again";
    assert_eq!(both(&site), [cured; 2]);
}

#[test]
fn checksums_inside_tunnels_are_left_to_nics_that_know_tunnels() {
    let checksums = |site: &Site| site.about(&FAR, "vxlan checksums");
    let mut site = site();
    let mut change = |feature: &str, fixed| {
        site.change("nic1", &format!("tx-udp_tnl-{feature}"), false, fixed, false);
        checksums(&site)
    };
    assert!(change("csum-segmentation", true).starts_with("left to nic0, nic1"));
    assert!(change("segmentation", false).starts_with("left to nic0, nic1"), "it knows them");
    assert_eq!(
        change("segmentation", true),
        "by the CPU, before nic1 (nic1 has no tx-udp_tnl-*segmentation, so that it seems to know no tunnels)"
    );
    let near = [(Way::Direct, Family::V4, 1)];
    assert!(site.about(&near, "direct checksums").starts_with("left to nic0, nic1"));
}

#[test]
fn drivers_with_a_feature_for_each_family_are_asked_for_both() {
    let mut site = site();
    let near = [(Way::Direct, Family::V4, 1)];
    site.change("nic0", "tx-checksum-ip-generic", false, true, false);
    site.change("nic0", "tx-checksum-ipv4", true, false, true);
    site.change("nic0", "tx-checksum-ipv6", true, false, true);
    assert!(site.about(&near, "direct checksums").starts_with("left to nic0, nic1"));
    site.change("nic0", "tx-checksum-ipv6", false, false, false);
    let off = "by the CPU, before nic0 (tx-checksum-ipv6 of nic0 is off: somebody turned it off) -> ethtool -K nic0 tx-checksum-ipv6 on";
    assert_eq!(site.about(&near, "direct checksums"), off);
    site.change("nic0", "tx-checksum-ip-generic", true, false, true);
    assert!(site.about(&near, "direct checksums").starts_with("left to nic0, nic1"), "that is for both");
}

#[test]
fn sizes_are_told_with_who_chose_them() {
    let mut site = site();
    let mut with = |gso, gso4, most| {
        let sizes =
            Sizes { gso_max_size: gso, gso_ipv4_max_size: gso4, tso_max_size: most, ..Sizes::default() };
        site.devices.get_mut(&name("offramp-vxlan")).unwrap().sizes = sizes;
        site.told(&FAR).into_iter().find(|text| text.starts_with("vxlan packet sizes"))
    };
    let told = |text: &str| Some(format!("vxlan packet sizes: {text}"));
    let can = "GSO 65536 (the kernel's for offramp-vxlan, left alone; offramp-vxlan can have 524280 (BIG TCP): try offloads.bigTcp: auto)";
    assert_eq!(with(Some(65_536), None, Some(524_280)), told(can));
    let big = "GSO 65536 over IPv4, 185000 over IPv6 (somebody set them on offramp-vxlan: BIG TCP)";
    assert_eq!(with(Some(185_000), Some(65_536), Some(524_280)), told(big));
    let small = "GSO 16384 (somebody set them on offramp-vxlan, or its driver cannot have more)";
    assert_eq!(with(Some(16_384), Some(16_384), Some(16_384)), told(small));
    assert_eq!(with(None, None, None), None);
}

#[test]
fn big_tcp_is_told_with_what_stands_in_its_way() {
    let mut site = site();
    let mut told = |v4: Result<u32, &str>, v6: Result<u32, &str>| {
        let text = |family: Result<u32, &str>| family.map_err(str::to_owned);
        site.big_tcp = Some(Allowed { v4: text(v4), v6: text(v6) });
        site.about(&FAR, "vxlan packet sizes")
    };
    let whole =
        "GSO 65536, GRO 65536 (BIG TCP: this kernel carries them, and all devices of the path take them)";
    assert_eq!(told(Ok(1), Ok(1)), whole);
    assert!(told(Err("x"), Err("x")).ends_with("(no BIG TCP: x)"));
    assert!(told(Err("x"), Err("y")).ends_with("(no BIG TCP: IPv4: x; IPv6: y)"));
    assert!(told(Ok(1), Err("y")).ends_with("(BIG TCP over IPv4; not over IPv6: y)"));
    assert!(told(Err("x"), Ok(1)).ends_with("(BIG TCP over IPv6; not over IPv4: x)"));
}

#[test]
fn who_works_on_packets_is_told() {
    let mut site = site();
    let cpus = |xps, rps| Some(CpuSteering { xps, tx: 4, rps, rx: 4 });
    let about = |site: &Site| site.told(&FAR).into_iter().find(|text| text.starts_with("uplink CPUs"));
    assert_eq!(about(&site), None, "not known");
    site.devices.get_mut(&name("nic0")).unwrap().cpus = cpus(0, 0);
    assert_eq!(about(&site).unwrap(), "uplink CPUs: XPS off, RPS off (left alone)");
    site.devices.get_mut(&name("nic1")).unwrap().cpus = cpus(4, 0);
    let told = "uplink CPUs: nic0 XPS off, RPS off; nic1 XPS on 4 of 4 queues, RPS off (set by the driver, or by \
                somebody; left alone)";
    assert_eq!(about(&site).unwrap(), told);
}

#[test]
fn what_is_not_known_yet_is_left_out_and_a_loop_of_links_ends() {
    let mut site = site();
    site.devices.get_mut(&name("nic0")).unwrap().on = vec![name("bond0")];
    assert!(site.about(&FAR, "vxlan checksums").starts_with("left to"));
    site.devices.clear();
    let told = site.told(&FAR);
    assert!(!told.iter().any(|text| text.contains("checksums") || text.contains("sizes")), "{told:?}");
    assert_eq!(site.about(&FAR, "vxlan UDP port"), "4789 (IANA's for VXLAN, which NICs parse)");
}
