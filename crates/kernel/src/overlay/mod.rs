//! The overlay in the kernel: looks at what there is, has the difference to what should be computed
//! ([`offramp_core::overlay`]), and applies it. One look mends whatever was broken; a failure is reported, and
//! the rest goes on.

mod apply;
mod device;
mod tables;
mod underlay;
mod watch;

pub use underlay::{Choice, find as find_underlay};
pub use watch::{Interest, Monitor};

use crate::netlink::Socket;
use crate::sysctl::Sysctl;
use crate::{Error, Result};
use apply::Links;
use offramp_core::net::Family;
use offramp_core::overlay::{
    Desired, Dev, Mode, Node, Path, PeerPath, Settings, Underlay, desired, device::Device, diff,
};
use offramp_core::peer::Peer;

/// The outcome of one look.
#[derive(Debug, Default)]
pub struct Report {
    /// What carries the traffic; none if it was not found, or nothing is to be carried.
    pub underlay: Option<Underlay>,
    /// The VXLAN device's number.
    pub tunnel: Option<u32>,
    /// How each podCIDR of each peer is reached.
    pub paths: Vec<PeerPath>,
    /// What was changed; empty: all was well.
    pub changes: Vec<String>,
    /// How many `sendmsg` the changes to the tables took.
    pub batches: usize,
    /// What could not be done.
    pub errors: Vec<Error>,
}

/// Makes the kernel have what the peers call for, in the namespace of `socket`, which must be the calling
/// thread's too, and that of `sysctl`.
pub fn reconcile(
    socket: &mut Socket,
    settings: &Settings,
    node: &Node,
    choice: &Choice,
    sysctl: &Sysctl,
    peers: &[Peer],
) -> Report {
    let mut report = Report::default();
    let wanted = if settings.mode == Mode::None {
        Desired::default()
    } else {
        match underlay::find(socket, choice) {
            Ok(underlay) => {
                let wanted = desired(settings, node, &underlay, peers);
                report.underlay = Some(underlay);
                wanted
            }
            Err(_) if peers.is_empty() => return report,
            // What there is stays: an uplink may come back, and until then nothing can be reached anyway.
            Err(e) => {
                report.paths = all_unreachable(peers, &e);
                report.errors.push(e);
                return report;
            }
        }
    };
    if let Err(e) = put_right(socket, settings, sysctl, &wanted, &mut report) {
        report.errors.push(e);
    }
    report.paths = wanted.paths;
    report
}

fn all_unreachable(peers: &[Peer], why: &Error) -> Vec<PeerPath> {
    let path = Path::Unreachable { reason: why.to_string() };
    let of = |peer: &Peer, cidr| PeerPath { peer: peer.name.clone(), pod_cidr: cidr, path: path.clone() };
    peers.iter().flat_map(|p| p.pod_cidrs.iter().map(move |cidr| of(p, *cidr))).collect()
}

fn put_right(
    socket: &mut Socket,
    settings: &Settings,
    sysctl: &Sysctl,
    wanted: &Desired,
    report: &mut Report,
) -> Result<()> {
    report.tunnel = match &wanted.device {
        Some(device) => ensure_device(socket, sysctl, device, wanted, report),
        None => device::index_of(socket, &settings.device)?,
    };
    let links = Links { tunnel: report.tunnel, uplink: report.underlay.as_ref().map(|u| u.index) };
    let actual = tables::read(socket, &links)?;
    let changes = diff(wanted, &actual);
    apply::all(socket, settings.device.as_str(), &links, changes, report);
    // A node that lost its address for a moment keeps the device.
    if let Some(index) = report.tunnel.filter(|_| !settings.mode.tunnels()) {
        device::delete(socket, &settings.device, index)?;
        report.changes.push(format!("delete vxlan {}", settings.device));
        report.tunnel = None;
    }
    Ok(())
}

/// The device's number; none if it could not be made, and then the direct routes are made all the same. One that
/// could not be put right in everything still carries what it can.
fn ensure_device(
    socket: &mut Socket,
    sysctl: &Sysctl,
    device: &Device,
    wanted: &Desired,
    report: &mut Report,
) -> Option<u32> {
    let carries_v6 =
        wanted.routes.values().any(|r| r.dev == Dev::Tunnel && Family::of(r.dst.ip()) == Family::V6);
    let mut ensure = || {
        let index = device::ensure(socket, device, &mut report.changes)?;
        // Nodes that turn IPv6 off for new links by net.ipv6.conf.default.
        if carries_v6 && sysctl.set(&format!("ipv6/conf/{}/disable_ipv6", device.name), "0")? {
            report.changes.push(format!("enable IPv6 on {}", device.name));
        }
        Ok(index)
    };
    let ensured = ensure();
    ensured
        .or_else(|e| {
            report.errors.push(e);
            device::index_of(socket, &device.name).map(|index| index.ok_or(())).map_err(drop).flatten()
        })
        .ok()
}
