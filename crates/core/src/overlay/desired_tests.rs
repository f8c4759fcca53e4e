use super::*;
use crate::peer::Peer;
use std::net::IpAddr;

fn settings(mode: Mode) -> Settings {
    let device = "offramp-vxlan".parse().unwrap();
    Settings { mode, device, vni: Vni::try_from(1).unwrap(), port: VXLAN_PORT, family: None }
}

fn node() -> Node {
    Node {
        name: "n1".parse().unwrap(),
        mac: None,
        gateways: vec!["10.244.1.1".parse().unwrap(), "fd44:1::1".parse().unwrap()],
        pod_mtu: Mtu::try_from(1450).ok(),
    }
}

fn underlay(addresses: &[&str]) -> Underlay {
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    Underlay { index: 2, name: "eth0".into(), mtu: 1500, addresses }
}

fn peer(name: &str, endpoints: &[&str], pod_cidrs: &[&str]) -> Peer {
    Peer {
        name: name.parse().unwrap(),
        endpoints: endpoints.iter().map(|e| e.parse().unwrap()).collect(),
        pod_cidrs: pod_cidrs.iter().map(|c| c.parse().unwrap()).collect(),
        mac: None,
    }
}

/// The paths to the peer's podCIDRs, as text.
fn paths(settings: &Settings, underlay: &Underlay, peer: Peer) -> Vec<String> {
    super::paths(settings, &node(), underlay, &peer).iter().map(|r| r.path.to_string()).collect()
}

const DUAL: [&str; 2] = ["192.0.2.1/24", "2001:db8::1/64"];
const PODS: [&str; 2] = ["10.244.2.0/24", "fd44:2::/64"];

#[test]
fn auto_goes_direct_where_there_is_no_router_between() {
    let auto = settings(Mode::Auto);
    let near = peer("n2", &["192.0.2.2", "2001:db8::2"], &PODS);
    assert_eq!(paths(&auto, &underlay(&DUAL), near), ["direct to 192.0.2.2", "direct to 2001:db8::2"]);
    let far = peer("n3", &["198.51.100.3", "2001:db8:3::3"], &PODS);
    assert_eq!(paths(&auto, &underlay(&DUAL), far), ["vxlan to 198.51.100.3"; 2]);
    // IPv6 cannot have an IPv4 next hop.
    let v4 = peer("n4", &["192.0.2.4"], &PODS);
    assert_eq!(paths(&auto, &underlay(&DUAL), v4), ["direct to 192.0.2.4", "vxlan to 192.0.2.4"]);
}

#[test]
fn each_way_has_its_reason() {
    let told = |mode, endpoints: &[&str]| {
        let reached = super::paths(&settings(mode), &node(), &underlay(&DUAL), &peer("n2", endpoints, &PODS));
        let why = |r: Reached| r.why.map_or_else(|| "none".into(), |why| why.tell(&underlay(&DUAL)));
        reached.into_iter().map(why).collect::<Vec<_>>()
    };
    assert_eq!(
        told(Mode::Auto, &["192.0.2.2"]),
        ["in a subnet of eth0", "in a subnet of eth0, but not by IPv6"]
    );
    assert_eq!(told(Mode::Auto, &["198.51.100.3"]), ["in no subnet of eth0"; 2]);
    assert_eq!(told(Mode::Vxlan, &["192.0.2.2"]), ["overlay.mode is vxlan"; 2]);
    assert_eq!(told(Mode::Direct, &["198.51.100.3"]), ["none"; 2], "the path says why there is none");
}

#[test]
fn ipv4_pods_may_have_an_ipv6_next_hop() {
    let v6 = || peer("n2", &["2001:db8::2"], &PODS);
    assert_eq!(paths(&settings(Mode::Direct), &underlay(&DUAL), v6()), ["direct to 2001:db8::2"; 2]);
    let state = desired(&settings(Mode::Direct), &node(), &underlay(&DUAL), &[v6()]);
    let route = &state.routes[&"10.244.2.0/24".parse().unwrap()];
    assert_eq!((route.next_hop, route.source), ("2001:db8::2".parse().ok(), "10.244.1.1".parse().ok()));
    assert_eq!((state.device, route.dev, route.onlink), (None, Dev::Uplink, false));
}

#[test]
fn direct_says_why_it_cannot() {
    let far = peer("n3", &["198.51.100.3"], &["10.244.3.0/24"]);
    assert_eq!(
        paths(&settings(Mode::Direct), &underlay(&DUAL), far),
        [
            "unreachable: mode direct: none of its endpoints (198.51.100.3) is in a subnet of eth0 that IPv4 pods can be routed by"
        ]
    );
}

#[test]
fn a_tunnel_is_of_one_family() {
    let vxlan = settings(Mode::Vxlan);
    let near = peer("n2", &["192.0.2.2", "2001:db8::2"], &PODS);
    assert_eq!(paths(&vxlan, &underlay(&DUAL), near.clone()), ["vxlan to 192.0.2.2"; 2]);
    assert_eq!(paths(&vxlan, &underlay(&DUAL[1..]), near.clone()), ["vxlan to 2001:db8::2"; 2]);
    let v6 = Settings { family: Some(Family::V6), ..vxlan.clone() };
    assert_eq!(paths(&v6, &underlay(&DUAL), near.clone()), ["vxlan to 2001:db8::2"; 2]);
    assert_eq!(
        paths(&v6, &underlay(&DUAL[..1]), near),
        ["unreachable: this node has no IPv6 address on eth0 to tunnel from"; 2]
    );
    let other = peer("n2", &["2001:db8::2"], &PODS[..1]);
    assert_eq!(
        paths(&vxlan, &underlay(&DUAL), other),
        ["unreachable: the tunnel is over IPv4, and it has no such endpoint (2001:db8::2)"]
    );
}

#[test]
fn a_tunnelled_pod_cidr_has_route_neighbour_and_forwarding_entry() {
    let state =
        desired(&settings(Mode::Vxlan), &node(), &underlay(&DUAL), &[peer("n2", &["192.0.2.2"], &PODS)]);
    let mac = tunnel_mac(&"n2".parse().unwrap());
    assert_eq!(state.fdb.into_iter().collect::<Vec<_>>(), [(mac, "192.0.2.2".parse().unwrap())]);
    let hops: [IpAddr; 2] = ["10.244.2.0".parse().unwrap(), mac.link_local().into()];
    assert_eq!(state.neighbours.into_iter().collect::<Vec<_>>(), hops.map(|ip| (ip, mac)));
    for (route, hop) in state.routes.values().zip(hops) {
        assert_eq!(
            (route.next_hop, route.onlink, route.dev, route.mtu),
            (Some(hop), hop.is_ipv4(), Dev::Tunnel, None)
        );
    }
    let device = state.device.unwrap();
    assert_eq!(device.mac, tunnel_mac(&"n1".parse().unwrap()));
    assert_eq!((device.mtu, device.local), (1450, "192.0.2.1".parse().unwrap()));
}

#[test]
fn mtu_follows_mode_and_family() {
    let dual = underlay(&DUAL);
    assert_eq!(pod_mtu(&settings(Mode::Auto), &dual), 1450);
    assert_eq!(pod_mtu(&settings(Mode::Vxlan), &underlay(&DUAL[1..])), 1430);
    assert_eq!(pod_mtu(&settings(Mode::Direct), &dual), 1500);
    assert_eq!(pod_mtu(&settings(Mode::None), &dual), 1500);
    // Pods that may send more than the tunnel carries are told by the route.
    let greedy = Node { pod_mtu: Mtu::try_from(1500).ok(), ..node() };
    let peers = [peer("n2", &["192.0.2.2"], &PODS[..1]), peer("n3", &["198.51.100.3"], &["10.244.3.0/24"])];
    let mtus: Vec<_> =
        desired(&settings(Mode::Auto), &greedy, &dual, &peers).routes.values().map(|r| r.mtu).collect();
    assert_eq!(mtus, [None, Some(1450)]);
}

#[test]
fn none_leaves_everything_to_others() {
    let peers = [peer("n2", &["192.0.2.2"], &PODS)];
    assert_eq!(desired(&settings(Mode::None), &node(), &underlay(&DUAL), &peers), Desired::default());
}

#[test]
fn what_two_claim_the_earlier_one_has() {
    let peers = [
        peer("n2", &["192.0.2.2"], &PODS[..1]),
        peer("n3", &["192.0.2.3"], &PODS[..1]),
        Peer {
            mac: Some(tunnel_mac(&"n2".parse().unwrap())),
            ..peer("n4", &["192.0.2.4"], &["10.244.4.0/24"])
        },
        Peer {
            mac: Some(tunnel_mac(&"n1".parse().unwrap())),
            ..peer("n5", &["192.0.2.5"], &["10.244.5.0/24"])
        },
    ];
    let state = desired(&settings(Mode::Vxlan), &node(), &underlay(&DUAL), &peers);
    let own = tunnel_mac(&"n1".parse().unwrap());
    let told = format!("unreachable: its tunnel MAC {own} is this node's");
    assert_eq!(paths(&settings(Mode::Vxlan), &underlay(&DUAL), peers[3].clone()), [told]);
    assert_eq!((state.routes.len(), state.fdb.len(), state.neighbours.len()), (1, 1, 1));
    assert_eq!(state.fdb.values().collect::<Vec<_>>(), [&"192.0.2.2".parse::<IpAddr>().unwrap()]);
}

#[test]
fn the_tunnel_mac_never_changes_between_versions() {
    // Nodes of two versions must agree.
    assert_eq!(tunnel_mac(&"node-1".parse().unwrap()).to_string(), "ee:c2:20:78:79:c3");
}
