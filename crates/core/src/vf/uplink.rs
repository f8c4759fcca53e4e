//! Which VFs can carry the pod network: those of the port that the node's uplink is on.

use crate::ids::{IfName, MacAddr, VlanId};
use crate::nic::{Inventory, PortKey};
use std::collections::BTreeSet;

/// A link of the node, as far as it says what it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLink {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: IfName,
    /// Its address.
    pub mac: Option<MacAddr>,
    /// The bridge or bond that it is a port of.
    pub controller: Option<u32>,
    /// What it is.
    pub kind: LinkKind,
}

/// What a link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkKind {
    /// No software device: perhaps a port.
    Device,
    /// A VLAN on another link.
    Vlan {
        /// That link.
        on: u32,
        /// Its VLAN.
        id: VlanId,
        /// Its tag's EtherType.
        ethertype: u16,
    },
    /// A bond.
    Bond {
        /// The only port that carries traffic, in the modes that have one.
        active: Option<u32>,
    },
    /// A bridge.
    Bridge,
    /// Anything else, by its name.
    Other(String),
}

/// How VFs reach the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkPath {
    /// The link that the node routes on.
    pub link: IfName,
    /// Its MAC.
    pub mac: MacAddr,
    /// The VLAN that the PF must put the VFs in.
    pub vlan: Option<VlanId>,
    /// The ports whose VFs can be taken.
    pub ports: Vec<PortKey>,
    /// The bond that it is on.
    pub bond: Option<IfName>,
    /// What is lost, for the user.
    pub caveat: Option<String>,
}

/// Follows the uplink down to its port. The error says why no VF can carry the pod network on it. `synced` are the
/// bridges of whose MACs the ports' embedded switches are told.
pub fn resolve(
    uplink: &IfName,
    links: &[NodeLink],
    inventory: &Inventory,
    synced: &BTreeSet<IfName>,
) -> Result<UplinkPath, String> {
    let top =
        links.iter().find(|l| l.name == *uplink).ok_or_else(|| format!("uplink {uplink} is not there"))?;
    let mac = top.mac.ok_or_else(|| format!("uplink {uplink} has no MAC"))?;
    let mut path =
        UplinkPath { link: uplink.clone(), mac, vlan: None, ports: Vec::new(), bond: None, caveat: None };
    let mut at = top;
    // Each kind may be there once: a VLAN on a bridge on a bond on a PF is the longest.
    for _ in 0..4 {
        at = match &at.kind {
            LinkKind::Device => return end(path, at, inventory),
            LinkKind::Vlan { on, id, ethertype } => {
                path.vlan = Some(the_only_vlan(path.vlan, *id, *ethertype, at)?);
                links
                    .iter()
                    .find(|l| l.index == *on)
                    .ok_or_else(|| format!("what {} is on is not here", at.name))?
            }
            LinkKind::Bond { active } => through_bond(at, *active, links, &mut path)?,
            LinkKind::Bridge => through_bridge(at, links, inventory, synced)?,
            LinkKind::Other(kind) => return Err(format!("{} is a {kind}, which no VF is behind", at.name)),
        };
    }
    Err(format!("uplink {uplink} is a link on a link too often"))
}

/// The links by which what comes by a link may have come: itself, and all that it is on.
pub fn below(uplink: &IfName, links: &[NodeLink]) -> BTreeSet<IfName> {
    let mut found: Vec<&NodeLink> = links.iter().filter(|link| link.name == *uplink).collect();
    let mut at = 0;
    while let Some(link) = found.get(at).copied() {
        let is_below = |other: &&NodeLink| {
            let carries = matches!(link.kind, LinkKind::Vlan { on, .. } if on == other.index);
            (carries || other.controller == Some(link.index)) && !found.contains(other)
        };
        let next: Vec<&NodeLink> = links.iter().filter(is_below).collect();
        found.extend(next);
        at += 1;
    }
    found.into_iter().map(|link| link.name.clone()).collect()
}

fn end(mut path: UplinkPath, port: &NodeLink, inventory: &Inventory) -> Result<UplinkPath, String> {
    let found = inventory.ports.iter().find(|p| p.netdev == port.name);
    let found = found.ok_or_else(|| format!("{} is no port of a NIC", port.name))?;
    if found.total_vfs == 0 {
        return Err(format!("{} has no SR-IOV", port.name));
    }
    path.ports = vec![found.key.clone()];
    Ok(path)
}

fn the_only_vlan(
    before: Option<VlanId>,
    id: VlanId,
    ethertype: u16,
    link: &NodeLink,
) -> Result<VlanId, String> {
    const Q: u16 = 0x8100;
    match before {
        Some(outer) => Err(format!("{} is a VLAN on VLAN {outer}, and a PF puts a VF in one", link.name)),
        None if ethertype != Q => Err(format!("{} is an 802.1ad VLAN", link.name)),
        None => Ok(id),
    }
}

/// VFs know nothing of the bond that their PF is in: only those of the active port are on the wire that the node uses.
/// Whether that will do is the pools' policy.
fn through_bond<'a>(
    bond: &NodeLink,
    active: Option<u32>,
    links: &'a [NodeLink],
    path: &mut UplinkPath,
) -> Result<&'a NodeLink, String> {
    let name = &bond.name;
    let index = active.ok_or_else(|| format!("{name} has no active port; VFs need mode active-backup"))?;
    let port =
        links.iter().find(|l| l.index == index).ok_or_else(|| format!("{name}'s active port is not here"))?;
    path.bond = Some(name.clone());
    path.caveat =
        Some(format!("{name} fails over without the VFs: pods on VFs of {} are cut off then", port.name));
    Ok(port)
}

fn through_bridge<'a>(
    bridge: &NodeLink,
    links: &'a [NodeLink],
    inventory: &Inventory,
    synced: &BTreeSet<IfName>,
) -> Result<&'a NodeLink, String> {
    let name = &bridge.name;
    let is_port = |l: &&NodeLink| {
        l.controller == Some(bridge.index)
            && (l.kind != LinkKind::Device || inventory.ports.iter().any(|p| p.netdev == l.name))
            && !matches!(l.kind, LinkKind::Other(_))
    };
    let mut ports = links.iter().filter(is_port);
    match (ports.next(), ports.next()) {
        // A VF's frames to a MAC that the embedded switch does not know leave by the wire.
        (Some(port), None) if port.mac != bridge.mac && !synced.contains(name) => Err(format!(
            "{name} has another MAC than its port {}, whose VFs cannot reach it unless \
             embeddedSwitch.syncBridges names {name}",
            port.name
        )),
        (Some(port), None) => Ok(port),
        (None, _) => Err(format!("no port of a NIC is in bridge {name}")),
        (Some(a), Some(b)) => Err(format!("both {} and {} are in bridge {name}", a.name, b.name)),
    }
}

#[cfg(test)]
#[path = "uplink_tests.rs"]
mod tests;
