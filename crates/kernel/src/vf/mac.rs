//! How a new MAC reaches a VF's netdev. Drivers differ: most let the VF take the address that its PF has set for it;
//! igbvf refuses even that one, and hears of it only when it is bound anew, which takes a hundred times as long.

use super::sysfs::Pf;
use super::{Host, VfPort, driver};
use crate::link::{self, numbered};
use crate::netlink::{Request, Socket};
use crate::{Error, Result, wait};
use netlink_packet_route::link::LinkAttribute;
use offramp_core::ids::MacAddr;
use offramp_core::nic::PciAddr;
use offramp_core::vf::VfRef;

/// Offers a MAC to the VF's netdev before the PF sets it: then nothing forbids the VF to take it, unless an earlier
/// administrative one does, which is forgotten then. Whether the netdev has it; if not, it is to be bound anew later.
pub(crate) fn offer(
    host: &Host<'_>,
    socket: &mut Socket,
    port: &VfPort,
    vf: &VfRef,
    mac: MacAddr,
) -> Result<bool> {
    let Some(netdev) = host.netdev(vf.pci)? else { return Ok(false) };
    Ok(takes(socket, &netdev, mac)? || port.forget_mac(socket, vf) && takes(socket, &netdev, mac)?)
}

/// Has the VF's netdev take up the MAC that the VF's port has for it. Trust is off meanwhile: a trusted VF would
/// tell its PF the old one.
pub fn take_up_mac(host: &Host<'_>, socket: &mut Socket, vf: &VfRef) -> Result<()> {
    let port = VfPort::of(host, vf)?;
    let side = port.read(socket, vf)?;
    let what = || format!("the netdev of {vf}");
    let netdev = host.netdev(vf.pci)?.ok_or_else(|| Error::Missing { what: what() })?;
    if let Some(mac) = side.mac
        && takes(socket, &netdev, mac)?
    {
        return Ok(());
    }
    if side.trust == Some(true) {
        port.trust(socket, vf, Some(false))?;
    }
    let bound = rebind(host, vf.pci);
    port.trust(socket, vf, side.trust)?;
    let netdev = bound?;
    match (side.mac, link::find_index(socket, netdev.index)?) {
        (Some(mac), Some(now)) if !now.has_mac(mac) => {
            Err(Error::Unfit { what: what(), why: format!("it does not take up the MAC {mac}, bound anew") })
        }
        _ => Ok(()),
    }
}

/// Whether the netdev has the MAC, or takes it. It is down afterwards, if it had to take it.
fn takes(socket: &mut Socket, netdev: &Pf, mac: MacAddr) -> Result<bool> {
    let has =
        |socket: &mut Socket| Ok(link::find_index(socket, netdev.index)?.is_some_and(|l| l.has_mac(mac)));
    if has(socket)? {
        return Ok(true);
    }
    let name = netdev.name.as_str();
    // Many drivers change it only while down.
    let requests = vec![link::set_up(name, numbered(netdev.index), false), set_mac(netdev, mac)];
    Ok(socket.batch(requests).is_ok() && has(socket)?)
}

fn set_mac(netdev: &Pf, mac: MacAddr) -> Request {
    let mut message = numbered(netdev.index);
    message.attributes.push(LinkAttribute::Address(mac.octets().to_vec()));
    link::set(format!("set {} address {mac}", netdev.name), message)
}

/// Binds the driver that the VF has anew.
fn rebind(host: &Host<'_>, pci: PciAddr) -> Result<Pf> {
    let what = || format!("PCI device {pci}'s driver");
    let driver = host.driver(pci)?.ok_or_else(|| Error::Missing { what: what() })?;
    driver::unbind(host, pci)?;
    driver::bind(host, pci, &driver)?;
    netdev_of_bound(host, pci)
}

/// The netdev of a device that was just bound: some drivers make it a little later.
pub(super) fn netdev_of_bound(host: &Host<'_>, pci: PciAddr) -> Result<Pf> {
    let mut found = None;
    wait::until(
        || format!("the netdev of {pci}"),
        || {
            found = host.netdev(pci)?;
            Ok(found.is_some())
        },
    )?;
    found.ok_or_else(|| Error::Missing { what: format!("the netdev of {pci}") })
}
