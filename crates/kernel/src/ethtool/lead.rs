//! What a flow rule leads, as `ethtool_rx_flow_spec` has it (include/uapi/linux/ethtool.h).

use offramp_core::steer::{Lead, Packets};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// `ETH_RX_NFC_IP4`, in the byte of `ethtool_usrip4_spec` behind the type of service.
const IP4: [u8; 4] = [0, 1, 0, 0];
/// The word that has that byte.
const IP_VERSION: usize = 3;

/// How a rule tells what it leads: the type of flow, and of its headers, in words of 32 bits, what counts.
pub(super) struct Match {
    pub flow_type: u32,
    pub values: [u32; 13],
    pub masks: [u32; 13],
}

/// `TCP_V4_FLOW` and so on.
fn flow_type(lead: Lead) -> u32 {
    match (lead.ip, lead.packets) {
        (IpAddr::V4(_), Packets::Tcp) => 0x01,
        (IpAddr::V4(_), Packets::Udp) => 0x02,
        (IpAddr::V4(_), Packets::Rest) => 0x0d,
        (IpAddr::V6(_), Packets::Tcp) => 0x05,
        (IpAddr::V6(_), Packets::Udp) => 0x06,
        (IpAddr::V6(_), Packets::Rest) => 0x0e,
    }
}

/// Where the address is to which packets go, behind the one from which they come.
fn destination(ip: IpAddr) -> Range<usize> {
    match ip {
        IpAddr::V4(_) => 1..2,
        IpAddr::V6(_) => 4..8,
    }
}

/// In network order.
fn words(ip: IpAddr) -> Vec<u32> {
    let word = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map_or(0, u32::from_ne_bytes);
    match ip {
        IpAddr::V4(ip) => ip.octets().chunks(4).map(word).collect(),
        IpAddr::V6(ip) => ip.octets().chunks(4).map(word).collect(),
    }
}

impl Match {
    pub(super) fn of(lead: Lead) -> Self {
        let (mut values, mut masks) = ([0; 13], [0; 13]);
        let at = destination(lead.ip);
        values[at.clone()].copy_from_slice(&words(lead.ip));
        masks[at].fill(u32::MAX);
        if lead.packets == Packets::Rest && lead.ip.is_ipv4() {
            values[IP_VERSION] = u32::from_ne_bytes(IP4);
        }
        Self { flow_type: flow_type(lead), values, masks }
    }

    /// What a rule leads, if that is all of one kind to one address. What is masked out has no meaning.
    pub(super) fn lead(kind: u32, values: &[u32], masks: &[u32]) -> Option<Lead> {
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let all = any.into_iter().flat_map(|ip| Packets::ALL.map(|packets| Lead { ip, packets }));
        let form = all.into_iter().find(|lead| flow_type(*lead) == kind)?;
        let at = destination(form.ip);
        let expected = Self::of(form).masks;
        let same =
            masks.get(..expected.len())? == expected && masks[expected.len()..].iter().all(|m| *m == 0);
        let octets: Vec<u8> = values.get(at)?.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let ip = match form.ip {
            IpAddr::V4(_) => <[u8; 4]>::try_from(octets).ok()?.into(),
            IpAddr::V6(_) => <[u8; 16]>::try_from(octets).ok()?.into(),
        };
        same.then_some(Lead { ip, ..form })
    }
}
