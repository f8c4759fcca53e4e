//! Where a VF's netdev is, and the way home.

use super::Host;
use crate::link::{self, Link, numbered};
use crate::netlink::Socket;
use crate::sysfs::locate;
use crate::{Error, Netns, Result};
use netlink_packet_route::link::LinkAttribute;
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_core::nic::PciAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What became of a netdev that is wanted home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// It was there.
    There,
    /// It has been brought, is down, and has this name, or one the kernel numbered (`ofv0`) if another link has it.
    Brought(IfName),
    /// The VF has no netdev, since it has no driver or one such as vfio-pci, or is gone.
    None,
    /// It is in a namespace that no process is in and that no known path leads to: unbinding its driver ends it.
    NotFound,
}

/// A name for the way, of no other netdev: `ofv` and the PCI address as 12 hexadecimal digits.
pub fn travel_name(pci: PciAddr) -> IfName {
    let digits: String = pci.to_string().chars().filter(char::is_ascii_hexdigit).collect();
    // A domain has 4 digits, or 8: then a hash must do.
    let name = match digits.len() {
        ..=12 => format!("ofv{digits}"),
        _ => {
            let [_, _, a, b, c, d, e, f] = fnv(&digits).to_be_bytes();
            format!("ofv{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}")
        }
    };
    #[expect(clippy::expect_used, reason = "at most 15 characters of [0-9a-z] are a name")]
    name.parse().expect("valid interface name")
}

/// FNV-1a.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Finds a VF's netdev, with its namespace unless it is the host's: in the host's, then where `hints` lead, then in
/// every namespace that has a name or a process in it.
pub(super) fn find(
    host: &Host<'_>,
    pci: PciAddr,
    hints: &[PathBuf],
) -> Result<Option<(Link, Option<Arc<Netns>>)>> {
    if let Some(netdev) = host.netdev(pci)?
        && let Some(link) = link::find_index(&mut Socket::open()?, netdev.index)?
    {
        return Ok(Some((link, None)));
    }
    if !has_netdev(host, pci)? {
        return Ok(None);
    }
    let found = locate(&host.sysfs, &host.places, &[pci], hints)?.remove(&pci);
    let home = Netns::current()?.inode();
    Ok(found.map(|at| (at.link, Some(at.netns).filter(|netns| netns.inode() != home))))
}

/// Whether its driver makes netdevs, as far as that can be told.
fn has_netdev(host: &Host<'_>, pci: PciAddr) -> Result<bool> {
    Ok(host.driver(pci)?.is_some_and(|driver| !driver.contains("vfio")))
}

/// Where a VF's netdev is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the host's namespace.
    Home,
    /// In the namespace with this inode.
    In(u64),
    /// There is none, or it cannot be found.
    Unknown,
}

/// Looks for a VF's netdev.
pub fn place(host: &Host<'_>, pci: PciAddr) -> Result<Place> {
    if host.device(pci).is_err() {
        return Ok(Place::Unknown);
    }
    Ok(match find(host, pci, &[])? {
        Some((_, None)) => Place::Home,
        Some((_, Some(netns))) => Place::In(netns.inode()),
        None => Place::Unknown,
    })
}

/// Brings a VF's netdev home to the host's namespace (the calling thread's), down, under its [`travel_name`].
pub fn bring_home(host: &Host<'_>, pci: PciAddr, hints: &[PathBuf]) -> Result<Home> {
    if matches!(host.device(pci), Err(Error::Missing { .. })) || !has_netdev(host, pci)? {
        return Ok(Home::None);
    }
    // A namespace that ends sends it home at the same moment.
    const LOOKS: usize = 3;
    for _ in 0..LOOKS {
        let Some((link, netns)) = find(host, pci, hints)? else { return Ok(Home::NotFound) };
        let Some(netns) = netns else { return Ok(Home::There) };
        let name = travel_name(pci);
        let sent = match send_home(&netns, &link, name.as_str()) {
            // Another link has that name: any will do, the cleaner gives it its own again.
            Err(e) if e.errno() == Some(Errno::EEXIST as i32) => send_home(&netns, &link, "ofv%d"),
            sent => sent,
        };
        match sent {
            Ok(()) => return Ok(Home::Brought(name)),
            Err(e) if e.errno() == Some(Errno::ENODEV as i32) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Home::NotFound)
}

/// Renames before the move, so that nobody on the host sees the pod's name.
fn send_home(netns: &Netns, link: &Link, name: &str) -> Result<()> {
    let host = Netns::current()?;
    let mut rename = numbered(link.index);
    rename.attributes.push(LinkAttribute::IfName(name.to_string()));
    let mut go = rename.clone();
    go.attributes.push(LinkAttribute::NetNsFd(host.raw_fd()));
    let what = format!("move link {} home as {name}", link.name);
    let mut socket = Socket::open_in(netns)?;
    let down = link::set_up(&link.name, numbered(link.index), false);
    let renamed = link::set(format!("set {} name {name}", link.name), rename);
    let mut outcomes = socket.batch_each(vec![down, renamed, link::set(what, go)])?;
    // The move counts.
    outcomes.pop().unwrap_or(Ok(()))
}
