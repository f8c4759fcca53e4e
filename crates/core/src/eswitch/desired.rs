//! What each PF should know, the most important first.

use crate::ids::{IfName, MacAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A bridge that has PFs behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: IfName,
    /// Its own address.
    pub mac: Option<MacAddr>,
    /// The PFs behind its ports.
    pub uplinks: Vec<Uplink>,
    /// What it has learned, and what it was told, of addresses that are not its own.
    pub learned: Vec<Learned>,
}

/// A PF behind a port of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The PF's netdev.
    pub pf: IfName,
    /// Its own address, which its filter holds anyway.
    pub mac: Option<MacAddr>,
    /// The number of the bridge's port: the PF's own, or that of a VLAN device or bond on it.
    pub port: u32,
}

/// An entry of a bridge's forwarding database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    /// The address.
    pub mac: MacAddr,
    /// The number of the port that leads there.
    pub port: u32,
    /// How long ago a frame came from there or went there; in the kernel's clock ticks.
    pub idle: u32,
}

/// A pod of ours on a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The bridge.
    pub bridge: IfName,
    /// The pod's address.
    pub mac: MacAddr,
    /// When it was attached, in seconds since 1970.
    pub created: u64,
    /// How it is told to people.
    pub name: String,
}

/// Something that a PF should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The address.
    pub mac: MacAddr,
    /// Whose it is.
    pub reason: Reason,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Bridge(name) => write!(f, "{} (bridge {name})", self.mac),
            Reason::Pod(name) => write!(f, "{} ({name})", self.mac),
            Reason::Learned => write!(f, "{}", self.mac),
        }
    }
}

/// Why a PF should know an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is this bridge's own.
    Bridge(IfName),
    /// It is this pod's.
    Pod(String),
    /// The bridge has learned it.
    Learned,
}

/// For each PF, in the order in which they give way when its filter is full, last first: the bridges' own addresses, our
/// pods from the oldest on, then what the bridges have learned, the most recently used first.
pub fn desired(bridges: &[Bridge], pods: &[Pod]) -> BTreeMap<IfName, Vec<Wanted>> {
    let mut pods: Vec<&Pod> = pods.iter().collect();
    pods.sort_by(|a, b| (a.created, &a.name, a.mac).cmp(&(b.created, &b.name, b.mac)));
    let pfs: BTreeSet<&IfName> = bridges.iter().flat_map(|b| &b.uplinks).map(|u| &u.pf).collect();
    pfs.into_iter().map(|pf| (pf.clone(), wanted_by(pf, bridges, &pods))).collect()
}

/// A PF may be behind several bridges, by its VLAN devices: they share its filter.
fn wanted_by(pf: &IfName, bridges: &[Bridge], pods: &[&Pod]) -> Vec<Wanted> {
    let behind: Vec<(&Bridge, &Uplink)> = bridges
        .iter()
        .flat_map(|b| b.uplinks.iter().map(move |u| (b, u)))
        .filter(|(_, u)| u.pf == *pf)
        .collect();
    let own = behind
        .iter()
        .filter_map(|(b, _)| Some(Wanted { mac: b.mac?, reason: Reason::Bridge(b.name.clone()) }));
    let pods = pods.iter().filter(|p| behind.iter().any(|(b, _)| b.name == p.bridge));
    let pods = pods.map(|p| Wanted { mac: p.mac, reason: Reason::Pod(p.name.clone()) });
    let away = |(b, u): &(&Bridge, &Uplink)| {
        let port = u.port;
        b.learned.iter().filter(move |l| l.port != port).copied().collect::<Vec<_>>()
    };
    let mut learned: Vec<Learned> = behind.iter().flat_map(away).collect();
    learned.sort_by_key(|l| (l.idle, l.mac));
    let learned = learned.into_iter().map(|l| Wanted { mac: l.mac, reason: Reason::Learned });
    let mut seen: BTreeSet<MacAddr> = behind.iter().filter_map(|(_, u)| u.mac).collect();
    own.chain(pods).chain(learned).filter(|w| seen.insert(w.mac)).collect()
}
