use super::*;
use crate::pair::{Chosen, Pair};
use crate::spec::{Address, Bandwidth, BridgeSpec, EnsureBridge, PortSpec, Protocol, Rate};
use crate::step::Undo;
use proptest::prelude::*;

fn id() -> AttachmentId {
    "c1@eth0".parse().unwrap()
}

fn spec(inline: bool, limited: bool, addresses: &[(&str, Option<&str>)]) -> Spec {
    let name: IfName = "br0".parse().unwrap();
    let ensure =
        EnsureBridge { name: name.clone(), mac: None, mtu: None, vlan_filtering: false, promisc: false };
    let egress = limited.then(|| Rate::new(1_000_000, 0));
    Spec {
        ifname: "eth0".parse().unwrap(),
        mac: MacAddr::local(1),
        sandbox: "/run/netns/x".into(),
        host_ifname: host_ifname(&id()),
        host_mac: MacAddr::local(2),
        pair: Chosen::default(),
        mtu: None,
        bridge: BridgeSpec {
            name,
            ensure: inline.then_some(ensure),
            is_gateway: true,
            force_address: false,
            inform: Vec::new(),
        },
        port: PortSpec::default(),
        addresses: addresses
            .iter()
            .map(|(ip, gw)| Address { ip: ip.parse().unwrap(), gateway: gw.map(|g| g.parse().unwrap()) })
            .collect(),
        routes: vec![Route::via(Family::V4.default_route(), None)],
        dns: Default::default(),
        enable_dad: false,
        leave_down: false,
        bandwidth: Bandwidth { ingress: None, egress },
        host_ports: vec![HostPort {
            host_port: 8080,
            container_port: 80,
            protocol: Protocol::Tcp,
            host_ip: None,
            only: None,
        }],
        masquerade: inline,
        mac_spoof_check: false,
    }
}

const DUAL: [(&str, Option<&str>); 2] = [("10.0.0.2/24", Some("10.0.0.1")), ("fd00::2/64", Some("fd00::1"))];

#[test]
fn the_daemon_keeps_its_bridge_and_the_plugin_its_own() {
    let names =
        |inline| plan(&id(), &spec(inline, false, &DUAL)).steps.iter().map(Step::name).collect::<Vec<_>>();
    assert_eq!(
        names(false),
        ["create-veth", "attach-port", "neighbours", "configure-pod", "await-carrier", "announce"]
    );
    let inline = [
        "ensure-bridge",
        "create-veth",
        "attach-port",
        "gateway",
        "neighbours",
        "configure-pod",
        "await-carrier",
        "announce",
    ];
    assert_eq!(names(true), inline);
}

#[test]
fn a_netkit_pair_takes_the_place_of_the_veths_and_of_nothing_else() {
    let veth = spec(false, true, &DUAL);
    let pair = Chosen { pair: Pair::Netkit { rx_queues: 4 }, why: Some("so it is".into()) };
    let netkit = Spec { pair, ..veth.clone() };
    let (veth, netkit) = (plan(&id(), &veth), plan(&id(), &netkit));
    assert_eq!((veth.path, netkit.path), (Path::Veth, Path::Netkit));
    assert_eq!(netkit.reason, "no offload was asked for; so it is");
    assert_eq!((&veth.result, &veth.firewall), (&netkit.result, &netkit.firewall));
    assert_eq!(veth.host_link(), netkit.host_link());
    let in_pod = netkit.result.interfaces.last().unwrap();
    assert_eq!((veth.path_of(in_pod), netkit.path_of(in_pod)), (Path::Veth, Path::Netkit));
    for (a, b) in veth.steps.iter().zip(&netkit.steps) {
        match (a, b) {
            (Step::CreateVeth(pair), Step::CreateNetkit(of)) => {
                assert_eq!((pair, 4), (&of.pair, of.rx_queues));
            }
            _ => assert_eq!(a, b),
        }
        assert_eq!(a.undo(), b.undo());
    }
    let json = serde_json::to_string(&netkit).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), netkit);
    assert!(json.contains("create-netkit") && !json.contains("create-veth"), "{json}");
}

/// What was told once need not be told again: only addresses that the MAC does not follow from are announced.
#[test]
fn addresses_are_announced_that_may_have_had_another_mac() {
    let announced = |mac: MacAddr, addresses: &[(&str, Option<&str>)]| {
        let plan = plan(&id(), &Spec { mac, ..spec(false, false, addresses) });
        plan.steps.into_iter().find_map(|s| if let Step::Announce(a) = s { Some(a.ips) } else { None })
    };
    let of = |ip: &str| MacAddr::of_ip(ip.parse().unwrap());
    assert_eq!(announced(of("10.0.0.2"), &DUAL[..1]), None);
    assert_eq!(announced(of("fd00::2"), &DUAL[1..]), None);
    assert_eq!(announced(of("10.0.0.2"), &DUAL), Some(vec!["fd00::2".parse().unwrap()]));
    assert_eq!(announced(of("10.0.0.3"), &DUAL[..1]), Some(vec!["10.0.0.2".parse().unwrap()]));
    assert_eq!(announced(of("10.0.0.2"), &[]), None);
}

#[test]
fn mappings_lead_to_the_address_of_their_family() {
    let mut spec = spec(true, false, &DUAL);
    assert_eq!(plan(&id(), &spec).firewall.host_ports.len(), 2);
    spec.host_ports[0].host_ip = Some("127.0.0.1".parse().unwrap());
    let rules = plan(&id(), &spec).firewall;
    assert_eq!((rules.host_ports.len(), rules.host_ports[0].to), (1, "10.0.0.2".parse().unwrap()));
    assert_eq!(rules.masquerade[1].exempt, "fd00::/64".parse().unwrap());
    spec.host_ports[0].host_ip = None;
    spec.host_ports[0].only = Some(Family::V6);
    assert_eq!(plan(&id(), &spec).firewall.host_ports[0].to, "fd00::2".parse::<IpAddr>().unwrap());
}

#[test]
fn the_result_names_interfaces_and_gateways() {
    let result = plan(&id(), &spec(true, false, &DUAL)).result;
    assert_eq!(result.interfaces[2].sandbox.as_deref(), Some("/run/netns/x"));
    assert_eq!(result.ips[1].interface, Some(2));
    assert_eq!(result.routes[0].gw, "10.0.0.1".parse().ok());
}

proptest! {
    /// A plan of a spec without addresses is what a delegated IPAM plugin finds: the full plan only goes on from there.
    #[test]
    fn link_steps_come_first(inline: bool, limited: bool) {
        let spec = spec(inline, limited, &DUAL);
        let link = link_steps(&spec, ifb_name(&id()));
        prop_assert!(plan(&id(), &spec).steps.starts_with(&link));
    }

    /// Whatever a step makes on the host has an undo, and names never leave the kernel's 15 bytes.
    #[test]
    fn links_have_undos(container in "[a-z0-9]{1,64}", limited: bool) {
        let id: AttachmentId = format!("{container}@eth0").parse().unwrap();
        let mut spec = spec(true, limited, &DUAL);
        spec.host_ifname = host_ifname(&id);
        let plan = plan(&id, &spec);
        let deleted: Vec<_> = plan.steps.iter().filter_map(Step::undo).filter_map(|u| match u {
            Undo::DeleteLink { name, mac } => Some((name.clone(), mac)),
            Undo::RemoveBridge { .. } | Undo::ForgetNeighbours(_) | Undo::ForgetMac(_) => None,
            Undo::ReturnVf(_)
            | Undo::RemoveHostRoute(_)
            | Undo::UnplugRepresentor(_)
            | Undo::Unsteer(_) => None,
        }).collect();
        let mut expected = vec![(host_ifname(&id), Some(spec.host_mac))];
        if limited { expected.push((ifb_name(&id), Some(MacAddr::local(3)))); }
        prop_assert_eq!(deleted, expected);
    }

    /// Whoever has taken back an earlier ADD of the same attachment does not know the link of a later one.
    #[test]
    fn a_link_without_mac_has_a_name_of_its_own(container in "[a-z0-9]{1,64}", first: u64, second: u64) {
        let id: AttachmentId = format!("{container}@eth0").parse().unwrap();
        let names = [first, second].map(|random| host_ifname_without_mac(&id, random));
        prop_assert_eq!(names[0] == names[1], first == second);
        prop_assert_eq!(host_ifname_without_mac(&id, 0), host_ifname(&id));
    }

    /// A routed pod's plan has nothing of a bridge's but that the node answers there for the pod, and is undone by names.
    #[test]
    fn a_routed_pod_is_on_no_bridge(inline: bool, limited: bool) {
        let spec = routed(inline, limited);
        let plan = plan(&id(), &spec);
        let names: Vec<_> = plan.steps.iter().map(Step::name).collect();
        let mut expected = vec!["create-netkit-l3", "attach-routed"];
        expected.extend(limited.then_some("shape"));
        expected.extend(["configure-pod", "await-carrier", "host-route"]);
        prop_assert_eq!(names, expected);
        prop_assert!(plan.steps.starts_with(&link_steps(&spec, ifb_name(&id()))));
        prop_assert_eq!(plan.host_link(), Some((&spec.host_ifname, None)));
        let host = plan.steps[0].undo();
        prop_assert_eq!(host, Some(Undo::DeleteLink { name: &spec.host_ifname, mac: None }));
        let last = plan.steps.last().and_then(Step::undo);
        prop_assert!(matches!(last, Some(Undo::RemoveHostRoute(route)) if route.link == spec.host_ifname));
    }
}

fn routed(inline: bool, limited: bool) -> Spec {
    let addresses = [("10.0.0.2/32", Some("169.254.1.1")), ("fd00::2/128", Some("fe80::1"))];
    let pair = Chosen { pair: Pair::NetkitL3, why: Some("so it is".into()) };
    Spec { pair, ..spec(inline, limited, &addresses) }
}

#[test]
fn a_routed_pods_result_names_both_ends_and_no_mac() {
    let plan = plan(&id(), &routed(false, false));
    assert_eq!((plan.path, plan.reason.as_str()), (Path::NetkitL3, "no offload was asked for; so it is"));
    let named: Vec<_> = plan
        .result
        .interfaces
        .iter()
        .map(|i| (i.name.as_str(), i.mac.is_some(), i.sandbox.is_some()))
        .collect();
    assert_eq!(named, [(host_ifname(&id()).as_str(), false, false), ("eth0", false, true)]);
    assert_eq!(plan.result.ips[1].interface, Some(1));
    assert_eq!(plan.path_of(&plan.result.interfaces[1]), Path::NetkitL3);
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    assert!(
        json.contains(r#""path":"netkit-l3""#) && json.contains(r#""step":"create-netkit-l3""#),
        "{json}"
    );
}

#[test]
fn the_switches_behind_the_bridge_know_the_pod_before_it_is_announced_and_forget_it() {
    let mut wanted = spec(false, false, &DUAL);
    wanted.bridge.inform = vec!["nic0".parse().unwrap(), "nic1".parse().unwrap()];
    let plan = plan(&id(), &wanted);
    let names: Vec<_> = plan.steps.iter().map(Step::name).collect();
    assert_eq!(names[1..4], ["attach-port", "know-mac", "know-mac"]);
    assert_eq!(names.last(), Some(&"announce"));
    let forgotten = plan.steps.iter().filter_map(Step::undo).filter_map(|u| match u {
        Undo::ForgetMac(know) => Some((know.port.as_str(), know.mac)),
        _ => None,
    });
    assert_eq!(forgotten.collect::<Vec<_>>(), [("nic0", wanted.mac), ("nic1", wanted.mac)]);
    assert_eq!(link_steps(&wanted, ifb_name(&id()))[..], plan.steps[..4]);
}

/// Rules are made before all else, and gone before the addresses are another pod's.
#[test]
fn packets_are_led_to_queues_from_first_to_last() {
    use crate::steer::{Lead, Packets};
    let port = crate::nic::PortKey { device: "0000:01:00.0".into(), port: 0 };
    let lead = Lead { ip: "10.0.0.2".parse().unwrap(), packets: Packets::Tcp };
    let steer = SteerQueues { port, nic: "ens1f0".parse().unwrap(), queues: vec![4, 5], leads: vec![lead] };
    let plain = plan(&id(), &spec(false, false, &DUAL));
    let led = plain.clone().steered(steer.clone(), "why".into());
    assert_eq!((led.path, led.reason.as_str(), led.steering()), (Path::Queues, "why", Some(&steer)));
    assert_eq!((led.steps[0].name(), &led.steps[1..]), ("steer-queues", &plain.steps[..]));
    assert_eq!(led.steps[0].undo(), Some(Undo::Unsteer(&steer)));
    assert_eq!(led.queues().map(|q| q.queue).collect::<Vec<_>>(), [4, 5]);
    let own = led.result.interfaces.last().unwrap();
    assert_eq!((led.path_of(own), plain.path_of(own)), (Path::Queues, Path::Veth));
    let json = serde_json::to_string(&led).unwrap();
    assert!(json.contains(r#""leads":[{"ip":"10.0.0.2","packets":"tcp"}]"#), "{json}");
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), led);
}
