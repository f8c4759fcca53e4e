//! The overlay in the kernel: looks at what there is, has the difference to what should be computed
//! ([`offramp_core::overlay`]), and applies it. One look mends whatever was broken; a failure is reported, and
//! the rest goes on.

mod apply;
mod device;
mod report;
mod tables;
mod underlay;
mod watch;

pub use apply::{Links, batches};
pub use device::list as vxlan_devices;
pub use report::{Changes, Report};
pub use tables::read as read_tables;
pub use underlay::{Choice, find as find_underlay};
pub use watch::{Interest, Monitor};

use crate::netlink::Socket;
use crate::sysctl::Sysctl;
use crate::{Error, Result};
use offramp_core::ids::IfName;
use offramp_core::net::Family;
use offramp_core::overlay::{Actual, Desired, Dev, Mode, Node, Settings, desired, device::Device, diff};
use offramp_core::peer::Peer;
use std::borrow::Borrow;

/// What a look is done with, all of the calling thread's namespace.
pub struct Tools<'a> {
    /// For requests.
    pub socket: &'a mut Socket,
    /// The settings.
    pub sysctl: &'a Sysctl,
    /// Who is to know what is done by ourselves.
    pub monitor: Option<&'a mut Monitor>,
}

/// Makes the kernel have what the peers call for: reads what there is, and changes what differs.
pub fn reconcile<P: Borrow<Peer>>(
    tools: &mut Tools<'_>,
    settings: &Settings,
    node: &Node,
    choice: &Choice,
    peers: &[P],
) -> Report {
    let mut report = Report::default();
    let wanted = if settings.mode == Mode::None {
        Desired::default()
    } else {
        match underlay::find(tools.socket, choice) {
            Ok(underlay) => {
                let wanted = desired(settings, node, &underlay, peers);
                report.underlay = Some(underlay);
                wanted
            }
            Err(_) if peers.is_empty() => return report,
            // What there is stays: an uplink may come back, and until then nothing can be reached anyway.
            Err(e) => {
                report.errors.push(e);
                return report;
            }
        }
    };
    if let Err(e) = put_right(tools, settings, wanted, &mut report) {
        report.errors.push(e);
    }
    report
}

/// As [`reconcile`] where since a look, that left no fault, nothing has changed but that peers are gone and others new: sends
/// what these call for, and reads nothing. `last` is the report of that look.
pub fn follow<P: Borrow<Peer>>(
    tools: &mut Tools<'_>,
    settings: &Settings,
    node: &Node,
    last: &Report,
    (gone, new): (&[P], &[P]),
) -> Report {
    let mut report = Report { underlay: last.underlay.clone(), tunnel: last.tunnel, ..Report::default() };
    let Some(underlay) = &last.underlay else { return report };
    let (had, wanted) = (desired(settings, node, underlay, gone), desired(settings, node, underlay, new));
    if let Err(e) = enable_v6(tools.sysctl, &settings.device, &wanted, &mut report.changes) {
        report.errors.push(e);
    }
    if let Some(monitor) = &mut tools.monitor {
        monitor.expect_change(&had, &wanted);
    }
    let (had, links) = (Actual::from(had), links(&report));
    apply::all(tools, settings.device.as_str(), &links, diff(&wanted, &had), &mut report);
    report
}

fn links(report: &Report) -> Links {
    Links { tunnel: report.tunnel, uplink: report.underlay.as_ref().map(|u| u.index) }
}

fn put_right(tools: &mut Tools<'_>, settings: &Settings, wanted: Desired, report: &mut Report) -> Result<()> {
    report.tunnel = match &wanted.device {
        Some(device) => ensure_device(tools, device, &wanted, report),
        None => device::index_of(tools.socket, &settings.device)?,
    };
    let links = links(report);
    let has = tables::read(tools.socket, &links)?;
    if let Some(monitor) = &mut tools.monitor {
        monitor.expect(report.tunnel, &wanted);
    }
    apply::all(tools, settings.device.as_str(), &links, diff(&wanted, &has), report);
    // A node that lost its address for a moment keeps the device.
    if let Some(index) = report.tunnel.filter(|_| !settings.mode.tunnels()) {
        device::delete(tools.socket, &settings.device, index)?;
        report.changes.note(&format_args!("delete vxlan {}", settings.device));
        report.tunnel = None;
    }
    Ok(())
}

/// The device's number; none if it could not be made, and then the direct routes are made all the same. One that
/// could not be put right in everything still carries what it can.
fn ensure_device(
    tools: &mut Tools<'_>,
    device: &Device,
    wanted: &Desired,
    report: &mut Report,
) -> Option<u32> {
    let mut ensure = || {
        let index = device::ensure(tools.socket, device, &mut report.changes)?;
        enable_v6(tools.sysctl, &device.name, wanted, &mut report.changes)?;
        Ok(index)
    };
    let ensured = ensure();
    ensured
        .or_else(|e: Error| {
            report.errors.push(e);
            device::index_of(tools.socket, &device.name).map(|index| index.ok_or(())).map_err(drop).flatten()
        })
        .ok()
}

/// For nodes that turn IPv6 off for new links by net.ipv6.conf.default.
fn enable_v6(sysctl: &Sysctl, device: &IfName, wanted: &Desired, changes: &mut Changes) -> Result<()> {
    let carries_v6 =
        wanted.routes.values().any(|r| r.dev == Dev::Tunnel && Family::of(r.dst.ip()) == Family::V6);
    if carries_v6 && sysctl.set(&format!("ipv6/conf/{device}/disable_ipv6"), "0")? {
        changes.note(&format_args!("enable IPv6 on {device}"));
    }
    Ok(())
}
