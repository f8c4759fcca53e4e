use super::*;
use crate::lend::{Hold, Holding, Taken};
use crate::nic::{Eswitch, Inventory, PciAddr, PciId, Port, PortKey, Vf, VfNetdev};
use crate::vf::VlanTag;

fn vf(index: u16) -> Vf {
    Vf {
        index,
        pci: format!("0000:02:10.{index}").parse().unwrap(),
        id: Some(PciId { vendor: 0x8086, device: 0x10ca }),
        driver: Some("igbvf".into()),
        netdev: VfNetdev::Host { name: format!("v{index}").parse().unwrap() },
        iommu_group: None,
        representor: None,
    }
}

/// nic0 with two VFs of seven.
fn nic0() -> Port {
    Port {
        key: PortKey { device: "0000:02:00.0".into(), port: 0 },
        netdev: "nic0".parse().unwrap(),
        ifindex: 2,
        mac: None,
        driver: "igb".into(),
        id: None,
        speed_mbps: None,
        numa: Some(1),
        up: true,
        carrier: true,
        mtu: 1500,
        controller: None,
        total_vfs: 7,
        num_vfs: 2,
        eswitch: Eswitch::Legacy,
        switch_id: None,
        vfs: vec![vf(0), vf(1)],
    }
}

fn pool(name: &str, selectors: Vec<Selector>) -> Pool {
    let (mode, resource, defaults, policy) = Default::default();
    let name = name.parse().unwrap();
    Pool { name, selectors, mode, resource, cdi: false, defaults, bridge: None, policy }
}

fn taken(pci: PciAddr, hold: Hold) -> Taken {
    let mut taken = Taken::default();
    let holder = "c1@net1".into();
    taken.insert(pci, Holding { holder, hold, driver: Some("igbvf".into()) });
    taken
}

/// Which VFs of nic0 a selector selects.
fn selected(selector: &Selector) -> Vec<u16> {
    let port = nic0();
    let fits = |vf: &&Vf| selector.selects(&port, vf, vf.driver.as_deref());
    port.vfs.iter().filter(fits).map(|vf| vf.index).collect()
}

#[test]
fn all_kinds_must_fit_and_one_value_of_each() {
    let full = Selector {
        pf_names: vec!["nic9".parse().unwrap(), "nic0#1-3,7".parse().unwrap()],
        root_devices: vec!["0000:02:00.0".parse().unwrap()],
        vendors: vec![0x15b3, 0x8086],
        devices: vec![0x10ca],
        drivers: vec!["igbvf".into()],
        pci_addresses: vec![vf(0).pci, vf(1).pci],
        numa: vec![0, 1],
    };
    assert_eq!(selected(&full), [1]);
    type Change = fn(&mut Selector);
    let misses: [Change; 7] = [
        |s| s.pf_names = vec!["nic0#2-7".parse().unwrap()],
        |s| s.root_devices = vec!["0000:02:00.0#0".parse().unwrap()],
        |s| s.vendors = vec![1],
        |s| s.devices = vec![1],
        |s| s.drivers = vec!["iavf".into()],
        |s| s.pci_addresses = vec![vf(0).pci],
        |s| s.numa = vec![0],
    ];
    for (i, change) in misses.into_iter().enumerate() {
        let mut selector = full.clone();
        change(&mut selector);
        assert!(selected(&selector).is_empty(), "{i}");
    }
    assert!(Selector::default().is_empty() && !full.is_empty());
}

#[test]
fn ranges_are_read_whole_or_not_at_all() {
    let indexes: Indexes = "0,2-4".parse().unwrap();
    assert_eq!((0..6).filter(|i| indexes.contains(*i)).collect::<Vec<_>>(), [0, 2, 3, 4]);
    for bad in ["nic0#", "nic0#3-1", "nic0#a", "nic0#1,", "nic0#0-70000", "nic0#1#2", "#1", "a/b#1"] {
        assert!(bad.parse::<Numbered<IfName>>().is_err(), "{bad}");
    }
}

#[test]
fn globs() {
    let fits = |glob: &str, name: &str| glob.parse::<Glob>().unwrap().matches(name);
    for (glob, name) in [
        ("team-*", "team-a"),
        ("team-*", "team-"),
        ("*", "x"),
        ("a*c*e", "abcde"),
        ("*-x", "a-x-x"),
        ("a", "a"),
    ] {
        assert!(fits(glob, name), "{glob} {name}");
    }
    for (glob, name) in [
        ("team-*", "team"),
        ("team-*", "a-team-b"),
        ("a*a", "a"),
        ("a*c*e", "aec"),
        ("a", "ab"),
        ("a*b*b", "ab"),
    ] {
        assert!(!fits(glob, name), "{glob} {name}");
    }
    assert!("Team".parse::<Glob>().is_err() && "".parse::<Glob>().is_err());
    let policy = |glob: &str| Policy { namespaces: vec![glob.parse().unwrap()], ..Policy::default() };
    assert!(policy("*").admits(None) && !policy("a*").admits(None));
    assert!(!Policy::default().admits(Some("kube-system")) && !Policy::default().admits(None));
}

#[test]
fn a_vf_of_two_pools_is_of_none() {
    let by_name = |text: &str| Selector { pf_names: vec![text.parse().unwrap()], ..Selector::default() };
    let pools = [pool("a", vec![by_name("nic0#0"), by_name("nic9")]), pool("b", vec![by_name("nic0")])];
    let inventory = Inventory { ports: vec![nic0()] };
    let resolved = resolve(&pools, &inventory, &Taken::default());
    assert_eq!(resolved.pool_of.clone().into_iter().collect::<Vec<_>>(), [(vf(1).pci, 1)]);
    assert_eq!(
        resolved.overlaps[0].to_string(),
        "VF 0 of nic0 (0000:02:10.0) is selected by the pools a and b: it is lent by none of them"
    );
    assert_eq!(resolved.problems(&pools), [resolved.overlaps[0].to_string()]);
}

#[test]
fn what_a_configuration_should_not_say_of_its_pools() {
    let by_name = |text: &str| Selector { pf_names: vec![text.parse().unwrap()], ..Selector::default() };
    let pools = ["nic0", "nic0", "nic9"].map(|nic| vec![by_name(nic)]);
    let pools: Vec<Pool> =
        ["a", "b", "none"].into_iter().zip(pools).map(|(name, selectors)| pool(name, selectors)).collect();
    let inventory = Inventory { ports: vec![nic0()] };
    let problems = resolve(&pools, &inventory, &Taken::default()).problems(&pools);
    assert_eq!(
        problems,
        [
            "VF 0 of nic0 (0000:02:10.0) is selected by the pools a and b: it is lent by none of them; so are 1 more, \
             up to VF 1 of nic0 (0000:02:10.1)",
            "pool none has no VF on this node",
        ]
    );
    assert!(resolve(&pools[..1], &inventory, &Taken::default()).problems(&pools[..1]).is_empty());
}

#[test]
fn a_vf_stays_in_its_pool_while_it_is_lent_to_userspace() {
    let by_driver = |d: &str| Selector { drivers: vec![d.into()], ..Selector::default() };
    let pools = [pool("a", vec![by_driver("igbvf")]), pool("b", vec![by_driver("vfio-pci")])];
    let mut port = nic0();
    port.vfs[0].driver = Some("vfio-pci".into());
    let inventory = Inventory { ports: vec![port] };
    let of = |taken: &Taken| resolve(&pools, &inventory, taken).pool_of[&vf(0).pci];
    assert_eq!(of(&Taken::default()), 1);
    assert_eq!(of(&taken(vf(0).pci, Hold::Lent)), 0);
}

fn asked(pool: &Pool, wish: VfSettings) -> Result<VfSettings, String> {
    let all = |list: Vec<Forbidden>| list.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    settle(pool, &wish).map_err(all)
}

fn tag(id: u64, qos: u8) -> Option<VlanTag> {
    Some(VlanTag { id: id.try_into().ok(), qos, ..VlanTag::default() })
}

/// A wish for everything that needs permission.
fn all() -> VfSettings {
    VfSettings {
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        vlan: tag(100, 2),
        trust: Some(true),
        spoofchk: Some(false),
        link_state: Some(crate::vf::LinkState::Enable),
        min_tx_rate: Some(10),
        max_tx_rate: Some(200),
        mtu: 9000u64.try_into().ok(),
        allmulticast: Some(true),
        queues: Some(4),
    }
}

#[test]
fn nothing_is_allowed_unless_it_is_said_or_the_default() {
    let mut p = pool("a", vec![]);
    let told = asked(&p, all()).unwrap_err();
    for part in [
        "mac 02",
        "vlan 100 qos 2",
        "trust on",
        "spoofchk off",
        "linkState enable",
        "minTxRate 10",
        "mtu 9000",
        "allmulticast on",
        "queues 4",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // To take less is no privilege.
    assert!(!told.contains("maxTxRate"), "{told}");
    let modest = VfSettings {
        trust: Some(false),
        spoofchk: Some(true),
        mtu: 1400u64.try_into().ok(),
        ..VfSettings::default()
    };
    assert_eq!(asked(&p, modest.clone()), Ok(modest));

    p.defaults = all();
    assert_eq!(asked(&p, VfSettings::default()), Ok(all()));
    assert_eq!(asked(&p, all()), Ok(all()));

    p.defaults = VfSettings::default();
    p.policy = Policy {
        mac: true,
        trust: true,
        spoofchk_off: true,
        link_state: true,
        allmulticast: true,
        vlans: vec!["100-199".parse().unwrap()],
        max_qos: 2,
        min_tx_rate: 10,
        max_mtu: 9000,
        max_queues: 4,
        ..Policy::default()
    };
    assert_eq!(asked(&p, all()), Ok(all()));
}

#[test]
fn vlans_by_range_priority_and_protocol() {
    let mut p = pool("a", vec![]);
    p.policy.vlans = vec!["100-199".parse().unwrap(), "300".parse().unwrap()];
    let fits = |p: &Pool, vlan| asked(p, VfSettings { vlan, ..VfSettings::default() }).is_ok();
    assert!(fits(&p, tag(100, 0)) && fits(&p, tag(199, 0)) && fits(&p, tag(300, 0)));
    assert!(!fits(&p, tag(99, 0)) && !fits(&p, tag(200, 0)) && !fits(&p, tag(100, 1)));
    let service = Some(VlanTag { proto: crate::vf::VlanProto::Ad, ..tag(100, 0).unwrap() });
    assert!(!fits(&p, service));
    p.policy.vlan_protocols = vec![crate::vf::VlanProto::Ad];
    assert!(fits(&p, service) && !fits(&p, tag(100, 0)));
    // Out of the pool's VLAN into the untagged network is a privilege too.
    p.defaults.vlan = tag(100, 0);
    assert!(!fits(&p, tag(0, 0)));
    p.policy.vlans = vec!["0".parse().unwrap()];
    assert!(fits(&p, tag(0, 0)));
}

#[test]
fn limits_on_sending_can_be_lowered() {
    let mut p = pool("a", vec![]);
    let rate = |p: &Pool, max: Option<u32>, min: Option<u32>| {
        asked(p, VfSettings { max_tx_rate: max, min_tx_rate: min, ..VfSettings::default() })
            .map(|s| s.max_tx_rate)
    };
    assert_eq!(rate(&p, Some(0), None), Ok(Some(0)));
    p.policy.max_tx_rate = Some(100);
    assert_eq!(rate(&p, None, None), Ok(Some(100)));
    assert!(rate(&p, Some(0), None).is_err() && rate(&p, Some(101), None).is_err());
    p.defaults.max_tx_rate = Some(50);
    assert_eq!((rate(&p, None, None), rate(&p, Some(100), None)), (Ok(Some(50)), Ok(Some(100))));
    p.policy.max_tx_rate = None;
    assert!(rate(&p, Some(40), None).is_ok() && rate(&p, Some(51), None).is_err());
    p.policy.min_tx_rate = 60;
    assert!(rate(&p, None, Some(60)).unwrap_err().contains("no more than maxTxRate, 50 Mbit/s"));
}

#[test]
fn userspace_has_no_netdev_to_set() {
    let mut p = pool("a", vec![]);
    p.policy.max_queues = 8;
    let queues = || VfSettings { queues: Some(2), ..VfSettings::default() };
    assert_eq!(asked(&p, queues()), Ok(queues()));
    p.mode = VfMode::Vfio;
    assert!(asked(&p, queues()).unwrap_err().contains("none in mode vfio"));
}

fn rule(num_vfs: Option<u16>, eswitch: Option<Eswitch>) -> NicRule {
    let ports = PortSelector { pf_names: vec!["nic0".parse().unwrap()], ..PortSelector::default() };
    NicRule { ports, num_vfs, eswitch, manage: true }
}

#[test]
fn what_is_to_be_changed_at_a_port() {
    let none = Taken::default();
    let change = |rule: &NicRule| nic_change(rule, &nic0(), &none, &[]).unwrap();
    assert_eq!(change(&rule(None, None)), None);
    assert_eq!(change(&rule(Some(2), Some(Eswitch::Legacy))), None);
    let more = change(&rule(Some(7), None)).unwrap();
    assert_eq!((more.through_zero, more.eswitch, more.num_vfs), (true, None, 7));
    // A change of mode removes the VFs, which are made anew.
    let mode = change(&rule(None, Some(Eswitch::Switchdev))).unwrap();
    assert_eq!((mode.through_zero, mode.eswitch, mode.num_vfs), (true, Some(Eswitch::Switchdev), 2));
    let without = Port { num_vfs: 0, vfs: vec![], ..nic0() };
    assert!(!nic_change(&rule(Some(7), None), &without, &none, &[]).unwrap().unwrap().through_zero);
}

#[test]
fn a_port_is_not_changed_beyond_its_limits_or_under_anybody() {
    let none = Taken::default();
    let untold = Port { total_vfs: 0, ..nic0() };
    assert!(nic_change(&rule(Some(70), None), &untold, &none, &[]).unwrap().is_some());
    let told = |rule: &NicRule, port: &Port, taken: &Taken| {
        nic_change(rule, port, taken, &[]).unwrap_err().to_string()
    };
    assert_eq!(
        told(&rule(Some(8), None), &nic0(), &none),
        "nic0 should have 8 VFs (it has 2), but it can have 7 VFs at most"
    );
    let unmanaged = NicRule { manage: false, ..rule(Some(4), Some(Eswitch::Switchdev)) };
    assert_eq!(
        told(&unmanaged, &nic0(), &none),
        "nic0 should have 4 VFs (it has 2) in switchdev mode, but nics[].manage does not let the daemon change it"
    );
    let mut stolen = nic0();
    stolen.vfs[1].netdev = VfNetdev::Elsewhere { netns: None, name: None };
    let held = taken(vf(0).pci, Hold::Quarantine("reset failed".into()));
    let opened = [InUse { vf: nic0().vf_ref(&vf(1)), by: "is held open by process 7 (dpdk)".into() }];
    let told_of_others = nic_change(&rule(Some(0), None), &nic0(), &none, &opened).unwrap_err().to_string();
    assert!(told_of_others.ends_with("VF 1 of nic0 (0000:02:10.1) is held open by process 7 (dpdk)"));
    assert_eq!(
        told(&rule(Some(4), None), &stolen, &held),
        "nic0 should have 4 VFs (it has 2), but the change would remove VFs that are in use: VF 0 of nic0 (0000:02:10.0) \
         is in quarantine after c1@net1: reset failed, VF 1 of nic0 (0000:02:10.1) has its netdev in another namespace"
    );
}

#[test]
fn the_first_rule_that_fits() {
    let general = NicRule {
        ports: PortSelector { drivers: vec!["igb".into()], ..PortSelector::default() },
        ..rule(Some(1), None)
    };
    let rules = [rule(Some(7), None), general];
    assert_eq!(rule_of(&rules, &nic0()).unwrap().num_vfs, Some(7));
    assert_eq!(
        rule_of(&rules, &Port { netdev: "nic1".parse().unwrap(), ..nic0() }).unwrap().num_vfs,
        Some(1)
    );
    assert!(
        rule_of(&rules, &Port { netdev: "nic1".parse().unwrap(), driver: "mlx5_core".into(), ..nic0() })
            .is_none()
    );
}
