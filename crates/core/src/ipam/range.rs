//! A range of addresses of one subnet, with host-local's defaults.

use crate::net::{Family, from_bits, overlaps, to_bits};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Addresses from `start` to `end`, both included, without the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The subnet; host bits are zero.
    pub subnet: IpNetwork,
    /// First address.
    pub start: IpAddr,
    /// Last address.
    pub end: IpAddr,
    /// The gateway: never given out.
    pub gateway: IpAddr,
}

/// Why a range is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Host bits are set.
    #[error("subnet {0} has host bits set; its network is {1}")]
    HostBits(IpNetwork, IpNetwork),
    /// Less than two usable addresses.
    #[error("subnet {0} is too small: it has no room for a gateway and a pod")]
    TooSmall(IpNetwork),
    /// An address outside of the subnet.
    #[error("{0} {1} is not in subnet {2}")]
    Outside(&'static str, IpAddr, IpNetwork),
    /// First behind last.
    #[error("rangeStart {0} is behind rangeEnd {1}")]
    Reversed(IpAddr, IpAddr),
    /// Two ranges share addresses.
    #[error("ranges {} and {} overlap", .0[0], .0[1])]
    Overlap(Box<[Range; 2]>),
    /// One set has both families.
    #[error("{} and {} are in one range set, but of different IP versions", .0[0], .0[1])]
    Mixed(Box<[Range; 2]>),
}

impl Range {
    /// A range with host-local's defaults: from the first usable address to the last (for IPv4 without the
    /// broadcast address), the gateway the first one.
    pub fn new(
        subnet: IpNetwork,
        start: Option<IpAddr>,
        end: Option<IpAddr>,
        gateway: Option<IpAddr>,
    ) -> Result<Self, RangeError> {
        let network = crate::net::network_of(subnet);
        if network != subnet {
            return Err(RangeError::HostBits(subnet, network));
        }
        let family = Family::of(subnet.ip());
        let host_bits = family.host_prefix() - subnet.prefix();
        if host_bits < 2 {
            return Err(RangeError::TooSmall(subnet));
        }
        let first = to_bits(subnet.ip());
        let size_less_one = if host_bits >= 128 { u128::MAX } else { (1 << host_bits) - 1 };
        let last = first + size_less_one - u128::from(family == Family::V4);
        let pick = |what, given: Option<IpAddr>, default: u128| match given {
            Some(ip) if !subnet.contains(ip) => Err(RangeError::Outside(what, ip, subnet)),
            Some(ip) => Ok(ip),
            None => Ok(from_bits(family, default)),
        };
        let range = Self {
            subnet,
            start: pick("rangeStart", start, first + 1)?,
            end: pick("rangeEnd", end, last)?,
            gateway: pick("gateway", gateway, first + 1)?,
        };
        if to_bits(range.start) > to_bits(range.end) {
            return Err(RangeError::Reversed(range.start, range.end));
        }
        Ok(range)
    }

    /// Whether `ip` may be given out from here.
    pub fn offers(&self, ip: IpAddr) -> bool {
        ip != self.gateway
            && self.subnet.contains(ip)
            && (to_bits(self.start)..=to_bits(self.end)).contains(&to_bits(ip))
    }

    /// How many addresses it can give out.
    pub fn capacity(&self) -> u128 {
        let size = (to_bits(self.end) - to_bits(self.start)).saturating_add(1);
        let gateway_inside = (to_bits(self.start)..=to_bits(self.end)).contains(&to_bits(self.gateway));
        size - u128::from(gateway_inside)
    }

    /// `ip` with the subnet's prefix length.
    pub fn with_prefix(&self, ip: IpAddr) -> IpNetwork {
        crate::net::WithPrefix::with_prefix(IpNetwork::from(ip), self.subnet.prefix())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{} of {}", self.start, self.end, self.subnet)
    }
}

/// Ranges of one set must be of one family, and no two ranges of any sets may share an address.
pub fn check_disjoint(sets: &[Vec<Range>]) -> Result<(), RangeError> {
    for set in sets {
        if let Some(other) = set.iter().find(|r| r.subnet.is_ipv4() != set[0].subnet.is_ipv4()) {
            return Err(RangeError::Mixed(Box::new([set[0], *other])));
        }
    }
    let all: Vec<&Range> = sets.iter().flatten().collect();
    for (i, a) in all.iter().enumerate() {
        for b in &all[i + 1..] {
            let apart = to_bits(a.end) < to_bits(b.start) || to_bits(b.end) < to_bits(a.start);
            if overlaps(a.subnet, b.subnet) && !apart {
                return Err(RangeError::Overlap(Box::new([**a, **b])));
            }
        }
    }
    Ok(())
}
