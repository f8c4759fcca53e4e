//! A port whose VFs are changed: locked, with all that may be in the way.

use offramp_core::lend::Taken;
use offramp_core::nic::{Eswitch, Inventory, Port, PortKey, Vf};
use offramp_core::pool::{InUse, NicChange};
use offramp_core::vf::Claim;
use offramp_kernel::netlink::Socket;
use offramp_kernel::sysfs::{Sysfs, read, set_num_vfs};
use offramp_kernel::{Error, Result, devlink, link, vf};
use offramp_ledger::{Claims, VfLock};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// A driver takes up to a second for a VF, and it may have a hundred.
const PATIENCE: Duration = Duration::from_secs(60);
/// VFs' netdevs, and a port after a change of its switch's mode, come by way of udev: it loads drivers and gives names.
const APPEARANCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
/// Is there while udev is at work (systemd, `udev_queue_get_queue_is_empty`).
const UDEV_QUEUE: &str = "/run/udev/queue";

/// A port with all VFs of its function: those go, whichever of its ports they are listed at.
pub fn whole(inventory: &Inventory, key: &PortKey) -> Option<Port> {
    let port = inventory.port(key)?.clone();
    let vfs = inventory.ports.iter().filter(|p| p.key.device == key.device).flat_map(|p| &p.vfs);
    Some(Port { vfs: vfs.cloned().collect(), ..port })
}

/// The port, locked, and its VFs, as many of them as can be.
pub struct Work {
    pub port: Port,
    claims: Vec<Claim>,
    /// What claims do not tell.
    pub in_use: Vec<InUse>,
    locks: Vec<VfLock>,
    sysfs: Sysfs,
}

impl Work {
    /// Locks what nobody else has locked. Who claims a VF does it under its lock: what is free now stays so.
    pub fn begin(sysfs: Sysfs, claims: &Claims, port_lock: VfLock, port: Port) -> Self {
        let mut work = Self { claims: Vec::new(), in_use: Vec::new(), locks: vec![port_lock], port, sysfs };
        for vf in work.port.vfs.clone() {
            let lock = claims.lock(vf.pci, Duration::ZERO);
            let by = match (claims.read(vf.pci), lock) {
                (Ok(Some(claim)), _) => {
                    work.claims.push(claim);
                    None
                }
                (Err(e), _) => Some(format!("may be somebody's: {e}")),
                (Ok(None), Err(e)) => Some(format!("is being worked on: {e}")),
                (Ok(None), Ok(lock)) => {
                    work.locks.push(lock);
                    held_open(&work.sysfs, &vf)
                }
            };
            let in_use = by.map(|by| InUse { vf: work.port.vf_ref(&vf), by });
            work.in_use.extend(in_use);
        }
        work
    }

    /// The VFs that claims name.
    pub fn taken(&self) -> Taken {
        self.claims.iter().collect()
    }

    /// Makes the change. [`Error::Stuck`]: a process that has the locks goes on with it.
    pub fn apply(&self, change: &NicChange) -> Result<()> {
        let socket = &mut Socket::open()?;
        match change.eswitch {
            None => self.set_num_vfs(socket, &self.port, change.num_vfs)?,
            Some(mode) => {
                self.set_num_vfs(socket, &self.port, 0)?;
                self.set_eswitch(socket, mode)?;
                // Its netdev may be a new one.
                let port = appeared(&self.sysfs, &self.port)?;
                self.set_num_vfs(socket, &port, change.num_vfs)?;
            }
        }
        await_netdevs(&self.sysfs, &self.port.key)?;
        if self.port.carrier { await_carrier(&self.sysfs, &self.port.key) } else { Ok(()) }
    }

    fn set_num_vfs(&self, socket: &mut Socket, port: &Port, number: u16) -> Result<()> {
        let written = set_num_vfs(&self.sysfs, socket, port, number, PATIENCE, &self.keep())?;
        written.within(format!("set the number of VFs of {} to {number}", port.netdev), PATIENCE)
    }

    fn set_eswitch(&self, socket: &mut Socket, mode: Eswitch) -> Result<()> {
        let name = &self.port.netdev;
        let parent = link::require(socket, name)?.parent;
        let parent = parent.ok_or_else(|| Error::Missing { what: format!("device of {name}") })?;
        let written = devlink::set_eswitch(&parent, mode, PATIENCE, &self.keep())?;
        written.within(format!("set the embedded switch of {name} to {mode}"), PATIENCE)
    }

    /// What a child that hangs has: nothing is tried beside it at the port, and none of its VFs is lent.
    fn keep(&self) -> Vec<BorrowedFd<'_>> {
        self.locks.iter().map(AsFd::as_fd).collect()
    }
}

/// To remove a VF whose vfio device somebody has open waits in the kernel until they let go.
fn held_open(sysfs: &Sysfs, vf: &Vf) -> Option<String> {
    let host = vf::Host { sysfs: sysfs.clone(), ..vf::Host::default() };
    let holders = vf::holders(&host, vf.pci).ok()?;
    let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| format!("is held open by {}", names.join(" and ")))
}

fn appeared(sysfs: &Sysfs, port: &Port) -> Result<Port> {
    let start = Instant::now();
    loop {
        match read(sysfs, &[])?.port(&port.key) {
            Some(port) if !udev_is_at_work() || start.elapsed() > APPEARANCE => return Ok(port.clone()),
            None if start.elapsed() > APPEARANCE => {
                return Err(Error::Missing {
                    what: format!("netdev of {} after the change of mode", port.key),
                });
            }
            _ => std::thread::sleep(PAUSE),
        }
    }
}

/// Until VFs have their netdevs, under their final names: what a VF is when it is lent is what it is put back to.
/// VFs that get no driver are not waited for longer than is said above.
fn await_netdevs(sysfs: &Sysfs, key: &PortKey) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < APPEARANCE {
        let inventory = read(sysfs, &[])?;
        let is_there = |vf: &Vf| vf.netdev.on_host().is_some() || vf.driver.as_deref() == Some("vfio-pci");
        if whole(&inventory, key).is_none_or(|port| port.vfs.iter().all(is_there)) && !udev_is_at_work() {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Some drivers reset the port for a change of its VFs: it has no link for a moment, and VFs of such a port are not lent.
fn await_carrier(sysfs: &Sysfs, key: &PortKey) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < APPEARANCE
        && read(sysfs, &[])?.port(key).is_some_and(|port| port.up && !port.carrier)
    {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn udev_is_at_work() -> bool {
    Path::new(UDEV_QUEUE).exists()
}
