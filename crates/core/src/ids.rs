//! Names and numbers as types that cannot hold a wrong value: parsed once, at the edge.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A value that is not what its type allows; says what was read and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {why}")]
pub struct Invalid {
    what: &'static str,
    value: String,
    why: &'static str,
}

impl Invalid {
    /// `what` names the kind of value; `value` is cut to 64 characters, since it may be anybody's.
    pub fn new(what: &'static str, value: &str, why: &'static str) -> Self {
        Self { what, value: value.chars().take(64).collect(), why }
    }
}

/// Gives a string newtype its conversions; `$check` returns why a value is wrong.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(value: String) -> Result<Self, Invalid> {
                match $check(value.as_str()) {
                    None => Ok(Self(value)),
                    Some(why) => Err(Invalid::new($what, &value, why)),
                }
            }
        }
        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(s: &str) -> Result<Self, Invalid> {
                Self::try_from(s.to_owned())
            }
        }
        impl From<$name> for String {
            fn from(n: $name) -> String {
                n.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// The alphabet of container IDs and network names (CNI spec 1.1.0, "Parameters" and "Configuration format").
fn cni_name(s: &str) -> Option<&'static str> {
    const WHY: &str = "it must start with a letter or digit and hold only letters, digits, '_', '.', '-'";
    let mut bytes = s.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !(first && rest) {
        return Some(WHY);
    }
    // A record's file name holds the container ID, '@' and the interface name: NAME_MAX is 255 bytes.
    (s.len() > 200).then_some("it is longer than 200 bytes")
}

/// The kernel's `dev_valid_name` (net/core/dev.c), which is also the CNI spec's rule.
fn if_name(s: &str) -> Option<&'static str> {
    if s.is_empty() || s.len() > 15 {
        return Some("an interface name has 1 to 15 bytes");
    }
    if s == "." || s == ".." {
        return Some("'.' and '..' are not interface names");
    }
    if s.bytes().any(|b| b == b'/' || b == b':' || b == 0 || b.is_ascii_whitespace() || b == 0x0b) {
        return Some("an interface name has no '/', ':' or white space");
    }
    s.chars().any(|c| c.is_control() || c.is_whitespace()).then_some("it holds a control character")
}

/// A DNS-1123 label.
fn is_label(l: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    l.bytes().all(|b| alnum(b) || b == b'-')
        && l.bytes().next().is_some_and(alnum)
        && l.bytes().last().is_some_and(alnum)
}

/// A Kubernetes node name: a DNS-1123 subdomain, which is what kubelet makes of the hostname.
fn node_name(s: &str) -> Option<&'static str> {
    let fits = s.len() <= 253 && s.split('.').all(is_label);
    (!fits).then_some(
        "a node name has at most 253 characters: parts of lower-case letters, digits and '-' between dots",
    )
}

/// The name of most Kubernetes objects: a DNS-1123 subdomain.
fn object_name(s: &str) -> Option<&'static str> {
    let fits = s.len() <= 253 && s.split('.').all(is_label);
    (!fits).then_some("it has 1 to 253 characters: parts of lower-case letters, digits and '-' between dots")
}

/// A Kubernetes namespace: a DNS-1123 label.
fn namespace(s: &str) -> Option<&'static str> {
    let fits = s.len() <= 63 && is_label(s);
    (!fits).then_some("a namespace has 1 to 63 lower-case letters, digits and '-', no '-' first or last")
}

/// The name part of a Kubernetes qualified name: pools become the names of extended resources.
fn pool_name(s: &str) -> Option<&'static str> {
    let alnum = |b: u8| b.is_ascii_alphanumeric();
    let fits = (1..=63).contains(&s.len())
        && s.bytes().all(|b| alnum(b) || matches!(b, b'_' | b'.' | b'-'))
        && s.bytes().next().is_some_and(alnum)
        && s.bytes().last().is_some_and(alnum);
    (!fits)
        .then_some("a pool name has 1 to 63 letters, digits, '-', '_', '.', a letter or digit first and last")
}

/// A Kubernetes extended resource: `DOMAIN/NAME` (k8s.io/kubernetes, `IsExtendedResourceName`).
fn resource_name(s: &str) -> Option<&'static str> {
    const WHY: &str = "a resource is DOMAIN/NAME, such as offramp.dev/fast, and not of kubernetes.io";
    let Some((domain, name)) = s.split_once('/') else { return Some(WHY) };
    let own =
        domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io") && !domain.starts_with("requests.");
    (!own || node_name(domain).is_some() || pool_name(name).is_some()).then_some(WHY)
}

name_type!(
    /// A container's ID, as the runtime names the sandbox.
    ContainerId, "container ID", cni_name
);
name_type!(
    /// The `name` of a network configuration.
    NetworkName, "network name", cni_name
);
name_type!(
    /// The name of a node.
    NodeName, "node name", node_name
);
name_type!(
    /// The name of a pool of VFs.
    PoolName, "pool name", pool_name
);
name_type!(
    /// The name of a Kubernetes object.
    ObjectName, "object name", object_name
);
name_type!(
    /// A Kubernetes namespace.
    Namespace, "namespace", namespace
);
name_type!(
    /// A resource that containers request.
    ResourceName, "resource", resource_name
);
name_type!(
    /// The name of a network interface.
    IfName, "interface name", if_name
);

impl ContainerId {
    /// A stable 64-bit hash (FNV-1a): names of lock files derive from it.
    pub fn hash64(&self) -> u64 {
        fnv1a(self.0.bytes())
    }
}

/// One interface of one container: the unit that is attached and detached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachmentId {
    /// The sandbox.
    pub container: ContainerId,
    /// The interface's name inside it.
    pub ifname: IfName,
}

impl AttachmentId {
    /// A stable 64-bit hash (FNV-1a): names of host interfaces derive from it.
    pub fn hash64(&self) -> u64 {
        fnv1a(self.container.as_str().bytes().chain([0]).chain(self.ifname.as_str().bytes()))
    }
}

/// A hash that is the same on every node and in every version: FNV-1a, 64 bits.
pub(crate) fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.container, self.ifname)
    }
}

impl FromStr for AttachmentId {
    type Err = Invalid;
    /// The form of `Display`: `CONTAINER@IFNAME`.
    fn from_str(s: &str) -> Result<Self, Invalid> {
        let (container, ifname) = s
            .split_once('@')
            .ok_or_else(|| Invalid::new("attachment", s, "it has the form CONTAINER@IFNAME"))?;
        Ok(Self { container: container.parse()?, ifname: ifname.parse()? })
    }
}

/// A unicast Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// A locally administered unicast address with 46 bits of `seed`.
    pub fn local(seed: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = seed.to_be_bytes();
        Self([(a & 0xfc) | 0x02, b, c, d, e, f])
    }

    /// One that is always the same for a name.
    pub fn of_name(name: &str) -> Self {
        Self::local(fnv1a(name.bytes()))
    }

    /// A pod's, where nobody asked for one: always the same for its address, so that whoever remembers an earlier pod
    /// of this address still finds the present one, and need not be told. IPv4: `0a:58` and its four bytes, in which
    /// the address can be read; IPv6: a hash.
    pub fn of_ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                Self([0x0a, 0x58, a, b, c, d])
            }
            IpAddr::V6(ip) => Self::local(fnv1a(ip.octets().into_iter())),
        }
    }

    /// The six bytes, first on the wire first.
    pub fn octets(&self) -> [u8; 6] {
        self.0
    }

    /// The IPv6 link-local address that the kernel would derive (RFC 4291, appendix A).
    pub fn link_local(&self) -> std::net::Ipv6Addr {
        let [a, b, c, d, e, f] = self.0.map(u16::from);
        std::net::Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            ((a ^ 2) << 8) | b,
            (c << 8) | 0xff,
            0xfe00 | d,
            (e << 8) | f,
        )
    }
}

impl TryFrom<[u8; 6]> for MacAddr {
    type Error = Invalid;
    fn try_from(octets: [u8; 6]) -> Result<Self, Invalid> {
        let mac = Self(octets);
        if octets == [0; 6] {
            return Err(Invalid::new("MAC address", &mac.to_string(), "it is all zero"));
        }
        if octets[0] & 1 == 1 {
            return Err(Invalid::new("MAC address", &mac.to_string(), "it is a multicast address"));
        }
        Ok(mac)
    }
}

impl FromStr for MacAddr {
    type Err = Invalid;
    fn from_str(s: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("MAC address", s, "it has the form 02:00:5e:10:00:01");
        let sep = if s.contains('-') { '-' } else { ':' };
        let mut octets = [0; 6];
        let mut parts = s.split(sep);
        for octet in &mut octets {
            let part = parts
                .next()
                .filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
                .ok_or_else(wrong)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        octets.try_into()
    }
}

impl TryFrom<String> for MacAddr {
    type Error = Invalid;
    fn try_from(s: String) -> Result<Self, Invalid> {
        s.parse()
    }
}

impl From<MacAddr> for String {
    fn from(m: MacAddr) -> String {
        m.to_string()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Gives a number newtype with a range its conversions.
macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $what:literal, $range:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name($inner);

        impl $name {
            /// The number.
            pub fn get(self) -> $inner {
                self.0
            }
        }
        impl TryFrom<u64> for $name {
            type Error = Invalid;
            fn try_from(value: u64) -> Result<Self, Invalid> {
                match <$inner>::try_from(value) {
                    Ok(n) if ($range).contains(&n) => Ok(Self(n)),
                    _ => Err(Invalid::new($what, &value.to_string(), $why)),
                }
            }
        }
        impl From<$name> for u64 {
            fn from(n: $name) -> u64 {
                u64::from(n.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_type!(
    /// An 802.1Q VLAN ID.
    VlanId, u16, "VLAN ID", 1..=4094, "a VLAN ID is 1 to 4094"
);
number_type!(
    /// A VXLAN network identifier (RFC 7348: 24 bits; 0 is left out, as the kernel reads it as "any").
    Vni, u32, "VNI", 1..=0xff_ffff, "a VNI is 1 to 16777215"
);
number_type!(
    /// A link's MTU in bytes. At least 68 (RFC 791), at most what the kernel lets veth and bridge have.
    Mtu, u32, "MTU", 68..=65535, "an MTU is 68 to 65535"
);

#[cfg(test)]
#[path = "ids_tests.rs"]
mod tests;
