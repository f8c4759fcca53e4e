//! What netlink does not do, or not on every kernel.

use crate::netlink::Socket;
use nix::errno::Errno;
use nix::libc;
use offramp_core::ids::IfName;
use std::os::fd::{AsFd, AsRawFd};

/// Asks `SIOCETHTOOL` of a device. The words are the struct of the command that is in the first of them, with the room for
/// a list that it tells of. Any socket does for an ioctl of devices (sock_do_ioctl, net/socket.c).
pub(super) fn ask(socket: &Socket, device: &IfName, words: &mut [u32]) -> nix::Result<()> {
    // SAFETY: struct ifreq is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // An interface's name has at most 15 bytes, so that it ends with a zero.
    for (to, from) in request.ifr_name.iter_mut().zip(device.as_str().bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: the request lives, its name ends with NUL, and its data is the struct that the command wants.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) };
    Errno::result(result).map(drop)
}
