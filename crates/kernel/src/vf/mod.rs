//! Virtual functions: what one is, what is set on it by its PF and on its own netdev, its driver, and where its
//! netdev is. A VF is known by its PCI address, whatever its netdev is called and wherever that has gone.

pub(crate) mod attribute;
mod bridge_vlan;
mod driver;
mod holders;
mod host_use;
mod locate;
mod mac;
mod pf_side;
mod port;
mod state;
mod switchdev;
mod sysfs;
mod vectors;

pub use driver::{bind, driver_override, reset, unbind};
pub use holders::{Holder, holders};
pub use host_use::host_use;
pub use locate::{Home, Place, bring_home, place, travel_name};
pub(crate) use mac::offer;
pub use mac::take_up_mac;
pub use offramp_core::vf::differences;
pub use port::{VfPort, is_plugged};
pub use state::{restore, state};
pub use switchdev::Representor;
pub use sysfs::Pf;
pub use vectors::{set_vectors, vectors};

use crate::sysfs::{Places, Sysfs};
use offramp_core::nic::PciAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// The node whose VFs are worked on, and how. Called from the host's network namespace.
#[derive(Debug, Clone)]
pub struct Host<'a> {
    /// Where sysfs is.
    pub sysfs: Sysfs,
    /// Where netdevs and processes are looked for.
    pub places: Places,
    /// The VFs' locks: a write that hangs in the kernel keeps the one of its VF, and the others are free for whoever
    /// takes those VFs back.
    pub locks: Vec<(PciAddr, BorrowedFd<'a>)>,
    /// How long a write that may hang is waited for.
    pub patience: Duration,
}

impl Default for Host<'_> {
    /// This machine, without locks; a driver's unbind has 10 seconds: some reset the function meanwhile.
    fn default() -> Self {
        Self {
            sysfs: Sysfs::default(),
            places: Places::default(),
            locks: Vec::new(),
            patience: Duration::from_secs(10),
        }
    }
}

impl<'a> Host<'a> {
    /// With this VF's lock held.
    pub fn with_lock(mut self, pci: PciAddr, lock: BorrowedFd<'a>) -> Self {
        self.locks.push((pci, lock));
        self
    }
}
