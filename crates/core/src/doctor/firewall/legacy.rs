//! Tables of iptables-legacy as the kernel gives them, put as `nft -j list ruleset` puts its own: `struct ipt_entry`
//! (linux/netfilter_ipv4/ip_tables.h), `struct ip6t_entry` (linux/netfilter_ipv6/ip6_tables.h), `struct xt_entry_match` and
//! `xt_entry_target` (linux/netfilter/x_tables.h). What is not understood is an expression that nobody knows.

use crate::net::Family;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The hooks in the kernel's order, with the chains at them.
const HOOKS: [(&str, &str); 5] = [
    ("prerouting", "PREROUTING"),
    ("input", "INPUT"),
    ("forward", "FORWARD"),
    ("output", "OUTPUT"),
    ("postrouting", "POSTROUTING"),
];
/// `XT_CONNTRACK_STATE`
const BY_STATE: u16 = 1;
/// `XT_CONNTRACK_STATE_INVALID`, and `XT_CONNTRACK_STATE_BIT` of the others.
const STATES: [(u32, &str); 4] = [(1, "invalid"), (2, "established"), (4, "related"), (8, "new")];
/// What follows them is asked all the same.
const PASSING: [&str; 9] =
    ["LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CT", "NOTRACK", "CHECKSUM", "CLASSIFY"];

/// A table.
#[derive(Debug, Clone)]
pub struct LegacyTable {
    /// Of iptables, or of ip6tables.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Where the chains at the hooks begin; none: it has no chain there.
    pub begins: [Option<u32>; 5],
    /// Where their policies are.
    pub policies: [u32; 5],
    /// Its entries.
    pub entries: Vec<u8>,
}

/// All of them as one listing.
pub fn legacy_listing(tables: &[LegacyTable]) -> Value {
    let all: Vec<Value> = tables.iter().flat_map(objects).collect();
    json!({ "nftables": all })
}

/// Where things are in an entry of a family, in bytes.
struct Layout {
    address: usize,
    target_offset: usize,
    matches: usize,
    proto: usize,
    inverted: usize,
    goto: (usize, u8),
}

impl Layout {
    fn of(family: Family) -> Self {
        match family {
            Family::V4 => {
                Self { address: 4, target_offset: 88, matches: 112, proto: 80, inverted: 83, goto: (82, 2) }
            }
            Family::V6 => Self {
                address: 16,
                target_offset: 140,
                matches: 168,
                proto: 128,
                inverted: 132,
                goto: (131, 4),
            },
        }
    }
}

fn objects(table: &LegacyTable) -> Vec<Value> {
    let (family, name) = (if table.family == Family::V4 { "ip" } else { "ip6" }, table.name.as_str());
    let entries = Entry::all(table);
    let mut starts: BTreeMap<u32, String> = BTreeMap::new();
    for (begin, (_, chain)) in table.begins.iter().zip(HOOKS) {
        starts.extend(begin.map(|begin| (begin, chain.to_owned())));
    }
    starts.extend(entries.iter().filter_map(|e| Some((e.next, e.heads()?))));
    let mut all = Vec::new();
    for ((begin, policy), (hook, chain)) in table.begins.iter().zip(table.policies).zip(HOOKS) {
        let Some(_) = begin else { continue };
        let drops = entries.iter().any(|e| e.at == policy && e.verdict() == Some(-1));
        let kind = if name == "nat" { "nat" } else { "filter" };
        all.push(
            json!({"chain": {"family": family, "table": name, "name": chain, "type": kind, "hook": hook,
            "policy": if drops { "drop" } else { "accept" }}}),
        );
    }
    let mut chain = String::new();
    for entry in &entries {
        if let Some(begun) = starts.get(&entry.at) {
            chain.clone_from(begun);
        }
        let is_policy =
            table.begins.iter().zip(table.policies).any(|(b, policy)| b.is_some() && policy == entry.at);
        if !is_policy && entry.heads().is_none() {
            let rule = json!({"family": family, "table": name, "chain": chain, "expr": entry.expr(&starts)});
            all.push(json!({ "rule": rule }));
        }
    }
    all
}

/// A rule, a policy, or what stands before a chain.
struct Entry<'a> {
    at: u32,
    next: u32,
    family: Family,
    head: &'a [u8],
    /// Names with their data.
    matches: Vec<(String, &'a [u8])>,
    target: (String, &'a [u8]),
}

impl<'a> Entry<'a> {
    /// Those of a table, as far as they are whole.
    fn all(table: &'a LegacyTable) -> Vec<Self> {
        let (mut at, mut all) = (0, Vec::new());
        while let Some(entry) = Self::read(table.family, at, &table.entries) {
            at = entry.next;
            all.push(entry);
        }
        all
    }

    fn read(family: Family, at: u32, entries: &'a [u8]) -> Option<Self> {
        let layout = Layout::of(family);
        let rest = entries.get(at as usize..)?;
        let target_offset = usize::from(u16_at(rest, layout.target_offset)?);
        let size = usize::from(u16_at(rest, layout.target_offset + 2)?);
        let entry = rest.get(..size).filter(|_| size > target_offset && target_offset >= layout.matches)?;
        let mut matches = Vec::new();
        let mut place = layout.matches;
        while place < target_offset {
            let (name, data, length) = extension(entry, place)?;
            matches.push((name, data));
            place += length;
        }
        let (name, data, _) = extension(entry, target_offset)?;
        let next = at + u32::try_from(size).ok()?;
        Some(Self { at, next, family, head: &entry[..layout.matches], matches, target: (name, data) })
    }

    /// The chain that begins behind it.
    fn heads(&self) -> Option<String> {
        (self.target.0 == "ERROR").then(|| text(self.target.1))
    }

    /// Of a standard target: an end if it is below 0, else where a chain begins.
    fn verdict(&self) -> Option<i32> {
        let bytes = self.target.1.get(..4).filter(|_| self.target.0.is_empty())?;
        Some(i32::from_ne_bytes(bytes.try_into().ok()?))
    }

    fn expr(&self, starts: &BTreeMap<u32, String>) -> Vec<Value> {
        let matches = self.matches.iter().map(|(name, data)| condition(name, data));
        self.addresses()
            .into_iter()
            .chain(self.links())
            .chain(self.protocol())
            .chain(matches)
            .chain([self.action(starts)])
            .collect()
    }

    fn inverted(&self, bit: u8) -> bool {
        self.head[Layout::of(self.family).inverted] & bit != 0
    }

    fn addresses(&self) -> Vec<Value> {
        let length = Layout::of(self.family).address;
        let protocol = if self.family == Family::V4 { "ip" } else { "ip6" };
        let part = |n: usize| &self.head[n * length..(n + 1) * length];
        let one = |(n, field, bit): (usize, &str, u8)| {
            let (address, mask) = (part(n), part(n + 2));
            let prefix: u32 = mask.iter().map(|b| b.leading_ones()).sum();
            if mask.iter().all(|b| *b == 0) {
                return None;
            }
            let bits: u32 = mask.iter().map(|b| b.count_ones()).sum();
            let address: IpAddr = match self.family {
                Family::V4 => <[u8; 4]>::try_from(address).ok()?.into(),
                Family::V6 => <[u8; 16]>::try_from(address).ok()?.into(),
            };
            let contiguous = bits == prefix && mask.is_sorted_by(|a, b| a >= b);
            let left = json!({"payload": {"protocol": protocol, "field": field}});
            let right = json!({"prefix": {"addr": address, "len": prefix}});
            Some(if contiguous { compare(left, right, self.inverted(bit)) } else { unknown("mask") })
        };
        [(0, "saddr", 0x08), (1, "daddr", 0x10)].into_iter().filter_map(one).collect()
    }

    fn links(&self) -> Vec<Value> {
        let base = 4 * Layout::of(self.family).address;
        let one = |(n, key, bit): (usize, &str, u8)| {
            let (name, mask) = (&self.head[base + n * 16..], &self.head[base + 32 + n * 16..]);
            let name = text(&name[..16]);
            let compared = mask[..16].iter().filter(|b| **b != 0).count();
            // The NUL is compared too, unless all links that begin so are meant.
            let right = if compared > name.len() { name.clone() } else { format!("{name}*") };
            (!name.is_empty())
                .then(|| compare(json!({"meta": {"key": key}}), json!(right), self.inverted(bit)))
        };
        [(0, "iifname", 0x01), (1, "oifname", 0x02)].into_iter().filter_map(one).collect()
    }

    fn protocol(&self) -> Option<Value> {
        let number = u16_at(self.head, Layout::of(self.family).proto)?;
        let name = match number {
            0 => return None,
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            other => other.to_string(),
        };
        Some(compare(json!({"meta": {"key": "l4proto"}}), json!(name), self.inverted(0x40)))
    }

    fn action(&self, starts: &BTreeMap<u32, String>) -> Value {
        let (name, _) = &self.target;
        let (flags, goto) = Layout::of(self.family).goto;
        match self.verdict() {
            // The negative of `NF_DROP`, `NF_ACCEPT`, and `XT_RETURN`, less one.
            Some(-1) => json!({"drop": null}),
            Some(-2) => json!({"accept": null}),
            Some(-5) => json!({"return": null}),
            Some(at) => {
                let target = u32::try_from(at).ok().and_then(|at| starts.get(&at));
                let verb = if self.head[flags] & goto == 0 { "jump" } else { "goto" };
                target.map_or_else(|| unknown("verdict"), |target| json!({ verb: {"target": target} }))
            }
            None if name == "REJECT" => json!({"reject": null}),
            None if PASSING.contains(&name.as_str()) => json!({"log": null}),
            None => unknown(name),
        }
    }
}

/// A match's or target's name and data, and how long it is with its head.
fn extension(entry: &[u8], at: usize) -> Option<(String, &[u8], usize)> {
    const HEAD: usize = 32;
    let length = usize::from(u16_at(entry, at)?);
    let all = entry.get(at..at + length).filter(|all| all.len() >= HEAD)?;
    Some((text(&all[2..31]), &all[HEAD..], length))
}

fn condition(name: &str, data: &[u8]) -> Value {
    let states = |mask: u32| {
        let known: Vec<&str> = STATES.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, s)| *s).collect();
        json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": known}})
    };
    match name {
        "comment" => json!({"comment": null}),
        "state" => data
            .get(..4)
            .and_then(|b| b.try_into().ok())
            .map_or_else(|| unknown(name), |bytes| states(u32::from_ne_bytes(bytes))),
        // `struct xt_conntrack_mtinfo1` to `3`
        "conntrack" => match (u16_at(data, 146), u16_at(data, 148), u16_at(data, 150)) {
            (Some(BY_STATE), Some(0), Some(mask)) => states(mask.into()),
            _ => unknown(name),
        },
        // `struct xt_udp`
        "udp" => match [0, 2, 4, 6].map(|at| u16_at(data, at)) {
            [Some(0), Some(u16::MAX), Some(first), Some(last)] if data.get(8) == Some(&0) => compare(
                json!({"payload": {"protocol": "udp", "field": "dport"}}),
                json!({"range": [first, last]}),
                false,
            ),
            _ => unknown(name),
        },
        _ => unknown(name),
    }
}

fn compare(left: Value, right: Value, inverted: bool) -> Value {
    json!({"match": {"op": if inverted { "!=" } else { "==" }, "left": left, "right": right}})
}

fn unknown(name: &str) -> Value {
    json!({"xt": {"type": "legacy", "name": name}})
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What the kernel gives is whole; what is not ends the table.
        #[test]
        fn no_bytes_are_too_strange(
            mut entries in proptest::collection::vec(any::<u8>(), 0..600),
            begins in any::<[Option<u32>; 5]>(),
            policies in any::<[u32; 5]>(),
            v4 in any::<bool>(),
        ) {
            let family = if v4 { Family::V4 } else { Family::V6 };
            let layout = Layout::of(family);
            if let Some(sizes) = entries.get_mut(layout.target_offset..layout.target_offset + 4) {
                // So that it gets beyond the first entry.
                sizes[1] &= 1;
                sizes[3] &= 1;
            }
            let table = LegacyTable { family, name: "filter".into(), begins, policies, entries };
            let listed = legacy_listing(&[table]);
            prop_assert!(listed["nftables"].is_array());
        }
    }
}
