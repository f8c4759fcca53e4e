//! What packets do.

use crate::lab::{Lab, ask, inside, run, tcp, udp};
use crate::{frame, host_port, pod_a};
use offramp_core::firewall::{Masquerade, NodeRules, Rules, SpoofCheck};
use offramp_core::spec::Protocol;
use offramp_kernel::nft::{self, Tables};
use offramp_kernel::sysctl::Sysctl;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};

type Ask = fn(&str, &str) -> std::io::Result<String>;
const BOTH: [Ask; 2] = [tcp, udp];

fn add(rules: &Rules) {
    inside("node", || Tables::unlocked().add(rules)).unwrap();
}

#[test]
fn a_client_outside_reaches_the_pod_and_keeps_its_address() {
    let lab = Lab::new();
    lab.serve("a", 80);
    add(&pod_a());
    for ask in BOTH {
        assert_eq!(ask("out", "192.0.2.1:8080").unwrap(), "a 192.0.2.2");
        assert_eq!(ask("out", "[2001:db8::1]:8080").unwrap(), "a 2001:db8::2");
    }
    inside("node", || Tables::unlocked().remove(&pod_a())).unwrap();
    for to in ["192.0.2.1:8080", "[2001:db8::1]:8080"] {
        assert_eq!(tcp("out", to).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn the_node_itself_reaches_the_pod() {
    let lab = Lab::new();
    lab.serve("a", 80);
    add(&pod_a());
    inside("node", || nft::enable_route_localnet(&Sysctl::default(), &"br0".parse().unwrap())).unwrap();
    for ask in BOTH {
        assert_eq!(ask("node", "192.0.2.1:8080").unwrap(), "a 192.0.2.1");
        assert_eq!(ask("node", "[2001:db8::1]:8080").unwrap(), "a 2001:db8::1");
        assert_eq!(ask("node", "127.0.0.1:8080").unwrap(), "a 10.20.0.1");
    }
    // No way for ::1 (see enable_route_localnet), but an answer at once.
    assert_eq!(tcp("node", "[::1]:8080").unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn pods_of_the_node_reach_the_pod_and_the_pod_itself() {
    let lab = Lab::new();
    lab.serve("a", 80);
    add(&pod_a());
    // br_netfilter bridges what it has redirected to the same subnet, so that the pod's own must go back out of the port
    // that they came by.
    for (br_netfilter, hairpin) in [(false, "off"), (true, "on")] {
        lab.bridge_netfilter(br_netfilter);
        run("bridge", &format!("-n node link set dev va hairpin {hairpin}"));
        for (ask, from) in BOTH.into_iter().flat_map(|ask| [(ask, "a"), (ask, "b")]) {
            assert_eq!(ask(from, "192.0.2.1:8080").unwrap(), "a 10.20.0.1", "from {from} {br_netfilter}");
            assert_eq!(ask(from, "[2001:db8::1]:8080").unwrap(), "a fd20::1", "from {from} {br_netfilter}");
        }
    }
    // Only what comes by way of the node's port.
    assert_eq!(tcp("b", "10.20.0.11:80").unwrap(), "a 10.20.0.12");
}

#[test]
fn an_address_of_its_own_goes_before_all_addresses() {
    let lab = Lab::new();
    lab.serve("a", 80);
    lab.serve("b", 80);
    add(&pod_a());
    add(&Rules {
        host_ports: vec![
            host_port(Protocol::Tcp, Some("192.0.2.9"), 8080, "10.20.0.12"),
            host_port(Protocol::Tcp, Some("2001:db8::9"), 8080, "fd20::12"),
            host_port(Protocol::Tcp, Some("192.0.2.9"), 9090, "10.20.0.12"),
        ],
        ..Rules::default()
    });
    assert_eq!(tcp("out", "192.0.2.9:8080").unwrap(), "b 192.0.2.2");
    assert_eq!(tcp("out", "192.0.2.1:8080").unwrap(), "a 192.0.2.2");
    assert_eq!(tcp("out", "[2001:db8::9]:8080").unwrap(), "b 2001:db8::2");
    assert_eq!(tcp("out", "[2001:db8::1]:8080").unwrap(), "a 2001:db8::2");
    assert_eq!(tcp("out", "192.0.2.9:9090").unwrap(), "b 192.0.2.2");
    assert_eq!(tcp("out", "192.0.2.1:9090").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // Not the node's address: not the node's port.
    assert_eq!(tcp("out", "10.20.0.12:8080").unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn the_daemon_masquerades_by_subnet() {
    let lab = Lab::new();
    lab.serve("out", 7);
    lab.serve("b", 80);
    let nets = |text: [&str; 2]| text.map(|n| n.parse().unwrap()).to_vec();
    let node = NodeRules {
        pod_subnets: nets(["10.20.0.0/24", "fd20::/64"]),
        no_masquerade: nets(["10.0.0.0/8", "fd00::/8"]),
        ..NodeRules::default()
    };
    inside("node", || Tables::unlocked().replace(&node, &[])).unwrap();
    for ask in BOTH {
        assert_eq!(ask("a", "192.0.2.2:7").unwrap(), "out 192.0.2.1");
        assert_eq!(ask("a", "[2001:db8::2]:7").unwrap(), "out 2001:db8::1");
        assert_eq!(ask("a", "10.20.0.12:80").unwrap(), "b 10.20.0.11");
    }
    assert_eq!(tcp("a", "10.99.0.2:7").unwrap(), "out 10.20.0.11");
    assert_eq!(tcp("a", "[fd99::2]:7").unwrap(), "out fd20::11");
    // The node's own traffic is none of ours.
    assert_eq!(tcp("node", "10.99.0.2:7").unwrap(), "out 192.0.2.1");
}

#[test]
fn the_plugin_masquerades_pod_by_pod() {
    let lab = Lab::new();
    lab.serve("out", 7);
    lab.serve("node", 7);
    let of = |ip: &str, exempt: &str| Masquerade { ip: ip.parse().unwrap(), exempt: exempt.parse().unwrap() };
    add(&Rules {
        masquerade: vec![of("10.20.0.11", "10.20.0.1/24"), of("fd20::11", "fd20::/64")],
        ..Rules::default()
    });
    for ask in BOTH {
        assert_eq!(ask("a", "192.0.2.2:7").unwrap(), "out 192.0.2.1");
        assert_eq!(ask("a", "[2001:db8::2]:7").unwrap(), "out 2001:db8::1");
    }
    assert_eq!(tcp("b", "192.0.2.2:7").unwrap(), "out 10.20.0.12");
    assert_eq!(tcp("b", "[2001:db8::2]:7").unwrap(), "out fd20::12");
    // To the node itself, by whichever address, nothing is masqueraded.
    assert_eq!(tcp("a", "192.0.2.1:7").unwrap(), "node 10.20.0.11");
    assert_eq!(tcp("a", "[2001:db8::1]:7").unwrap(), "node fd20::11");
}

/// What the daemon's subnets say goes for a pod in them, even if it is listed by itself.
#[test]
fn the_subnets_exemptions_go_before_a_pods() {
    let lab = Lab::new();
    lab.serve("out", 7);
    let one = |text: &str| vec![text.parse().unwrap()];
    let node = NodeRules {
        pod_subnets: one("10.20.0.0/24"),
        no_masquerade: one("10.99.0.0/24"),
        ..NodeRules::default()
    };
    let pod = Rules {
        masquerade: vec![Masquerade {
            ip: "10.20.0.11".parse().unwrap(),
            exempt: "10.20.0.0/24".parse().unwrap(),
        }],
        ..Rules::default()
    };
    inside("node", || Tables::unlocked().replace(&node, &[&pod])).unwrap();
    assert_eq!(tcp("a", "10.99.0.2:7").unwrap(), "out 10.20.0.11");
    assert_eq!(tcp("a", "192.0.2.2:7").unwrap(), "out 192.0.2.1");
}

/// A client that never pauses keeps its flow alive, and with it the way that its first packet went.
#[test]
fn a_udp_flow_follows_its_port() {
    let lab = Lab::new();
    lab.serve("a", 80);
    lab.serve("b", 80);
    lab.serve("node", 8080);
    for (node, a, b, bind) in [
        ("192.0.2.1:8080", "10.20.0.11", "10.20.0.12", "0.0.0.0:0"),
        ("[2001:db8::1]:8080", "fd20::11", "fd20::12", "[::]:0"),
    ] {
        let client = inside("out", || UdpSocket::bind(bind)).unwrap();
        let whom = || ask(&client, node.parse().unwrap()).unwrap().split(' ').next().unwrap().to_owned();
        let to =
            |pod| Rules { host_ports: vec![host_port(Protocol::Udp, None, 8080, pod)], ..Rules::default() };
        assert_eq!(whom(), "node");
        add(&to(a));
        assert_eq!(whom(), "a");
        add(&to(a));
        inside("node", || Tables::unlocked().remove(&to(a))).unwrap();
        assert_eq!(whom(), "node");
        add(&to(b));
        assert_eq!(whom(), "b");
        // Late, and none of its business.
        inside("node", || Tables::unlocked().remove(&to(a))).unwrap();
        assert_eq!(whom(), "b");
    }
}

const A: frame::Mac = [2, 0, 0, 0, 0, 0x0a];
const B: frame::Mac = [2, 0, 0, 0, 0, 0x0b];
const POD_A: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 11);
const POD_B: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 12);

#[test]
fn frames_with_a_false_source_are_dropped() {
    let _lab = Lab::new();
    let receiver = inside("b", || UdpSocket::bind("0.0.0.0:9999")).unwrap();
    let send = |mac, text| inside("a", || frame::send("eth0", (mac, B), (POD_A, POD_B), 9999, text));
    let mut liar = A;
    liar[1] = 0x66;
    send(liar, "unchecked");
    assert_eq!(frame::receive(&receiver), "unchecked");

    let check = SpoofCheck { link: "va".parse().unwrap(), mac: "02:00:00:00:00:0a".parse().unwrap() };
    let rules = Rules { spoof_check: Some(check), ..Rules::default() };
    add(&rules);
    liar[1] = 0x77;
    send(liar, "false");
    send(A, "true");
    assert_eq!(frame::receive(&receiver), "true");
    // The bridge did not even learn it.
    let learnt = run("bridge", "-n node fdb show br br0");
    assert!(learnt.contains("02:66:00:00:00:0a") && !learnt.contains("02:77:00:00:00:0a"), "{learnt}");

    inside("node", || Tables::unlocked().remove(&rules)).unwrap();
    send(liar, "unchecked again");
    assert_eq!(frame::receive(&receiver), "unchecked again");
}

/// With route_localnet a bridge takes 127.0.0.1 from the wire: services on the node's loopback would be the pods'.
#[test]
fn a_pod_does_not_reach_the_nodes_loopback() {
    let _lab = Lab::new();
    let bridge = run("ip", "-n node -br link show br0");
    let octets =
        bridge.split_whitespace().nth(2).unwrap().split(':').map(|o| u8::from_str_radix(o, 16).unwrap());
    let bridge: frame::Mac = octets.collect::<Vec<u8>>().try_into().unwrap();
    let receiver = inside("node", || {
        nft::enable_route_localnet(&Sysctl::default(), &"br0".parse().unwrap()).unwrap();
        UdpSocket::bind("0.0.0.0:9999").unwrap()
    });
    let send = |source: [u8; 4], destination: [u8; 4], text| {
        let ips = (Ipv4Addr::from(source), Ipv4Addr::from(destination));
        inside("a", || frame::send("eth0", (A, bridge), ips, 9999, text));
    };
    let (pod, node, loopback) = ([10, 20, 0, 11], [10, 20, 0, 1], [127, 0, 0, 1]);
    send(pod, loopback, "the hole is there");
    assert_eq!(frame::receive(&receiver), "the hole is there");

    add(&pod_a());
    send(pod, loopback, "to loopback");
    send(loopback, node, "from loopback");
    send(pod, node, "to the node");
    assert_eq!(frame::receive(&receiver), "to the node");
}
