use super::*;
use crate::record::State;
use std::collections::BTreeSet;

/// Of a node of which nothing could be seen.
pub(super) fn blind() -> Facts {
    fn no<T>() -> Look<T> {
        Err("no".into())
    }
    Facts {
        version: "1".into(),
        plugin: no(),
        wanted: no(),
        broken_config: None,
        daemon: Reply::Unseen("no".into()),
        conflist: no(),
        space: no(),
        records: no(),
        links: no(),
        offloads: no(),
        cpus: no(),
        overlay: no(),
        sysctls: no(),
        returns: no(),
        nics: no(),
        shared_queues: no(),
        filters: no(),
        representors: no(),
        rules: no(),
    }
}

#[test]
fn who_sees_nothing_finds_nothing_and_says_so() {
    assert_eq!(check(&blind()), []);
    let unseen = blind().unseen();
    assert_eq!((unseen.len(), unseen[0].as_str()), (17, "the plugin: no"));
}

#[test]
fn kinds_have_names_of_their_own() {
    let mut seen = BTreeSet::new();
    for kind in kinds() {
        assert!(kind.id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", kind.id);
        assert!(seen.insert(kind.id), "{} is there twice", kind.id);
        assert!(kind.docs.starts_with("docs/") && !kind.means.contains('|'), "{}", kind.id);
    }
}

#[test]
fn a_daemon_is_missed_where_one_should_be() {
    let away = Facts { daemon: Reply::Away("connect: no".into()), ..blind() };
    assert_eq!(check(&away), []);
    let wanted = Wanted { bridge: "offramp0".parse().unwrap(), nics: Vec::new(), pools: Vec::new() };
    let found = check(&Facts { wanted: Ok(wanted), ..away });
    assert_eq!(
        (found.len(), found[0].id.as_str(), &found[0].evidence),
        (1, "daemon-away", &vec!["connect: no".into()])
    );
}

#[test]
fn a_configuration_that_does_not_load_is_a_fault_and_misses_a_daemon() {
    let broken = Some("/etc/offramp/offrampd.yaml: 2 mistakes\n  a: no\n  b: no".to_owned());
    let found = check(&Facts { broken_config: broken, daemon: Reply::Away("connect: no".into()), ..blind() });
    let ids: Vec<&str> = found.iter().map(|f| f.id.as_str()).collect();
    assert_eq!((ids, found[0].evidence.len()), (vec!["config-unreadable", "daemon-away"], 3));
}

#[test]
fn a_pod_is_cut_off_whose_route_is_gone_while_it_lives() {
    let ip: std::net::IpAddr = "10.244.1.2".parse().unwrap();
    let pod = |state, dead, unrouted| Attached {
        id: "c1@eth0".parse().unwrap(),
        who: "default/web@eth0".into(),
        by_daemon: true,
        state,
        age: 1,
        dead,
        host_link: None,
        is_routed: false,
        mtu: None,
        ips: vec![ip],
        unrouted,
    };
    let found = |pod| {
        let records = Records { records: vec![pod], unreadable: Vec::new() };
        let found = check(&Facts { records: Ok(records), ..blind() });
        found.into_iter().filter(|f| f.id == "pod-cut-off").map(|f| f.evidence).collect::<Vec<_>>()
    };
    let evidence = vec!["default/web@eth0: no route to 10.244.1.2".to_owned()];
    assert_eq!(found(pod(State::Ready, Ok(false), Ok(vec![ip]))), [evidence]);
    assert!(found(pod(State::Ready, Ok(false), Ok(Vec::new()))).is_empty());
    assert!(found(pod(State::Adding, Ok(false), Ok(vec![ip]))).is_empty());
    assert!(found(pod(State::Ready, Ok(true), Ok(vec![ip]))).is_empty());
    assert!(found(pod(State::Ready, Ok(false), Err("no".into()))).is_empty());
}

#[test]
fn queues_that_are_not_a_pods_alone_are_told_of_once() {
    let shared = |nic: &str| crate::steer::SharedQueues {
        holder: "c1@eth0".parse().unwrap(),
        nic: nic.parse().unwrap(),
        queues: vec![4, 5],
    };
    let line = "c1@eth0: its queues are not its own: ens1f0 spreads the node's packets over [4, 5], too";
    let problems = vec![format!("{line}: ethtool -X ens1f0 equal N ends that")];
    let told = Told { version: "1".into(), problems, ..Told::default() };
    let all = vec![shared("ens1f0"), shared("ens2f0"), shared("ens1f0")];
    let facts = Facts { shared_queues: Ok(all), daemon: Reply::Told(Box::new(told)), ..blind() };
    let found = check(&facts);
    assert_eq!(
        (found.len(), found[0].id.as_str(), found[0].evidence[0].as_str()),
        (1, "queues-shared", line)
    );
    assert!(found[0].todo.starts_with("ethtool -X ens1f0 equal N; ethtool -X ens2f0 equal N: "), "{found:?}");
    assert_eq!(check(&Facts { shared_queues: Ok(Vec::new()), ..blind() }), []);
}

#[test]
fn what_was_too_much_to_look_at_is_said() {
    let returns = Returns { looked_up: Vec::new(), left_out: 7 };
    let unseen = Facts { returns: Ok(returns), ..blind() }.unseen();
    assert!(unseen.iter().any(|line| line.starts_with("routes: 7 of")), "{unseen:?}");
}

#[test]
fn a_problem_of_the_daemon_is_told_once() {
    let range = Range { subnet: "10.244.1.0/24".parse().unwrap(), used: 203, capacity: 253 };
    let short = "range 10.244.1.0/24 is at 80%: 50 addresses left";
    let told = |ranges: Vec<Range>, problems: &[&str]| {
        let problems = problems.iter().map(ToString::to_string).collect();
        let told = Told { version: "1".into(), ranges, problems, ..Told::default() };
        check(&Facts { daemon: Reply::Told(Box::new(told)), ..blind() })
    };
    let ids = |found: Vec<Finding>| found.into_iter().map(|f| (f.id, f.evidence)).collect::<Vec<_>>();
    assert_eq!(told(vec![Range { used: 202, ..range }], &[]), []);
    assert_eq!(ids(told(vec![range], &[short])), [("addresses-short".to_owned(), vec![short.to_owned()])]);
    let found = told(vec![range], &[short, "bridge: it is gone"]);
    assert_eq!(ids(found)[1], ("daemon-problem".to_owned(), vec!["bridge: it is gone".to_owned()]));
}

#[test]
fn of_a_bond_each_nic_is_asked_as_status_asks_it() {
    use crate::offload::{Device, Feature, TunnelPort, TunnelTable};
    use crate::overlay::{Actual, Dev, Route, Underlay};
    let device = |on: &[&str], feature: &str, wanted| {
        let mut device = Device { on: on.iter().map(|n| n.parse().unwrap()).collect(), ..Device::default() };
        device.features.0.insert(feature.into(), Feature { on: false, fixed: false, wanted });
        device
    };
    let full = TunnelTable {
        types: vec!["vxlan".into()],
        size: 1,
        ports: vec![TunnelPort { kind: "vxlan".into(), port: 8472 }],
    };
    let tunnel_ports = vec![full];
    let devices = [
        ("bond0", device(&["nic0", "nic1"], "tx-udp_tnl-segmentation", true)),
        ("nic0", Device { tunnel_ports: tunnel_ports.clone(), ..Device::default() }),
        ("nic1", Device { tunnel_ports, ..device(&[], "tx-udp_tnl-segmentation", false) }),
        ("nic2", device(&[], "tx-udp_tnl-segmentation", false)),
        ("vx0", Device::default()),
    ];
    let route = Route {
        dst: "10.244.2.0/24".parse().unwrap(),
        dev: Dev::Tunnel,
        next_hop: None,
        onlink: false,
        source: None,
        mtu: None,
        metric: 0,
        table: 254,
    };
    let vxlan = Vxlan {
        name: "vx0".into(),
        vni: Some(1),
        port: Some(4789),
        local: None,
        mtu: 1450,
        up: true,
        external: false,
    };
    let overlay = Overlay {
        underlay: Ok(Some(Underlay { index: 2, name: "bond0".into(), mtu: 1500, addresses: Vec::new() })),
        tunnels: true,
        device: "vx0".into(),
        vni: 1,
        port: 4789,
        vxlans: vec![vxlan],
        tables: Actual { routes: vec![route], ..Actual::default() },
        pod_networks: Vec::new(),
    };
    let offloads = Ok(devices.map(|(name, device)| (name.parse().unwrap(), device)).into());
    let found = offload::check(&Facts { overlay: Ok(overlay), offloads, ..blind() });
    let full = |nic| {
        format!(
            "{nic} does not look into tunnels behind UDP port 4789: the table of {nic} is full: vxlan 8472"
        )
    };
    // The bond's own waits for that of its port.
    let off = "nic1: tx-udp_tnl-segmentation is off, and can be turned on".to_owned();
    assert_eq!(found[0].evidence, [off, full("nic0"), full("nic1")]);
}
