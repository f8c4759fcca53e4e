//! Packets by every path.

use crate::lab::*;
use offramp_core::net::Family;
use offramp_core::overlay::Mode;
use offramp_core::overlay::paths;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

#[test]
fn vxlan_over_ipv4() {
    let lab = Lab::new(Mode::Vxlan);
    lab.converge();
    all_reach(&[1, 2, 3]);
    let (sent, received) = tunnelled(1);
    assert!(sent >= 8 && received >= 8, "{sent} {received}");
    let details = ip(&format!("-n n1 -d link show {DEVICE}"));
    for word in
        ["mtu 1450", "id 77", "local 10.99.0.1", "dev eth0", "dstport 4789", "nolearning", "addrgenmode none"]
    {
        assert!(details.contains(word), "{word}: {details}");
    }
}

#[test]
fn vxlan_over_ipv6() {
    let mut lab = Lab::new(Mode::Vxlan);
    lab.family = Some(Family::V6);
    lab.set_pod_mtu(1430);
    lab.converge();
    all_reach(&[1, 2, 3]);
    let details = ip(&format!("-n n1 -d link show {DEVICE}"));
    for word in ["mtu 1430", "local fd99::1", "dstport 4789", "noudp6zerocsumtx", "noudp6zerocsumrx"] {
        assert!(details.contains(word), "{word}: {details}");
    }
}

#[test]
fn an_underlay_of_ipv6_only_is_found() {
    let mut lab = Lab::new(Mode::Auto);
    for n in 1..=3 {
        ip(&format!("-n n{n} -4 addr flush dev eth0"));
    }
    lab.set_pod_mtu(1430);
    lab.converge();
    all_reach(&[1, 2, 3]);
    // Neighbours go direct, IPv4 pods by an IPv6 next hop.
    let route = ip("-n n1 route show 10.244.2.0/24");
    assert!(route.contains("via inet6 fd99::2 dev eth0 proto 213 src 10.244.1.1"), "{route}");
}

#[test]
fn direct_routes_on_one_subnet() {
    let lab = Lab::new(Mode::Direct);
    for n in 1..=2 {
        let report = lab.settle(n, &peers_of(n));
        let underlay = report.underlay.unwrap();
        let far = paths(&lab.settings(), &lab.node(n), &underlay, &peer(3));
        let far: Vec<_> = far.iter().map(|r| r.path.to_string()).collect();
        assert!(far.iter().all(|p| p.starts_with("unreachable: mode direct")) && far.len() == 2, "{far:?}");
    }
    all_reach(&[1, 2]);
    let (there, _) = attempt(&format!("ip -n n1 link show {DEVICE}"));
    assert!(!there, "direct routes need no device");
}

#[test]
fn auto_takes_the_direct_path_where_it_can() {
    let lab = Lab::new(Mode::Auto);
    lab.converge();
    all_reach(&[1, 2]);
    assert_eq!(tunnelled(1), (0, 0));
    all_reach(&[1, 3]);
    let (sent, received) = tunnelled(1);
    assert!(sent >= 8 && received >= 8, "{sent} {received}");
}

/// Sends `data` by TCP from a pod to another's address and back.
fn echo(from: &str, to: &str, address: &str, data: &[u8]) -> Vec<u8> {
    let address: SocketAddr = address.parse().unwrap();
    let listener = inside(to, || TcpListener::bind(address)).unwrap();
    let mut stream = inside(from, || {
        let server = std::thread::spawn(move || listener.accept().unwrap().0);
        let stream = TcpStream::connect(address).unwrap();
        let mut other = server.join().unwrap();
        // Echoes until the end.
        std::thread::spawn(move || std::io::copy(&mut other.try_clone().unwrap(), &mut other));
        stream
    });
    let mut writer = stream.try_clone().unwrap();
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(data).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut back).unwrap();
    });
    back
}

#[test]
fn a_transfer_through_the_tunnel_is_whole() {
    let data: Vec<u8> = (0u32..1 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    for family in Family::ALL {
        let mut lab = Lab::new(Mode::Vxlan);
        lab.family = Some(family);
        lab.set_pod_mtu(1500 - family.vxlan_overhead());
        lab.converge();
        for address in ["10.244.2.2:7000", "[fd44:2::2]:7000"] {
            assert!(echo("p1", "p2", address, &data) == data, "{address} over {family}");
        }
        assert!(tunnelled(1).0 > 100, "large packets are cut behind the device");
    }
}

#[test]
fn packets_that_are_too_large_are_told_so() {
    let mut lab = Lab::new(Mode::Auto);
    lab.set_pod_mtu(1500);
    lab.converge();
    // IPv4 header 20 + ICMP 8, IPv6 header 40 + ICMP 8.
    for (near, far, headers) in [("10.244.2.2", "10.244.3.2", 28), ("fd44:2::2", "fd44:3::2", 48)] {
        let whole = |mtu: u32| format!("-c 3 -i 0.2 -M do -s {}", mtu - headers);
        let (ok, text) = ping("p1", near, &whole(1500));
        assert!(ok, "direct: {text}");
        let (ok, text) = ping("p1", far, &whole(1451));
        assert!(!ok && text.contains("1450"), "tunnel, one byte too many: {text}");
        let (ok, text) = ping("p1", far, &whole(1450));
        assert!(ok, "tunnel: {text}");
    }
    let route = ip("-n n1 route show 10.244.3.0/24");
    assert!(route.contains("mtu 1450"), "{route}");
}
