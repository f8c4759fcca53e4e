//! Features that are turned on: that NICs are told of tunnels' ports.

use super::{Tuned, number};
use crate::node::Node;
use offramp_core::ids::IfName;
use offramp_core::offload::Offloads;
use offramp_core::overlay::decisions::{PORT_FEATURE, below, tellable};
use offramp_kernel::Result;
use offramp_kernel::ethtool::Ethtool;
use serde::{Deserialize, Serialize};

/// A feature that was off, and is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Turned {
    /// Of which device.
    pub device: IfName,
    /// The device's number: another one of its name is as its driver made it.
    pub number: u32,
    /// As ethtool names it.
    pub feature: String,
}

/// How many are otherwise now.
pub(super) fn tune(node: &Node, offloads: &Offloads, tuned: &mut Tuned) -> Result<u64> {
    let Some(wanted) = wanted(node, offloads) else { return Ok(0) };
    let before = tuned.features.len();
    let put_back = put_back(node, tuned, &wanted);
    let mut changed = (before - tuned.features.len()) as u64;
    let mut outcomes = vec![put_back];
    for device in wanted {
        let is_on = |f: &offramp_core::offload::Feature| f.on;
        let feature = offloads.devices.get(&device).and_then(|d| d.features.get(PORT_FEATURE));
        if !feature.as_ref().is_some_and(is_on) {
            let outcome = turn_on(node, tuned, device);
            changed += u64::from(outcome.is_ok());
            outcomes.push(outcome);
        }
    }
    outcomes.into_iter().collect::<Result<()>>().map(|()| changed)
}

/// The NICs that are to know the tunnel's port; none: it is not known yet, as before a look at this uplink.
fn wanted(node: &Node, offloads: &Offloads) -> Option<Vec<IfName>> {
    if !node.config.offloads.tunnel_port {
        return Some(Vec::new());
    }
    let seen = node.view().overlay.clone()?;
    let Some(links) = seen.links().filter(|links| links.tunnel.is_some()) else { return Some(Vec::new()) };
    let below = below(&offloads.devices, links.uplink.0.as_str());
    (!below.is_empty()).then(|| tellable(&below).into_iter().cloned().collect())
}

fn turn_on(node: &Node, tuned: &mut Tuned, device: IfName) -> Result<()> {
    let mut ethtool = Ethtool::require(format!("turn {PORT_FEATURE} of {device} on"))?;
    let Some(number) = number(&device)? else { return Ok(()) };
    let turned = Turned { device, number, feature: PORT_FEATURE.into() };
    if !tuned.features.contains(&turned) {
        tuned.features.push(turned.clone());
        tuned.keep(node)?;
    }
    if let Err(e) = ethtool.set_feature(&turned.device, PORT_FEATURE, true) {
        tuned.features.retain(|other| *other != turned);
        return tuned.keep(node).and(Err(e));
    }
    tracing::info!(device = %turned.device, feature = PORT_FEATURE, "turned on: the NIC is told of the tunnel's port");
    Ok(())
}

/// Turns off again what was turned on, but for these devices.
pub(super) fn put_back(node: &Node, tuned: &mut Tuned, but: &[IfName]) -> Result<()> {
    let (stays, goes): (Vec<_>, Vec<_>) =
        std::mem::take(&mut tuned.features).into_iter().partition(|turned| but.contains(&turned.device));
    tuned.features = stays;
    if goes.is_empty() {
        return Ok(());
    }
    let mut failed = Ok(());
    for turned in goes {
        if let Err(e) = turn_off(&turned) {
            failed = Err(e);
            tuned.features.push(turned);
        }
    }
    tuned.keep(node).and(failed)
}

fn turn_off(turned: &Turned) -> Result<()> {
    let Turned { device, number: was, feature } = turned;
    if number(device)? != Some(*was) {
        return Ok(());
    }
    let mut ethtool = Ethtool::require(format!("turn {feature} of {device} off"))?;
    tracing::info!(%device, feature, "turned off again");
    ethtool.set_feature(device, feature, false).map(drop)
}
