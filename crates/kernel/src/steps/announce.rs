//! Gratuitous ARP (RFC 5227, section 3) and unsolicited neighbour advertisements (RFC 4861, section 7.2.6):
//! whoever remembers an earlier holder of the address learns the new MAC before the first packet.

use crate::executor::Executor;
use crate::{Error, Result, link};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use offramp_core::ids::MacAddr;
use offramp_core::step::Announce;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

/// Sends one announcement an address.
pub(crate) fn send(executor: &mut Executor, want: &Announce) -> Result<()> {
    let pod = executor.pod("announce")?;
    let index = link::require(&mut pod.socket, &want.link)?.index;
    let open = || {
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
            .map_err(|e| Error::sys("open a packet socket", e))
    };
    let fd = pod.netns.inside(open)?;
    for ip in &want.ips {
        let frame = match ip {
            IpAddr::V4(ip) => gratuitous_arp(want.mac, *ip),
            IpAddr::V6(ip) => neighbour_advertisement(want.mac, *ip),
        };
        transmit(&fd, index, &frame).map_err(|e| Error::sys(format!("announce {ip} on {}", want.link), e))?;
    }
    Ok(())
}

fn transmit(fd: &OwnedFd, index: u32, frame: &[u8]) -> nix::Result<()> {
    // SAFETY: sockaddr_ll is plain data, for which all zero is valid.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = index as i32;
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `frame` and `to` live through the call, and their lengths are theirs.
    let sent = unsafe {
        libc::sendto(fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, (&raw const to).cast(), size)
    };
    Errno::result(sent).map(drop)
}

const BROADCAST: [u8; 6] = [0xff; 6];

fn gratuitous_arp(mac: MacAddr, ip: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]); // Ethernet, IPv4, request
    frame.extend(mac.octets());
    frame.extend(ip.octets());
    frame.extend([0; 6]);
    frame.extend(ip.octets());
    frame
}

fn neighbour_advertisement(mac: MacAddr, ip: Ipv6Addr) -> Vec<u8> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut icmp = vec![136, 0, 0, 0, 0x20, 0, 0, 0]; // advertisement, override
    icmp.extend(ip.octets());
    icmp.extend([2, 1]); // target link-layer address
    icmp.extend(mac.octets());
    let sum = checksum(ip, ALL_NODES, &icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet([0x33, 0x33, 0, 0, 0, 1], mac, 0x86dd);
    frame.extend([0x60, 0, 0, 0, 0, icmp.len() as u8, 58, 255]); // hop limit 255, or it is not believed
    frame.extend(ip.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(icmp);
    frame
}

fn ethernet(to: [u8; 6], from: MacAddr, kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(to);
    frame.extend(from.octets());
    frame.extend(kind.to_be_bytes());
    frame
}

/// RFC 1071 over the pseudo header of RFC 8200, section 8.1, and the message.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, icmp: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum()
    };
    let mut sum = words(&from.octets()) + words(&to.octets()) + words(icmp) + icmp.len() as u32 + 58;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_rfcs() {
        let mac: MacAddr = "02:00:00:00:00:01".parse().unwrap();
        let arp = gratuitous_arp(mac, Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!((arp.len(), &arp[28..32], &arp[38..42]), (42, &[10, 0, 0, 2][..], &[10, 0, 0, 2][..]));
        let na = neighbour_advertisement(mac, "fd00::2".parse().unwrap());
        assert_eq!(na.len(), 14 + 40 + 32);
        // A right checksum sums to zero with itself.
        assert_eq!(checksum("fd00::2".parse().unwrap(), "ff02::1".parse().unwrap(), &na[54..]), 0);
    }
}
