//! What must change, and in which order.

use super::{Actual, Desired, Fdb, Route};
use crate::ids::MacAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// One change to the kernel's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets a permanent neighbour on the VXLAN device.
    SetNeighbour(IpAddr, MacAddr),
    /// Sets an entry of the VXLAN device's forwarding database.
    SetFdb(MacAddr, IpAddr),
    /// Removes a route.
    RemoveRoute(Route),
    /// Puts a route where one of the same key is, on the same link: there is no instant without.
    ReplaceRoute(Route),
    /// Adds a route; one of the same key that is there is somebody else's.
    AddRoute(Route),
    /// Removes an entry of the VXLAN device's forwarding database.
    RemoveFdb([u8; 6]),
    /// Removes a neighbour from the VXLAN device.
    RemoveNeighbour(IpAddr),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetNeighbour(ip, mac) => write!(f, "set neighbour {ip} {mac}"),
            Self::SetFdb(mac, ip) => write!(f, "set FDB entry {mac} {ip}"),
            Self::RemoveRoute(route) => write!(f, "remove route {}", route.dst),
            Self::ReplaceRoute(route) => write!(f, "replace route {}", route.dst),
            Self::AddRoute(route) => write!(f, "add route {}", route.dst),
            Self::RemoveFdb([a, b, c, d, e, g]) => {
                write!(f, "remove FDB entry {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            Self::RemoveNeighbour(ip) => write!(f, "remove neighbour {ip}"),
        }
    }
}

/// What turns `actual` into `desired`. A route comes after the neighbour and the forwarding entry that it needs,
/// and goes before them.
pub fn diff(desired: &Desired, actual: &Actual) -> Vec<Change> {
    let mut changes = set_neighbours(desired, actual);
    changes.extend(set_fdb(desired, actual));
    changes.extend(routes(desired, actual));
    changes.extend(remove_fdb(desired, actual));
    let gone = actual.neighbours.iter().filter(|(ip, _)| !desired.neighbours.contains_key(ip));
    changes.extend(gone.map(|(ip, _)| Change::RemoveNeighbour(*ip)));
    changes
}

fn set_neighbours(desired: &Desired, actual: &Actual) -> Vec<Change> {
    let has: BTreeMap<_, _> = actual.neighbours.iter().map(|(ip, mac)| (ip, *mac)).collect();
    let wrong = desired.neighbours.iter().filter(|(ip, mac)| has.get(ip) != Some(&Some(**mac)));
    wrong.map(|(ip, mac)| Change::SetNeighbour(*ip, *mac)).collect()
}

fn set_fdb(desired: &Desired, actual: &Actual) -> Vec<Change> {
    let mut has: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Fdb { mac, endpoint } in &actual.fdb {
        has.entry(*mac).or_default().push(*endpoint);
    }
    let right = |mac: &MacAddr, ip: IpAddr| has.get(&mac.octets()).is_some_and(|all| **all == [Some(ip)]);
    let wrong = desired.fdb.iter().filter(|(mac, ip)| !right(mac, **ip));
    wrong.map(|(mac, ip)| Change::SetFdb(*mac, *ip)).collect()
}

/// Entries of the same MAC go together.
fn remove_fdb(desired: &Desired, actual: &Actual) -> Vec<Change> {
    let wanted: BTreeSet<_> = desired.fdb.keys().map(MacAddr::octets).collect();
    let has: BTreeSet<_> = actual.fdb.iter().map(|entry| entry.mac).collect();
    has.difference(&wanted).map(|mac| Change::RemoveFdb(*mac)).collect()
}

fn routes(desired: &Desired, actual: &Actual) -> Vec<Change> {
    let mut missing: BTreeMap<_, _> = desired.routes.iter().collect();
    let mut stale = Vec::new();
    for has in &actual.routes {
        match missing.get(&has.dst) {
            Some(want) if *want == has => drop(missing.remove(&has.dst)),
            _ => stale.push(has),
        }
    }
    let (mut removals, mut puts) = (Vec::new(), Vec::new());
    for has in stale {
        let successor =
            missing.get(&has.dst).copied().filter(|want| want.key() == has.key() && want.dev == has.dev);
        match successor {
            Some(want) => {
                missing.remove(&has.dst);
                puts.push(Change::ReplaceRoute(want.clone()));
            }
            None => removals.push(Change::RemoveRoute(has.clone())),
        }
    }
    puts.extend(missing.into_values().cloned().map(Change::AddRoute));
    removals.extend(puts);
    removals
}
