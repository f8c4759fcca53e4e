//! A VF's whole state, and the way back to it.

use super::locate::find;
use super::sysfs::Pf;
use super::vectors::{restore_vectors, vectors};
use super::{Host, VfPort, driver, mac};
use crate::link::{self, Link, numbered};
use crate::message::Message;
use crate::netlink::{Request, Socket};
use crate::{Error, Result};
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, Prop};
use nix::errno::Errno;
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::vf::{NetdevState, VfRef, VfState};
use std::time::{Duration, Instant};

/// The kernel puts a number in the place of `%d`.
const TEMPORARY: &str = "ofv%d";
/// How long a name is waited for that another link has.
const NAME_PATIENCE: Duration = Duration::from_secs(1);
const NAME_PAUSE: Duration = Duration::from_millis(5);

/// Reads it, wherever the VF's netdev is.
pub fn state(host: &Host<'_>, vf: &VfRef) -> Result<VfState> {
    let driver = host.driver(vf.pci)?;
    let socket = &mut Socket::open()?;
    let port = VfPort::of(host, vf)?;
    let (pf_side, representor) = (port.read(socket, vf)?, port.representor(socket)?);
    let driver_override = host.driver_override(vf.pci)?;
    let netdev = match find(host, vf.pci, &[])? {
        Some((link, _)) => Some(netdev_state(vf, &link)?),
        None => None,
    };
    let vectors = vectors(host, vf)?;
    Ok(VfState { driver, pf_side, driver_override, netdev, representor, vectors })
}

fn netdev_state(vf: &VfRef, link: &Link) -> Result<NetdevState> {
    let unfit = |why: String| Error::Unfit { what: format!("the netdev of {vf}"), why };
    let mac = <[u8; 6]>::try_from(link.mac.as_slice()).ok().and_then(|m| MacAddr::try_from(m).ok());
    let mut altnames = link.altnames.clone();
    altnames.sort_unstable();
    Ok(NetdevState {
        name: link.name.parse().map_err(|e| unfit(format!("{e}")))?,
        mac: mac.ok_or_else(|| unfit("it has no Ethernet address".into()))?,
        mtu: link.mtu,
        alias: link.alias.clone(),
        altnames,
        promisc: link.promisc,
        allmulticast: link.allmulticast,
        up: link.up,
    })
}

/// Puts a VF back, whose netdev is on the host or which has no driver: the PF's settings, the driver, the netdev's
/// attributes. Quickest when called with the driver unbound, since then the old MAC reaches the netdev as it is
/// bound. What is so already is left; verify with [`state`] and [`super::differences`].
pub fn restore(host: &Host<'_>, vf: &VfRef, before: &VfState) -> Result<()> {
    let socket = &mut Socket::open()?;
    let port = VfPort::of(host, vf)?;
    if host.driver(vf.pci)? != before.driver {
        driver::unbind(host, vf.pci)?;
    }
    restore_vectors(host, vf, before.vectors)?;
    port.restore_representor(socket, before)?;
    port.trust(socket, vf, Some(false).filter(|_| before.pf_side.trust.is_some()))?;
    port.set_back(socket, vf, &before.pf_side, before.netdev.as_ref().map(|n| n.mac))?;
    if let Some(driver) = &before.driver
        && host.driver(vf.pci)?.is_none()
    {
        driver::bind(host, vf.pci, driver)?;
    }
    if let Some(netdev) = &before.netdev {
        restore_names(socket, &mac::netdev_of_bound(host, vf.pci)?, netdev)?;
        if !mac::offer(host, socket, &port, vf, netdev.mac)? {
            mac::take_up_mac(host, socket, vf)?;
            restore_names(socket, &mac::netdev_of_bound(host, vf.pci)?, netdev)?;
        }
        // What the netdev took may have been let in by forgetting the administrative one.
        port.set_back(socket, vf, &before.pf_side, Some(netdev.mac))?;
        let now = mac::netdev_of_bound(host, vf.pci)?;
        socket.batch(vec![flags(&now.name, now.index, netdev)])?;
    }
    port.trust(socket, vf, before.pf_side.trust)?;
    // To bind a driver is to use it.
    if host.driver_override(vf.pci)? != before.driver_override {
        driver::driver_override(host, vf.pci, before.driver_override.as_deref())?;
    }
    Ok(())
}

/// Names, alias, MTU; before the MAC, since igbvf takes up an administrative one as its MTU changes.
fn restore_names(socket: &mut Socket, netdev: &Pf, before: &NetdevState) -> Result<()> {
    let name = netdev.name.as_str();
    let now = link::find_index(socket, netdev.index)?
        .ok_or_else(|| Error::Missing { what: format!("link {name}") })?;
    let change = |what: String, attribute: LinkAttribute| {
        let mut message = numbered(netdev.index);
        message.attributes.push(attribute);
        link::set(format!("set {name} {what}"), message)
    };
    let mut requests = Vec::new();
    // An own alternative name may be in the way of the name.
    let gone = now.altnames.iter().filter(|n| !before.altnames.contains(n));
    requests.extend(gone.map(|alt| altname(name, netdev.index, alt, false)));
    if now.name != before.name.as_str() {
        requests.push(link::set_up(name, numbered(netdev.index), false));
        socket.batch(std::mem::take(&mut requests))?;
        rename(socket, netdev, &before.name)?;
    }
    let missing = before.altnames.iter().filter(|n| !now.altnames.contains(n));
    requests.extend(missing.map(|alt| altname(name, netdev.index, alt, true)));
    if now.mtu != before.mtu {
        requests.push(link::set_mtu(name, numbered(netdev.index), before.mtu));
    }
    if now.alias != before.alias {
        const IFLA_IFALIAS: u16 = 20;
        let alias = before.alias.clone().unwrap_or_default();
        // Without a NUL: the kernel takes all bytes.
        let attribute = DefaultNla::new(IFLA_IFALIAS, alias.clone().into_bytes());
        requests.push(change(format!("alias {alias:?}"), LinkAttribute::Other(attribute)));
    }
    socket.batch(requests)
}

/// VFs that come back at once may have got one another's names from the kernel: each gives the one it has away before
/// it asks for its own, and waits a little for the other to do so.
fn rename(socket: &mut Socket, netdev: &Pf, name: &IfName) -> Result<()> {
    let mut to = |name: &str| {
        let mut message = numbered(netdev.index);
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        socket.batch(vec![link::set(format!("set {} name {name}", netdev.name), message)])
    };
    let taken = |renamed: &Result<()>| matches!(renamed, Err(e) if e.errno() == Some(Errno::EEXIST as i32));
    let at_once = to(name.as_str());
    if !taken(&at_once) {
        return at_once;
    }
    to(TEMPORARY)?;
    let deadline = Instant::now() + NAME_PATIENCE;
    loop {
        let renamed = to(name.as_str());
        if !taken(&renamed) || Instant::now() >= deadline {
            return renamed;
        }
        std::thread::sleep(NAME_PAUSE);
    }
}

/// Promiscuous, all multicast, up: as they were.
fn flags(name: &IfName, index: u32, before: &NetdevState) -> Request {
    let mut message = numbered(index);
    let all = [
        (LinkFlags::Promisc, before.promisc),
        (LinkFlags::Allmulti, before.allmulticast),
        (LinkFlags::Up, before.up),
    ];
    for (flag, on) in all {
        message.header.change_mask |= flag;
        message.header.flags |= if on { flag } else { LinkFlags::empty() };
    }
    link::set(format!("set {name} flags back"), message)
}

/// Adds an alternative name, or removes one.
fn altname(name: &str, index: u32, altname: &str, add: bool) -> Request {
    const RTM_NEWLINKPROP: u16 = 108;
    const RTM_DELLINKPROP: u16 = 109;
    let mut message: LinkMessage = numbered(index);
    message.attributes.push(LinkAttribute::PropList(vec![Prop::AltIfName(altname.to_owned())]));
    let body = crate::message::set_link(message).body;
    let (kind, what) = if add { (RTM_NEWLINKPROP, "add") } else { (RTM_DELLINKPROP, "remove") };
    Request::new(format!("{what} altname {altname} of {name}"), Message { kind, body }).flags(if add {
        NLM_F_CREATE | NLM_F_EXCL
    } else {
        0
    })
}
