//! A pod that reaches the node by a wire of its own instead of the bridge, as one whose eth0 is a VF does. Here the
//! wire is a veth: what the node and the pod hold is the same.

use crate::lab::{self, BRIDGE, Pod, apply, ip, plan_of, run, spec};
use offramp_core::MacAddr;
use offramp_core::cni::result::Route;
use offramp_core::net::Family;
use offramp_core::spec::Address;
use offramp_core::step::{AwaitCarrier, ConfigurePod, HostRoute, NextHop, Step};
use offramp_core::vf::gateway;
use offramp_kernel::sysctl::Sysctl;
use offramp_kernel::uplink;
use std::net::IpAddr;

struct WirePod {
    pod: Pod,
    steps: Vec<Step>,
    link: String,
}

/// A pod of the bridge's subnets, at the other end of a wire.
fn wire_pod(n: u8) -> WirePod {
    let pod = Pod::new();
    let link = format!("pf{n}");
    run(&format!("ip link add {link} type veth peer name eth0 netns {}", pod.name));
    run(&format!("ip link set {link} up"));
    let mac = |json: &serde_json::Value| json[0]["address"].as_str().unwrap().parse::<MacAddr>().unwrap();
    let node_mac = mac(&ip(&format!("link show dev {link}")));
    let pod_mac = mac(&pod.ip("link show dev eth0"));
    let ips: Vec<IpAddr> =
        vec![format!("10.88.0.{n}").parse().unwrap(), format!("fd88::{n:x}").parse().unwrap()];
    let address = |ip: &IpAddr| Address { ip: (*ip).into(), gateway: Some(gateway(Family::of(*ip))) };
    let route = |f: Family| Route::via(f.default_route(), Some(gateway(f)));
    let steps = vec![
        Step::ConfigurePod(ConfigurePod {
            link: "eth0".parse().unwrap(),
            mac: pod_mac,
            addresses: ips.iter().map(address).collect(),
            routes: Family::ALL.map(route).to_vec(),
            dad: false,
            neighbours: Family::ALL.map(|f| NextHop { ip: gateway(f), mac: node_mac }).to_vec(),
        }),
        Step::AwaitCarrier(AwaitCarrier { host: None, pod: "eth0".parse().unwrap(), ips: ips.clone() }),
        Step::HostRoute(HostRoute {
            link: link.parse().unwrap(),
            bridge: BRIDGE.parse().unwrap(),
            ips,
            mac: Some(pod_mac),
        }),
    ];
    WirePod { pod, steps, link }
}

fn prepare(wire: &WirePod) {
    let sysctl = Sysctl::default();
    uplink::answer_on(&sysctl, &BRIDGE.parse().unwrap()).unwrap();
    uplink::forward_from(&sysctl, &wire.link.parse().unwrap()).unwrap();
}

fn bridge_pod(n: u8) -> Pod {
    let pod = Pod::new();
    apply(&mut pod.executor(), &plan_of(n, &spec(n)).steps).unwrap();
    pod
}

/// One packet each way, and less time than the kernel takes to ask for a MAC again.
fn reach(from: &Pod, to: u8) {
    for ip in [format!("10.88.0.{to}"), format!("fd88::{to:x}")] {
        run(&format!("ip netns exec {} ping -n -c 1 -W 0.9 {ip}", from.name));
    }
}

#[test]
fn the_first_packet_passes_between_wire_bridge_and_node() {
    lab::enter();
    let beside = bridge_pod(2);
    let (a, b) = (wire_pod(3), wire_pod(4));
    for wire in [&a, &b] {
        prepare(wire);
        apply(&mut wire.pod.executor(), &wire.steps).unwrap();
    }
    reach(&a.pod, 1);
    reach(&a.pod, 2);
    reach(&beside, 3);
    reach(&a.pod, 4);
    run("ping -n -c 1 -W 0.9 10.88.0.4");
    run("ping -n -c 1 -W 0.9 fd88::4");
    let knows = a.pod.ip("-6 route show");
    assert!(!knows.to_string().contains("redirect"), "{knows}");
}

#[test]
fn an_address_that_was_on_the_bridge_moves_to_the_wire_and_back() {
    lab::enter();
    let (beside, first) = (bridge_pod(2), bridge_pod(5));
    reach(&beside, 5);
    run(&format!("ip netns exec {} ip link del eth0", first.name));

    let wire = wire_pod(5);
    prepare(&wire);
    apply(&mut wire.pod.executor(), &wire.steps).unwrap();
    run("ping -n -c 1 -W 0.9 10.88.0.5");
    lab::undo(&mut wire.pod.executor(), &wire.steps);
    for list in ["route show proto 214", "-6 route show proto 214", "neigh show proxy", "-6 neigh show proxy"]
    {
        assert_eq!(ip(list), serde_json::json!([]), "{list}");
    }
    assert_eq!(ip(&format!("neigh show dev {}", wire.link)), serde_json::json!([]));

    let last = bridge_pod(5);
    reach(&last, 1);
    reach(&beside, 5);
}

#[test]
fn what_a_newer_holder_has_is_left() {
    lab::enter();
    let _bridge = bridge_pod(2);
    let wire = wire_pod(6);
    apply(&mut wire.pod.executor(), &wire.steps).unwrap();
    run(&format!("ip neigh replace 10.88.0.6 lladdr 02:00:00:00:00:99 nud permanent dev {}", wire.link));
    lab::undo(&mut wire.pod.executor(), &wire.steps);
    assert_eq!(ip("route show proto 214")[0]["dst"], "10.88.0.6", "somebody else's route was removed");
    assert_eq!(ip("-6 route show proto 214"), serde_json::json!([]));
}
