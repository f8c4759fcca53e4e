//! What pods may ask of a pool's VFs. Their authors are not trusted: what is not allowed here is refused.

use crate::ids::Invalid;
use crate::vf::{VlanProto, VlanTag};
use std::fmt;
use std::str::FromStr;

/// The MTU that every Ethernet link has: to ask for as much, or less, is no privilege.
const ETHERNET_MTU: u32 = 1500;

/// What may be asked for. The default allows nothing; what equals the pool's defaults may always be asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The namespaces whose pods may have a VF.
    pub namespaces: Vec<Glob>,
    /// A VF may be a pod's eth0, where it bypasses the host's filters, NetworkPolicy included.
    pub eth0: bool,
    /// Eth0 may be a VF of a bond's port, and fail while another port of the bond is the active one.
    pub allow_bond: bool,
    /// The VLANs that may be asked for.
    pub vlans: Vec<VlanRange>,
    /// The highest priority in a VLAN tag.
    pub max_qos: u8,
    /// The protocols of VLAN tags; empty: 802.1q.
    pub vlan_protocols: Vec<VlanProto>,
    /// A MAC of one's own.
    pub mac: bool,
    /// `trust: on`
    pub trust: bool,
    /// `spoofchk: off`
    pub spoofchk_off: bool,
    /// Any link state.
    pub link_state: bool,
    /// Reception of all multicast.
    pub allmulticast: bool,
    /// The highest guaranteed rate, Mbit/s.
    pub min_tx_rate: u32,
    /// The highest limit on sending, Mbit/s, and the limit where neither pod nor pool sets one. None: no limit is
    /// also fine, but a limit among the pool's defaults can only be lowered.
    pub max_tx_rate: Option<u32>,
    /// The largest MTU, bytes.
    pub max_mtu: u32,
    /// The most channels.
    pub max_queues: u32,
}

impl Policy {
    /// Whether pods of a namespace may have a VF. None, a container that is no pod's, needs `*`.
    pub fn admits(&self, namespace: Option<&str>) -> bool {
        admits(&self.namespaces, namespace)
    }

    /// Whether a tag may be asked for.
    pub fn allows_vlan(&self, tag: VlanTag) -> bool {
        let id = tag.id.map_or(0, crate::ids::VlanId::get);
        let protocols =
            if self.vlan_protocols.is_empty() { &[VlanProto::Q][..] } else { &self.vlan_protocols };
        self.vlans.iter().any(|range| range.contains(id))
            && tag.qos <= self.max_qos
            && (tag.id.is_none() || protocols.contains(&tag.proto))
    }

    /// The largest MTU that may be asked for where the pool's default is `default`.
    pub fn mtu_ceiling(&self, default: Option<u32>) -> u32 {
        self.max_mtu.max(default.unwrap_or(0)).max(ETHERNET_MTU)
    }

    /// The highest limit on sending that may be asked for, Mbit/s, where the pool's default is `default`; none:
    /// no limit too.
    pub fn rate_ceiling(&self, default: Option<u32>) -> Option<u32> {
        match (default.filter(|rate| *rate > 0), self.max_tx_rate) {
            (Some(default), Some(max)) => Some(default.max(max)),
            (default, max) => default.or(max),
        }
    }

    /// The VLANs, for messages.
    pub fn vlans_text(&self) -> String {
        if self.vlans.is_empty() {
            return "none".into();
        }
        let ranges: Vec<String> = self.vlans.iter().map(ToString::to_string).collect();
        let protocols: Vec<String> = self.vlan_protocols.iter().map(ToString::to_string).collect();
        let protocols = if protocols.is_empty() { VlanProto::Q.to_string() } else { protocols.join(", ") };
        format!("{} with qos up to {} and proto {protocols}", ranges.join(", "), self.max_qos)
    }
}

/// Whether a namespace is among these. None, of a container that is no pod's, needs `*`.
pub(super) fn admits(namespaces: &[Glob], namespace: Option<&str>) -> bool {
    namespaces.iter().any(|g| match namespace {
        Some(namespace) => g.matches(namespace),
        None => g.0 == "*",
    })
}

/// A namespace's name, in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Whether it stands for a name.
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return self.0 == name };
        let (middles, tail) = match rest.rsplit_once('*') {
            Some((middles, tail)) => (middles, tail),
            None => ("", rest),
        };
        let Some(mut name) = name.strip_prefix(head) else { return false };
        for middle in middles.split('*') {
            // The first place that fits leaves the most for what follows.
            let Some(at) = name.find(middle) else { return false };
            name = &name[at + middle.len()..];
        }
        name.ends_with(tail)
    }
}

impl FromStr for Glob {
    type Err = Invalid;
    fn from_str(s: &str) -> Result<Self, Invalid> {
        let fits = (1..=63).contains(&s.len())
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'*'));
        let why = "it has lower-case letters, digits and '-'; '*' stands for any text: team-a or team-*";
        if fits { Ok(Self(s.to_owned())) } else { Err(Invalid::new("namespace", s, why)) }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// VLANs from first to last; 0 is untagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlanRange {
    first: u16,
    last: u16,
}

impl VlanRange {
    /// Whether it has this VLAN; 0 is untagged.
    pub fn contains(&self, id: u16) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

impl FromStr for VlanRange {
    type Err = Invalid;
    /// `100` or `100-199`
    fn from_str(s: &str) -> Result<Self, Invalid> {
        let wrong =
            || Invalid::new("VLAN range", s, "it is 0 (untagged) to 4094, or a range such as 100-199");
        let number = |t: &str| t.parse::<u16>().ok().filter(|n| *n <= 4094).ok_or_else(wrong);
        let (first, last) = s.split_once('-').unwrap_or((s, s));
        let (first, last) = (number(first)?, number(last)?);
        if first <= last { Ok(Self { first, last }) } else { Err(wrong()) }
    }
}

impl fmt::Display for VlanRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}
