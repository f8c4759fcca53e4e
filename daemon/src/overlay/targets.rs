//! What there is to probe: for each kind of path, who can be asked.

use super::report::Seen;
use crate::config;
use offramp_core::ids::IfName;
use offramp_core::net::Family;
use offramp_core::overlay::{Mode, Path, Reached};
use offramp_core::peer::Peer;
use offramp_core::probe::{Kind, Way};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// A kind of path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub kind: Kind,
    /// By which device packets leave.
    pub device: IfName,
    /// This node's gateway of that family: pods' packets take the same way.
    pub from: IpAddr,
    /// Peers that are reached so, and their gateways.
    pub peers: Vec<(Arc<Peer>, IpAddr)>,
}

/// The devices by which packets leave, and their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// The VXLAN device.
    pub tunnel: Option<(IfName, u32)>,
    /// The uplink.
    pub uplink: (IfName, u32),
}

impl Links {
    /// Both.
    pub fn devices(&self) -> impl Iterator<Item = &(IfName, u32)> {
        self.tunnel.iter().chain([&self.uplink])
    }

    /// The number of one of them.
    pub fn number(&self, device: &IfName) -> Option<u32> {
        self.devices().find(|(name, _)| name == device).map(|(_, number)| *number)
    }
}

impl Seen {
    /// None without an uplink.
    pub fn links(&self) -> Option<Links> {
        let underlay = self.underlay.as_ref().ok()?;
        Some(Links {
            tunnel: self.tunnel.map(|number| (self.settings.device.clone(), number)),
            uplink: (underlay.name.parse().ok()?, underlay.index),
        })
    }

    /// Why there is nothing to probe; none: there is.
    pub fn idle(&self) -> Option<String> {
        if self.settings.mode == Mode::None {
            return Some("overlay.mode is none: the ways to other nodes are somebody else's".into());
        }
        match &self.underlay {
            Err(why) => Some(why.clone()),
            Ok(_) if self.peers.is_empty() => Some("no peer is known".into()),
            Ok(_) if self.node.gateways.is_empty() => {
                Some("this node has no gateway yet, and so no pods".into())
            }
            Ok(_) => self.targets().is_empty().then(|| {
                let count = self.peers.len();
                let lost = || format!("no way leads to any of {count} peers: `offrampd status` says why");
                self.without_gateway().unwrap_or_else(lost)
            }),
        }
    }

    /// That ways lead only to pods of a family that this node's pods do not have; none: it is not that.
    fn without_gateway(&self) -> Option<String> {
        let ways = self.peers.iter().flat_map(|peer| self.ways(peer));
        let reached = ways.filter(|way| !matches!(way.path, Path::Unreachable { .. }));
        let families: BTreeSet<Family> = reached.map(|way| Family::of(way.pod_cidr.ip())).collect();
        let has = |family: &Family| self.node.gateways.iter().any(|ip| Family::of(*ip) == *family);
        let family = families.first().filter(|_| !families.iter().any(has))?;
        Some(format!("ways lead to {family} pods only, and this node has no {family} gateway"))
    }

    /// In a fixed order.
    pub fn targets(&self) -> Vec<Target> {
        let Some(links) = self.links() else { return Vec::new() };
        let mut targets: BTreeMap<Kind, Target> = BTreeMap::new();
        for peer in self.peers.iter() {
            for Reached { pod_cidr, path, .. } in self.ways(peer) {
                let family = Family::of(pod_cidr.ip());
                let way = match path {
                    Path::Vxlan { .. } => Way::Vxlan,
                    Path::Direct { .. } => Way::Direct,
                    Path::Unreachable { .. } => continue,
                };
                let device = if way == Way::Vxlan { links.tunnel.as_ref() } else { Some(&links.uplink) };
                let from = self.node.gateways.iter().find(|ip| Family::of(**ip) == family);
                let (Some((device, _)), Some(from), Ok(range)) = (device, from, config::range(pod_cidr))
                else {
                    continue;
                };
                let kind = Kind { way, family };
                let new = || Target { kind, device: device.clone(), from: *from, peers: Vec::new() };
                targets.entry(kind).or_insert_with(new).peers.push((peer.clone(), range.gateway));
            }
        }
        targets.into_values().collect()
    }
}
