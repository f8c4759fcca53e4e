//! What must change, and in which order.

use super::{Actual, Desired, Fdb, Route};
use crate::ids::MacAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// One change to the kernel's tables. Of thousands of peers there are tens of thousands: none holds a copy of its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Sets a permanent neighbour on the VXLAN device.
    SetNeighbour(IpAddr, MacAddr),
    /// Sets an entry of the VXLAN device's forwarding database.
    SetFdb(MacAddr, IpAddr),
    /// Removes a route.
    RemoveRoute(&'a Route),
    /// Puts a route where one of the same key is, on the same link: there is no instant without.
    ReplaceRoute(&'a Route),
    /// Adds a route; one of the same key that is there is somebody else's.
    AddRoute(&'a Route),
    /// Removes an entry of the VXLAN device's forwarding database.
    RemoveFdb([u8; 6]),
    /// Removes a neighbour from the VXLAN device.
    RemoveNeighbour(IpAddr),
}

impl fmt::Display for Change<'_> {
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

/// What turns `actual` into `desired`, made as it is asked for. A route comes after the neighbour and the forwarding entry
/// that it needs, and goes before them.
pub fn diff<'a>(desired: &'a Desired, actual: &'a Actual) -> impl Iterator<Item = Change<'a>> {
    let gone = actual.neighbours.iter().filter(|(ip, _)| !desired.neighbours.contains_key(ip));
    set_neighbours(desired, actual)
        .chain(set_fdb(desired, actual))
        .chain(routes(desired, actual))
        .chain(remove_fdb(desired, actual))
        .chain(gone.map(|(ip, _)| Change::RemoveNeighbour(*ip)))
}

fn set_neighbours<'a>(desired: &'a Desired, actual: &'a Actual) -> impl Iterator<Item = Change<'a>> {
    let has: BTreeMap<_, _> = actual.neighbours.iter().map(|(ip, mac)| (ip, *mac)).collect();
    let wrong = desired.neighbours.iter().filter(move |(ip, mac)| has.get(ip) != Some(&Some(**mac)));
    wrong.map(|(ip, mac)| Change::SetNeighbour(*ip, *mac))
}

fn set_fdb<'a>(desired: &'a Desired, actual: &'a Actual) -> impl Iterator<Item = Change<'a>> {
    let mut has: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Fdb { mac, endpoint } in &actual.fdb {
        has.entry(*mac).or_default().push(*endpoint);
    }
    let right =
        move |mac: &MacAddr, ip: IpAddr| has.get(&mac.octets()).is_some_and(|all| **all == [Some(ip)]);
    let wrong = desired.fdb.iter().filter(move |(mac, ip)| !right(mac, **ip));
    wrong.map(|(mac, ip)| Change::SetFdb(*mac, *ip))
}

/// Entries of the same MAC go together.
fn remove_fdb<'a>(desired: &Desired, actual: &Actual) -> impl Iterator<Item = Change<'a>> + use<'a> {
    let wanted: BTreeSet<_> = desired.fdb.keys().map(MacAddr::octets).collect();
    let mut gone: BTreeSet<_> = actual.fdb.iter().map(|entry| entry.mac).collect();
    gone.retain(|mac| !wanted.contains(mac));
    gone.into_iter().map(Change::RemoveFdb)
}

fn routes<'a>(desired: &'a Desired, actual: &'a Actual) -> impl Iterator<Item = Change<'a>> {
    let mut missing: BTreeMap<_, _> = desired.routes.iter().collect();
    let mut stale = Vec::new();
    for has in &actual.routes {
        match missing.get(&has.dst) {
            Some(want) if *want == has => drop(missing.remove(&has.dst)),
            _ => stale.push(has),
        }
    }
    let (mut removals, mut replaced) = (Vec::new(), Vec::new());
    for has in stale {
        let successor =
            missing.get(&has.dst).copied().filter(|want| want.key() == has.key() && want.dev == has.dev);
        match successor {
            Some(want) => {
                missing.remove(&has.dst);
                replaced.push(Change::ReplaceRoute(want));
            }
            None => removals.push(Change::RemoveRoute(has)),
        }
    }
    removals.into_iter().chain(replaced).chain(missing.into_values().map(Change::AddRoute))
}
