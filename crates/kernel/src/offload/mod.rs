//! The inventory of offloads: which netdevs are looked at, and what each of them, the embedded switches and the kernel
//! can do.

mod abilities;
mod big_tcp;
mod kinds;
mod sizes;
mod switches;
mod xdp;

pub use abilities::abilities;
pub use big_tcp::big_tcp;
pub use kinds::{Wanted, wanted};
pub use sizes::{Sized, by_name as sizes_by_name, of as sizes_of, set as set_sizes};
pub use switches::switches;

use crate::ethtool::Ethtool;
use crate::netlink::Socket;
use crate::{Error, Result};
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_core::offload::Device;
use std::collections::BTreeMap;
use xdp::Netdev;

/// Reads netdevs of the calling thread's namespace, one by one.
pub struct Reader {
    links: Socket,
    ethtool: Option<Ethtool>,
    netdev: Option<Netdev>,
}

impl Reader {
    /// Opens sockets in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        Ok(Self { links: Socket::open()?, ethtool: Ethtool::open()?, netdev: Netdev::open()? })
    }

    /// What is known of a netdev; none if it is not there (any more). What a driver fails to tell is said in it.
    pub fn device(&mut self, name: &IfName, kind: &str) -> Result<Option<Device>> {
        let Some((index, sizes)) = sizes::of(&mut self.links, name)? else { return Ok(None) };
        let mut device = Device { kind: kind.to_owned(), sizes, ..Device::default() };
        let mut unread = Unread::default();
        if let Some(ethtool) = &mut self.ethtool {
            device.features = unread.note(ethtool.features(name)).flatten().unwrap_or_default();
            device.channels = unread.note(ethtool.channels(name)).flatten();
            device.rings = unread.note(ethtool.rings(name)).flatten();
            device.coalescing = unread.note(ethtool.coalescing(name)).unwrap_or_default();
            device.rss = unread.note(ethtool.rss(name)).flatten();
            device.ntuple = unread.note(ethtool.ntuple(name)).flatten();
            device.private_flags = unread.note(ethtool.private_flags(name)).unwrap_or_default();
            device.tunnel_ports = unread.note(ethtool.tunnel_ports(name)).unwrap_or_default();
        }
        if let Some(netdev) = &mut self.netdev {
            device.xdp = unread.note(netdev.xdp(name, index)).flatten();
            device.queues = unread.note(netdev.queues(name, index)).flatten();
        }
        device.unread = unread.why;
        Ok((!unread.gone).then_some(device))
    }

    /// All that are wanted, and are there.
    pub fn devices(&mut self, wanted: &[Wanted]) -> Result<BTreeMap<IfName, Device>> {
        let mut devices = BTreeMap::new();
        for Wanted { name, kind, on } in wanted {
            let device = self.device(name, kind)?.map(|device| Device { on: on.clone(), ..device });
            devices.extend(device.map(|device| (name.clone(), device)));
        }
        Ok(devices)
    }
}

/// What a device did not tell.
#[derive(Default)]
struct Unread {
    why: Vec<String>,
    gone: bool,
}

impl Unread {
    fn note<T>(&mut self, outcome: Result<T>) -> Option<T> {
        let failed = |e: &Error| {
            if e.errno() == Some(Errno::ENODEV as i32) {
                self.gone = true;
            } else {
                self.why.push(e.to_string());
            }
        };
        outcome.inspect_err(failed).ok()
    }
}
