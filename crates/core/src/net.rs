//! Helpers over `IpNetwork` that keep v4 and v6 on one path.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4
    #[serde(rename = "ipv4")]
    V4,
    /// IPv6
    #[serde(rename = "ipv6")]
    V6,
}

impl Family {
    /// Both, in the order that results list them.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The version of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The prefix length of one address: 32 or 128.
    pub fn host_prefix(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The default route: `0.0.0.0/0` or `::/0`.
    pub fn default_route(self) -> IpNetwork {
        match self {
            Self::V4 => IpNetwork::from(IpAddr::from(Ipv4Addr::UNSPECIFIED)).with_prefix(0),
            Self::V6 => IpNetwork::from(IpAddr::from(Ipv6Addr::UNSPECIFIED)).with_prefix(0),
        }
    }

    /// What VXLAN adds to a packet when this family carries it: outer IP + UDP 8 + VXLAN 8 + inner Ethernet 14
    /// (RFC 7348): 50 bytes over IPv4, 70 over IPv6.
    pub fn vxlan_overhead(self) -> u32 {
        match self {
            Self::V4 => 20 + 8 + 8 + 14,
            Self::V6 => 40 + 8 + 8 + 14,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An address as a number; both families fit.
pub fn to_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

/// The address with number `bits` in `family`; the upper bits are dropped for IPv4.
pub fn from_bits(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

/// `net` with its host bits cleared.
pub fn network_of(net: IpNetwork) -> IpNetwork {
    IpNetwork::from(net.network()).with_prefix(net.prefix())
}

/// Whether the two networks share an address.
pub fn overlaps(a: IpNetwork, b: IpNetwork) -> bool {
    a.is_ipv4() == b.is_ipv4() && (a.contains(b.network()) || b.contains(a.network()))
}

/// The fewest networks that hold the same addresses, in order. A cluster's thousands of podCIDRs are cut from a few
/// networks, and these are what is left of them.
pub fn aggregate(nets: impl IntoIterator<Item = IpNetwork>) -> Vec<IpNetwork> {
    let mut all: Vec<IpNetwork> = nets.into_iter().map(network_of).collect();
    all.sort_unstable();
    let mut fewest: Vec<IpNetwork> = Vec::new();
    // In their order a network comes right before those inside of it.
    for net in all {
        if fewest.last().is_some_and(|wider| wider.contains(net.ip())) {
            continue;
        }
        fewest.push(net);
        while let [.., a, b] = fewest[..]
            && let Some(whole) = whole(a, b)
        {
            fewest.truncate(fewest.len() - 2);
            fewest.push(whole);
        }
    }
    fewest
}

/// The network of which these two are the halves.
fn whole(a: IpNetwork, b: IpNetwork) -> Option<IpNetwork> {
    let whole = a.with_prefix(a.prefix().checked_sub(1)?);
    (a.prefix() == b.prefix() && whole.network() == a.ip() && whole.contains(b.ip())).then_some(whole)
}

/// Changes the prefix length of a network known to fit.
pub trait WithPrefix {
    /// The same address with another prefix length; a length that is too long becomes the host prefix.
    fn with_prefix(self, prefix: u8) -> Self;
}

impl WithPrefix for IpNetwork {
    fn with_prefix(self, prefix: u8) -> Self {
        IpNetwork::new(self.ip(), prefix).unwrap_or_else(|_| IpNetwork::from(self.ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aggregate_holds_the_same_addresses() {
        let nets = |list: &[&str]| list.iter().map(|n| n.parse().unwrap()).collect::<Vec<IpNetwork>>();
        let fewest = |list: &[&str]| aggregate(nets(list));
        assert_eq!(fewest(&["10.0.1.7/24", "10.0.0.0/24", "10.0.0.64/26"]), nets(&["10.0.0.0/23"]));
        // Neighbours that are no halves of one network, and a hole.
        let apart = ["10.0.1.0/24", "10.0.2.0/24", "10.0.8.0/22", "fd00::/64", "fd00:0:0:2::/64"];
        assert_eq!(fewest(&apart), nets(&apart));
        assert_eq!(fewest(&["0.0.0.0/1", "128.0.0.0/1", "::/0"]), nets(&["0.0.0.0/0", "::/0"]));
        let cluster =
            (0..4096u32).map(|n| format!("10.{}.{}.0/24", 240 + (n >> 8), n & 255).parse().unwrap());
        assert_eq!(aggregate(cluster), nets(&["10.240.0.0/12"]));
    }

    #[test]
    fn one_path_for_both_families() {
        for (net, default, overhead) in [("10.1.2.3/24", "0.0.0.0/0", 50), ("fd00::5/64", "::/0", 70)] {
            let net: IpNetwork = net.parse().unwrap();
            let family = Family::of(net.ip());
            assert_eq!(family.default_route(), default.parse().unwrap());
            assert_eq!(family.vxlan_overhead(), overhead);
            assert_eq!(from_bits(family, to_bits(net.ip())), net.ip());
            assert!(network_of(net).contains(net.ip()) && network_of(net) != net);
            assert!(
                overlaps(net, IpNetwork::from(net.ip()))
                    && !overlaps(net, family.default_route().with_prefix(32))
            );
        }
    }
}
