//! The attributes of VFs, by hand: netlink-packet-route reads them, but for most cannot write them
//! (struct ifla_vf_*, include/uapi/linux/if_link.h). All begin with the VF's number.

use crate::link::attributes;
use crate::message::{Message, RTM_GETLINK, RTM_SETLINK, word};
use offramp_core::ids::{MacAddr, VlanId};
use offramp_core::vf::{LinkState, PfSide, VlanProto, VlanTag};

const IFLA_VFINFO_LIST: u16 = 22;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_VF: u32 = 1 << 0;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFLA_VF_INFO: u16 = 1;
const IFLA_VF_MAC: u16 = 1;
const IFLA_VF_SPOOFCHK: u16 = 4;
const IFLA_VF_LINK_STATE: u16 = 5;
const IFLA_VF_RATE: u16 = 6;
const IFLA_VF_TRUST: u16 = 9;
const IFLA_VF_VLAN_LIST: u16 = 12;
const IFLA_VF_VLAN_INFO: u16 = 1;
const NESTED: u16 = 1 << 15;
/// MAX_ADDR_LEN
const MAC_FIELD: usize = 32;

/// One setting of a VF by its PF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// None: all zero.
    Mac(Option<MacAddr>),
    Vlan(VlanTag),
    Spoofchk(bool),
    Link(LinkState),
    /// Mbit/s; the kernel takes both at once.
    Rate {
        min: u32,
        max: u32,
    },
    Trust(bool),
}

impl std::fmt::Display for Setting {
    /// As `ip link set PF vf N` has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let on = |on: &bool| if *on { "on" } else { "off" };
        match self {
            Self::Mac(Some(mac)) => write!(f, "mac {mac}"),
            Self::Mac(None) => f.write_str("mac 00:00:00:00:00:00"),
            Self::Vlan(tag) => write!(f, "{tag}"),
            Self::Spoofchk(check) => write!(f, "spoofchk {}", on(check)),
            Self::Link(state) => write!(f, "state {state}"),
            Self::Rate { min: 0, max } => write!(f, "max_tx_rate {max}"),
            Self::Rate { min, max } => write!(f, "min_tx_rate {min} max_tx_rate {max}"),
            Self::Trust(trust) => write!(f, "trust {}", on(trust)),
        }
    }
}

/// Sets one setting: one a request, so that the driver's refusal tells which it means.
pub(crate) fn set(pf: u32, vf: u16, setting: Setting) -> Message {
    let value = |kind: u16, words: &[u32]| {
        let words = std::iter::once(u32::from(vf)).chain(words.iter().copied());
        attribute(kind, &words.flat_map(u32::to_ne_bytes).collect::<Vec<u8>>())
    };
    let body = match setting {
        Setting::Mac(mac) => {
            let mut field = u32::from(vf).to_ne_bytes().to_vec();
            field.extend(mac.map_or([0; 6], |m| m.octets()));
            field.resize(4 + MAC_FIELD, 0);
            attribute(IFLA_VF_MAC, &field)
        }
        Setting::Vlan(tag) => {
            // In network byte order, then padding.
            let [a, b] = tag.proto.ethertype().to_be_bytes();
            let proto = u32::from_ne_bytes([a, b, 0, 0]);
            let info = value(IFLA_VF_VLAN_INFO, &[vlan_number(tag), u32::from(tag.qos), proto]);
            attribute(IFLA_VF_VLAN_LIST | NESTED, &info)
        }
        Setting::Spoofchk(on) => value(IFLA_VF_SPOOFCHK, &[u32::from(on)]),
        Setting::Link(state) => value(IFLA_VF_LINK_STATE, &[state.number()]),
        Setting::Rate { min, max } => value(IFLA_VF_RATE, &[min, max]),
        Setting::Trust(on) => value(IFLA_VF_TRUST, &[u32::from(on)]),
    };
    let info = attribute(IFLA_VF_INFO | NESTED, &body);
    message(RTM_SETLINK, pf, &attribute(IFLA_VFINFO_LIST | NESTED, &info))
}

fn vlan_number(tag: VlanTag) -> u32 {
    tag.id.map_or(0, |id| u32::from(VlanId::get(id)))
}

/// Asks for a PF with its VFs.
pub(crate) fn get(pf: u32) -> Message {
    let mask = RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS;
    message(RTM_GETLINK, pf, &attribute(IFLA_EXT_MASK, &mask.to_ne_bytes()))
}

fn message(kind: u16, index: u32, attributes: &[u8]) -> Message {
    // struct ifinfomsg
    let mut body = vec![0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body.extend(attributes);
    Message { kind, body }
}

/// struct nlattr and its value, padded.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What the answer to [`get`] says of one VF; none: the PF has no such VF.
pub(crate) fn read(link: &Message, vf: u16) -> Option<PfSide> {
    attributes(link.body.get(16..)?)
        .filter(|nla| nla.kind() == IFLA_VFINFO_LIST)
        .find_map(|list| attributes(list.value()).find_map(|info| read_info(info.value(), vf)))
}

fn read_info(info: &[u8], vf: u16) -> Option<PfSide> {
    let mut side = PfSide::default();
    for nla in attributes(info) {
        let value = nla.value();
        let number = |at: usize| word(value, at);
        // A driver that does not tell leaves -1 (rtnl_fill_vfinfo, net/core/rtnetlink.c).
        let flag = || number(4).filter(|n| *n <= 1).map(|n| n == 1);
        match nla.kind() {
            IFLA_VF_MAC if number(0)? != u32::from(vf) => return None,
            IFLA_VF_MAC => {
                side.mac = value.get(4..10).and_then(|m| <[u8; 6]>::try_from(m).ok()?.try_into().ok());
            }
            IFLA_VF_SPOOFCHK => side.spoofchk = flag(),
            IFLA_VF_TRUST => side.trust = flag(),
            IFLA_VF_LINK_STATE => side.link_state = link_state(number(4)),
            IFLA_VF_RATE => (side.min_tx_rate, side.max_tx_rate) = (number(4), number(8)),
            IFLA_VF_VLAN_LIST => side.vlan = attributes(value).next().and_then(|v| read_vlan(v.value())),
            _ => {}
        }
    }
    Some(side)
}

fn link_state(number: Option<u32>) -> Option<LinkState> {
    [LinkState::Auto, LinkState::Enable, LinkState::Disable].into_iter().find(|s| Some(s.number()) == number)
}

fn read_vlan(info: &[u8]) -> Option<VlanTag> {
    let proto = u16::from_be_bytes(info.get(12..14)?.try_into().ok()?);
    let proto = [VlanProto::Q, VlanProto::Ad].into_iter().find(|p| p.ethertype() == proto);
    Some(VlanTag {
        id: VlanId::try_from(u64::from(word(info, 4)?)).ok(),
        qos: u8::try_from(word(info, 8)?).ok()?,
        proto: proto.unwrap_or_default(),
    })
}

#[cfg(test)]
#[path = "attribute_tests.rs"]
mod tests;
