//! What the NIC could do for tunnels, and does not; or says it does, and does it wrong.

use super::{Facts, Finding, Kind, Severity};
use crate::offload::Device;
use crate::overlay::Dev;
use crate::overlay::decisions::{Untold, below, untold};

const OFF: Kind = Kind {
    id: "tunnel-offload-off",
    severity: Severity::Warning,
    means: "the uplink or the tunnel device could leave segmentation or checksums of tunnelled packets to the NIC or \
            to a later moment, and that is off",
    docs: "docs/overlay.md",
};
const BROKEN: Kind = Kind {
    id: "checksum-broken",
    severity: Severity::Fault,
    means: "a NIC sends wrong checksums, as a test by packets showed: what is sent that way is dropped at its end",
    docs: "docs/overlay.md",
};

pub(super) const KINDS: &[Kind] = &[OFF, BROKEN];

/// By which the stack leaves tunnelled packets to the NIC (Documentation/networking/segmentation-offloads.rst).
const UPLINK: [&str; 2] = ["tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"];
/// By which pods' large packets pass the tunnel device whole.
const TUNNEL: [&str; 4] =
    ["tx-checksum-ip-generic", "tx-scatter-gather", "tx-tcp-segmentation", "tx-generic-segmentation"];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    off(facts).into_iter().chain(broken(facts)).collect()
}

fn off(facts: &Facts) -> Option<Finding> {
    let (tunnel, uplink) = (facts.tunnel()?, facts.uplink()?);
    // Where no packet is tunnelled nothing is lost.
    facts.ways()?.routes.iter().find(|r| r.dev == Dev::Tunnel)?;
    let devices = facts.offloads.as_ref().ok()?;
    let below = below(devices, &uplink.name);
    let uplinks = below.iter().map(|link| (link.name, link.device, &UPLINK[..]));
    let tunnels = devices.iter().filter(|(name, _)| name.as_str() == tunnel.name);
    let (mut evidence, mut commands) = (Vec::new(), Vec::new());
    for (link, device, names) in uplinks.chain(tunnels.map(|(name, device)| (name, device, &TUNNEL[..]))) {
        // What the daemon turned off, it did by a test.
        if facts.told().is_some_and(|told| told.turned_off.contains(link.as_str())) {
            continue;
        }
        for name in names.iter().filter(|name| is_needlessly_off(device, name)) {
            evidence.push(format!("{link}: {name} is off, and can be turned on"));
            commands.push(format!("ethtool -K {link} {name} on"));
        }
    }
    if let Some(port) = tunnel.port {
        for Untold { nic, why, todo } in untold(&below, port) {
            evidence.push(format!("{nic} does not look into tunnels behind UDP port {port}: {why}"));
            commands.push(todo);
        }
    }
    let text = "Tunnelled packets cost more of the CPU than they need to.";
    let todo = format!("if nobody turned it off for a reason: {}", commands.join("; "));
    (!evidence.is_empty()).then(|| OFF.found(text, evidence, todo))
}

/// What is wished already waits for another feature, of this device or of one that it is on.
fn is_needlessly_off(device: &Device, name: &str) -> bool {
    device.features.get(name).is_some_and(|f| !f.on && !f.fixed && !f.wanted)
}

fn broken(facts: &Facts) -> Option<Finding> {
    let broken = &facts.told()?.broken_offloads;
    let text =
        "An offload of checksums does not work: packets of this node are dropped by those who get them.";
    let todo = "offrampd status says what the daemon tried against it; a newer driver or firmware of the NIC may cure it";
    (!broken.is_empty()).then(|| BROKEN.found(text, broken.iter().cloned(), todo))
}
