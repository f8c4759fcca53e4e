//! Numbers of queues, by ethtool's ioctl.

use crate::netlink::Socket;
use crate::{Error, Result};
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsFd, AsRawFd};

const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_SCHANNELS: u32 = 0x3d;

/// struct ethtool_channels (include/uapi/linux/ethtool.h)
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// Sets how many combined channels a link has.
pub fn set_combined(socket: &Socket, link: &str, count: u32) -> Result<()> {
    let what = || format!("set {link} combined channels {count}");
    let failed = |e| Error::sys(what(), e);
    let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
    ethtool(socket, link, &mut channels).map_err(failed)?;
    if channels.combined == count {
        return Ok(());
    }
    if count > channels.max_combined {
        return Err(Error::Unfit { what: what(), why: format!("it has {} at most", channels.max_combined) });
    }
    channels.command = ETHTOOL_SCHANNELS;
    channels.combined = count;
    ethtool(socket, link, &mut channels).map_err(failed)
}

/// Any socket does: the kernel passes device ioctls that the protocol does not know to the socket's namespace
/// (sock_do_ioctl, net/socket.c).
fn ethtool(socket: &Socket, link: &str, channels: &mut Channels) -> nix::Result<()> {
    // SAFETY: struct ifreq is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if link.len() >= request.ifr_name.len() {
        return Err(Errno::ENODEV);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(link.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(channels).cast();
    // SAFETY: the request lives, its name ends with NUL, and its data is the struct that both commands want.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) };
    Errno::result(result).map(drop)
}
