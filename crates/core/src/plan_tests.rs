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
        let mut expected = vec![(host_ifname(&id), spec.host_mac)];
        if limited { expected.push((ifb_name(&id), MacAddr::local(3))); }
        prop_assert_eq!(deleted, expected);
    }
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
