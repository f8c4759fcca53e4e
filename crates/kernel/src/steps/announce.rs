//! Gratuitous ARP (RFC 5227, section 3) and unsolicited neighbour advertisements (RFC 4861, section 7.2.6):
//! whoever remembers an earlier holder of the address learns the new MAC before the first packet.
//!
//! No packet socket: closing one waits for an RCU grace period, 15 ms. The kernel itself announces IPv4 addresses
//! when a link's MAC is set, to the same one too, while `arp_notify` is on (inetdev_event, net/ipv4/devinet.c);
//! IPv6 goes by a raw ICMPv6 socket.

use crate::executor::{Executor, Pod};
use crate::{Error, Result, link};
use netlink_packet_core::DefaultNla;
use netlink_packet_route::link::{AfSpecInet, AfSpecUnspec, LinkAttribute};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, setsockopt, socket,
    sockopt,
};
use offramp_core::ids::MacAddr;
use offramp_core::step::Announce;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};

/// Announces all addresses.
pub(crate) fn send(executor: &mut Executor, want: &Announce) -> Result<()> {
    let pod = executor.pod("announce")?;
    let index = link::index_in(&pod.socket, &want.link)?;
    if want.ips.iter().any(IpAddr::is_ipv4) {
        announce_v4(pod, want, index)?;
    }
    let v6 = want.ips.iter().filter_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None });
    announce_v6(pod, want, index, v6.collect())
}

fn announce_v4(pod: &mut Pod, want: &Announce, index: u32) -> Result<()> {
    const IFLA_INET_CONF: u16 = 1;
    const NESTED: u16 = 1 << 15;
    const IPV4_DEVCONF_ARP_NOTIFY: u16 = 22; // include/uapi/linux/ip.h
    let mut setting = Vec::with_capacity(8);
    setting.extend(8u16.to_ne_bytes());
    setting.extend(IPV4_DEVCONF_ARP_NOTIFY.to_ne_bytes());
    setting.extend(1u32.to_ne_bytes());
    let mut notify = link::numbered(index);
    let inet = AfSpecInet::Other(DefaultNla::new(IFLA_INET_CONF | NESTED, setting));
    notify.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![inet])]));
    let mut same_mac = link::numbered(index);
    same_mac.attributes.push(LinkAttribute::Address(want.mac.octets().to_vec()));
    pod.socket.batch(vec![
        link::set(format!("set {} arp_notify on", want.link), notify),
        link::set(format!("announce IPv4 addresses on {}", want.link), same_mac),
    ])
}

fn announce_v6(pod: &mut Pod, want: &Announce, index: u32, ips: Vec<Ipv6Addr>) -> Result<()> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    if ips.is_empty() {
        return Ok(());
    }
    let socket = pod.netns.inside(open_icmp6)?;
    let to = SockaddrIn6::from(SocketAddrV6::new(ALL_NODES, 0, 0, index));
    for ip in ips {
        sendto(socket.as_raw_fd(), &advertisement(want.mac, ip), &to, MsgFlags::empty())
            .map_err(|e| Error::sys(format!("announce {ip} on {}", want.link), e))?;
    }
    Ok(())
}

fn open_icmp6() -> Result<OwnedFd> {
    let failed = |e| Error::sys("open an ICMPv6 socket", e);
    let socket = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6)
        .map_err(failed)?;
    // Receivers believe only what no router has forwarded.
    setsockopt(&socket, sockopt::Ipv6MulticastHops, &255).map_err(failed)?;
    Ok(socket)
}

/// The message; the kernel sets its checksum.
fn advertisement(mac: MacAddr, ip: Ipv6Addr) -> Vec<u8> {
    let mut icmp = vec![136, 0, 0, 0, 0x20, 0, 0, 0]; // neighbour advertisement, override
    icmp.extend(ip.octets());
    icmp.extend([2, 1]); // target link-layer address
    icmp.extend(mac.octets());
    icmp
}
