//! UDP flows that go where a port led before.
//!
//! NAT is decided by the first packet of a flow; what follows goes the same way as long as the flow is remembered, which for
//! a busy UDP client is for ever. So a port that is new must make the kernel forget what went elsewhere, and one that is gone
//! what went to the pod: its address may be another's soon. (TCP ends by itself: who is not the peer answers by a reset.)

use super::NftError;
use super::nfnetlink::{ACK, DUMP, REQUEST, attribute, encode, exchange, nest, open, request};
use netlink_sys::Socket;
use nix::errno::Errno;
use nix::libc::{AF_INET, AF_INET6, IPPROTO_UDP};
use offramp_core::firewall::{HostPortRule, Rules};
use offramp_core::spec::Protocol;
use std::net::IpAddr;

// linux/netfilter/nfnetlink_conntrack.h, with the subsystem in the upper byte.
const CT_GET: u16 = 0x0101;
const CT_DELETE: u16 = 0x0102;
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const FILTER_ORIG_FLAGS: u16 = 1;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const PROTO_NUM: u16 = 1;
const PROTO_DST_PORT: u16 = 3;
/// `CTA_FILTER_F_CTA_PROTO_NUM | CTA_FILTER_F_CTA_PROTO_DST_PORT` (net/netfilter/nf_internals.h).
const BY_PROTOCOL_AND_PORT: u32 = 1 << 3 | 1 << 5;

/// Which flows through a port are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forget {
    /// Those that do not lead to the pod.
    Elsewhere,
    /// Those that lead to the pod.
    ToPod,
}

/// Forgets UDP flows through the ports of `rules`. Without UDP ports it does nothing.
pub(super) fn forget(rules: &Rules, which: Forget) -> Result<(), NftError> {
    let mut ports = rules.host_ports.iter().filter(|r| r.protocol == Protocol::Udp).peekable();
    if ports.peek().is_none() {
        return Ok(());
    }
    let socket = open().map_err(NftError::io("open a conntrack socket"))?;
    ports.try_for_each(|rule| forget_port(&socket, rule, which))
}

fn forget_port(socket: &Socket, rule: &HostPortRule, which: Forget) -> Result<(), NftError> {
    let doing = format!("forget UDP flows to port {} of the node", rule.host_port);
    let flows = match exchange(socket, &dump(rule)) {
        Ok(flows) => flows,
        // nfnetlink's answer where the kernel has no ctnetlink.
        Err(e) if e.raw_os_error() == Some(Errno::EINVAL as i32) => return Ok(()),
        Err(e) => return Err(NftError::io(doing)(e)),
    };
    for flow in flows.iter().filter_map(|m| m.get(20..)).filter(|f| is_meant(f, rule, which)) {
        match exchange(socket, &delete(flow, rule)) {
            Err(e) if e.raw_os_error() != Some(Errno::ENOENT as i32) => return Err(NftError::io(doing)(e)),
            _ => {}
        }
    }
    Ok(())
}

fn family(rule: &HostPortRule) -> u8 {
    let family = if rule.to.is_ipv4() { AF_INET } else { AF_INET6 };
    family as u8
}

/// Asks for the flows to the port. Kernels before 5.8 do not know the filter and tell of all.
fn dump(rule: &HostPortRule) -> Vec<u8> {
    let protocol =
        [encode(PROTO_NUM, &[IPPROTO_UDP as u8]), encode(PROTO_DST_PORT, &rule.host_port.to_be_bytes())];
    let tuple = nest(TUPLE_ORIG, &[nest(TUPLE_PROTO, &protocol)]);
    let filter = nest(FILTER, &[encode(FILTER_ORIG_FLAGS, &BY_PROTOCOL_AND_PORT.to_ne_bytes())]);
    request(CT_GET, REQUEST | DUMP, family(rule), &[tuple, filter])
}

/// The original direction names a flow, and its ID makes sure that it is not a new one in the same place.
fn delete(flow: &[u8], rule: &HostPortRule) -> Vec<u8> {
    let same = [TUPLE_ORIG, ID, ZONE].into_iter().filter_map(|kind| {
        Some(match kind {
            TUPLE_ORIG => nest(kind, &[attribute(flow, kind)?.to_vec()]),
            _ => encode(kind, attribute(flow, kind)?),
        })
    });
    request(CT_DELETE, REQUEST | ACK, family(rule), &same.collect::<Vec<_>>())
}

/// Whether a flow came to the port and led elsewhere, or to the pod.
fn is_meant(flow: &[u8], rule: &HostPortRule, which: Forget) -> bool {
    let Some((to, protocol, port)) = attribute(flow, TUPLE_ORIG).and_then(|t| end(t, Side::Destination))
    else {
        return false;
    };
    let Some((pod, ..)) = attribute(flow, TUPLE_REPLY).and_then(|t| end(t, Side::Source)) else {
        return false;
    };
    let to_port = protocol == IPPROTO_UDP as u8 && port == rule.host_port;
    let at_address = rule.host_ip.is_none_or(|ip| ip == to);
    let to_pod = pod == rule.to;
    to_port && at_address && to_pod == (which == Forget::ToPod)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// The address at one side of a tuple; its protocol; its destination port.
fn end(tuple: &[u8], side: Side) -> Option<(IpAddr, u8, u16)> {
    let addresses = attribute(tuple, TUPLE_IP)?;
    // CTA_IP_V4_SRC 1, V4_DST 2, V6_SRC 3, V6_DST 4
    let (v4, v6) = if side == Side::Source { (1, 3) } else { (2, 4) };
    let v4 = attribute(addresses, v4).and_then(|a| Some(IpAddr::from(*a.first_chunk::<4>()?)));
    let ip = v4.or_else(|| Some(IpAddr::from(*attribute(addresses, v6)?.first_chunk::<16>()?)))?;
    let protocol = attribute(tuple, TUPLE_PROTO)?;
    let port = u16::from_be_bytes(*attribute(protocol, PROTO_DST_PORT)?.first_chunk()?);
    Some((ip, *attribute(protocol, PROTO_NUM)?.first()?, port))
}
