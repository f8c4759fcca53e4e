//! How many VFs a port has.

use super::device::{Device, Sysfs};
use crate::netlink::Socket;
use crate::stubborn::{self, Written};
use crate::{Error, Result, link};
use offramp_core::nic::Port;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Gives a port `number` VFs. The number changes through 0 only (`sriov_numvfs_store`, drivers/pci/iov.c), so all VFs
/// there are go: none may be lent or in quarantine. A port that is down is brought up first: VFs' drivers ask it for
/// their addresses. Removing a VF whose vfio device is held open blocks until its holder is gone, so the writing is
/// done by a child, which is left alone if it does not come back within `deadline` for each of its writes; `keep`
/// stays open in it.
///
/// # Errors
/// With what the port can have if `number` is more, else with the driver's error number.
pub fn set_num_vfs(
    sysfs: &Sysfs,
    socket: &mut Socket,
    port: &Port,
    number: u16,
    deadline: Duration,
    keep: &[BorrowedFd<'_>],
) -> Result<Written> {
    let what = format!("set the number of VFs of {} ({}) to {number}", port.netdev, port.key.device);
    let unfit = |why: String| Error::Unfit { what: what.clone(), why };
    let netdev = link::require(socket, &port.netdev)?;
    let device = netdev.parent.as_ref().and_then(|parent| sysfs.device(parent)).map(Device::function);
    let device = device.filter(|device| device.name() == port.key.device);
    let device = device.ok_or_else(|| unfit("the link is of another device by now".into()))?;
    let present = device.num_vfs().ok_or_else(|| unfit("the device has no SR-IOV".into()))?;
    if let Some(total) = device.number::<u16>("sriov_totalvfs").filter(|total| number > *total) {
        return Err(unfit(format!("it can have at most {total}")));
    }
    if present == number {
        return Ok(Written::Done);
    }
    if number > 0 && !netdev.up {
        socket.batch(vec![link::set_up(port.netdev.as_str(), link::numbered(netdev.index), true)])?;
    }
    let path = device.path(FILE);
    let write = |value: u16| {
        let written = stubborn::write(&path, &value.to_string(), deadline, keep);
        written.map_err(|e| match e.errno() {
            Some(errno) => Error::refused(&what, errno),
            None => e,
        })
    };
    // Somebody else may be making as many: the kernel waits for them, and takes a number that is so already.
    let mut written = write(number);
    if present > 0 && matches!(&written, Err(e) if e.errno() == Some(nix::libc::EBUSY)) {
        written = match write(0)? {
            Written::Done => write(number),
            stuck => Ok(stuck),
        };
    }
    if let stuck @ Written::Stuck { .. } = written? {
        return Ok(stuck);
    }
    match device.num_vfs() {
        Some(now) if now == number => Ok(Written::Done),
        now => Err(unfit(format!("the driver took it, and has {} now", now.unwrap_or(0)))),
    }
}

const FILE: &str = "sriov_numvfs";
