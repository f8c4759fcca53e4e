//! A pod that says it is a router is not believed by the others.

use nix::libc;
use offramp_tests::{Lab, Netns, until};
use serde_json::json;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// An unsolicited router advertisement (RFC 4861, section 4.2) to all on the link: a default router for half an hour.
fn advertise(from: &Netns) {
    const ADVERTISEMENT: [u8; 16] = [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    let hops: libc::c_int = 255;
    from.inside(|| {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::socket(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the kernel has just made this descriptor for us.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the pointer is to an integer of that size, which outlives the call.
        let set = unsafe {
            libc::setsockopt(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, (&raw const hops).cast(), 4)
        };
        assert_eq!(set, 0);
        let all: std::net::Ipv6Addr = "ff02::1".parse().unwrap();
        let index = nix::net::if_::if_nametoindex("eth0").unwrap();
        let to = nix::sys::socket::SockaddrIn6::from(std::net::SocketAddrV6::new(all, 0, 0, index));
        let sent = nix::sys::socket::sendto(
            socket.as_raw_fd(),
            &ADVERTISEMENT,
            &to,
            nix::sys::socket::MsgFlags::empty(),
        );
        assert_eq!(sent, Ok(ADVERTISEMENT.len()));
    });
}

fn learned(netns: &Netns) -> bool {
    netns.ip("-6 route show default").contains("proto ra")
}

#[test]
fn a_pod_is_no_router_of_others() {
    let lab = Lab::new();
    let node = lab.node("node");
    let (liar, pod, believer) = (lab.pod("liar"), lab.pod("pod"), lab.netns("believer"));
    for pod in [&liar, &pod] {
        node.add(pod, &node.inline(json!({}))).ok();
    }
    // The kernel's own way, at the same bridge.
    node.ip(&format!("link add by0 master br0 up type veth peer name eth0 netns {}", believer.name()));
    believer.ip("link set eth0 up");
    until("who believes routers to have heard of it", || {
        advertise(&liar);
        learned(&believer)
    });
    assert!(!learned(&pod), "{}", pod.ip("-6 route show"));
    assert_eq!(pod.default_gateway("-6").as_deref(), Some("fd88::1"));
}
