//! What an attachment holds in the sets and maps of our tables.

use super::NftError;
use super::script::TABLE;
use offramp_core::firewall::{HostPortRule, Masquerade, Rules, SpoofCheck};
use offramp_core::ids::IfName;
use offramp_core::net::{Family, network_of};
use std::fmt;

/// One of our tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// NAT for both families.
    Nat,
    /// MAC checks in the bridge.
    Spoof,
}

impl Table {
    pub(super) fn family(self) -> &'static str {
        match self {
            Self::Nat => "inet",
            Self::Spoof => "bridge",
        }
    }

    /// The family as the kernel counts (NFPROTO_INET, NFPROTO_BRIDGE in linux/netfilter.h).
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Nat => 1,
            Self::Spoof => 7,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {TABLE}", self.family())
    }
}

/// An element of a set, or of a map if it has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub table: Table,
    pub set: String,
    pub key: String,
    value: Option<String>,
    /// The port that the element maps.
    pub host_port: Option<HostPortRule>,
}

impl Element {
    /// All of one attachment, each once.
    pub fn all(rules: &Rules) -> Result<Vec<Self>, NftError> {
        let Rules { host_ports, masquerade, spoof_check } = rules;
        let mut all: Vec<Self> = host_ports.iter().flat_map(of_host_port).collect();
        all.extend(masquerade.iter().flat_map(of_masquerade));
        if let Some(check) = spoof_check {
            all.extend(of_spoof_check(check)?);
        }
        let mut once: Vec<Self> = Vec::with_capacity(all.len());
        for element in all {
            if !once.iter().any(|e| e.add() == element.add()) {
                once.push(element);
            }
        }
        Ok(once)
    }

    /// `key`, or `key : value`.
    pub fn body(&self) -> String {
        match &self.value {
            Some(value) => format!("{} : {value}", self.key),
            None => self.key.clone(),
        }
    }

    /// The command that adds it, in one line: nft names the line of a fault.
    pub fn add(&self) -> String {
        format!("add element {} {} {{ {} }}", self.table, self.set, self.body())
    }

    /// The command that deletes it, in one line.
    pub fn delete(&self) -> String {
        format!("delete element {} {} {{ {} }}", self.table, self.set, self.body())
    }

    /// The command that asks for it, in one line. The answer is by key: a map's value does not count.
    pub fn get(&self) -> String {
        format!("get element {} {} {{ {} }}", self.table, self.set, self.key)
    }

    fn nat(set: &str, family: Family, key: String) -> Self {
        Self { table: Table::Nat, set: per_family(set, family), key, value: None, host_port: None }
    }
}

/// The name of a set that each family has its own of.
pub(super) fn per_family(set: &str, family: Family) -> String {
    let digit = match family {
        Family::V4 => '4',
        Family::V6 => '6',
    };
    format!("{set}{digit}")
}

fn of_host_port(rule: &HostPortRule) -> impl Iterator<Item = Element> {
    let HostPortRule { protocol, host_ip, host_port, to, to_port, subnet } = *rule;
    let family = Family::of(to);
    let protocol = protocol.as_str();
    let (set, key) = match host_ip {
        Some(ip) => ("host_ip_ports", format!("{ip} . {protocol} . {host_port}")),
        None => ("host_ports", format!("{protocol} . {host_port}")),
    };
    let port = Element {
        value: Some(format!("{to} . {to_port}")),
        host_port: Some(*rule),
        ..Element::nat(set, family, key)
    };
    // The node's loopback has no IPv6 counterpart: the kernel lets ::1 reach nobody but itself.
    let loopback = (family == Family::V4).then(|| "127.0.0.0/8".to_owned());
    let hairpin = loopback.into_iter().chain([network_of(subnet).to_string()]).map(move |source| {
        Element::nat("hairpin", family, format!("{source} . {to} . {protocol} . {to_port}"))
    });
    [port].into_iter().chain(hairpin)
}

fn of_masquerade(rule: &Masquerade) -> [Element; 2] {
    let Masquerade { ip, exempt } = *rule;
    let family = Family::of(ip);
    [
        Element::nat("masquerade", family, ip.to_string()),
        Element::nat("exempt", family, format!("{ip} . {}", network_of(exempt))),
    ]
}

fn of_spoof_check(check: &SpoofCheck) -> Result<[Element; 2], NftError> {
    let SpoofCheck { link, mac } = check;
    let link = quoted(link)?;
    let element = |set: &str, key| Element {
        table: Table::Spoof,
        set: set.to_owned(),
        key,
        value: None,
        host_port: None,
    };
    Ok([element("checked", link.clone()), element("senders", format!("{link} . {mac}"))])
}

/// nft knows no escapes: a `"` would end the string, and a `*` at its end would make it match many.
pub(super) fn quoted(name: &IfName) -> Result<String, NftError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'@');
    if name.as_str().bytes().all(plain) {
        Ok(format!("\"{name}\""))
    } else {
        Err(NftError::Name(name.clone()))
    }
}
