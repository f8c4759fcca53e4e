//! Rules that steer flows (`ethtool -n`): netlink does not tell of them, so this is the only ioctl.

use crate::netlink::Socket;
use crate::{Error, Result};
use nix::errno::Errno;
use nix::libc;
use offramp_core::ids::IfName;
use offramp_core::offload::Ntuple;
use std::os::fd::{AsFd, AsRawFd};

const ETHTOOL_GRXCLSRLCNT: u32 = 0x2e;
/// In `data`: the driver chooses places by itself. It is no part of the number.
const RX_CLS_LOC_SPECIAL: u64 = 0x8000_0000;

/// struct ethtool_rxnfc (include/uapi/linux/ethtool.h)
#[repr(C)]
struct Rxnfc {
    command: u32,
    flow_type: u32,
    data: u64,
    /// struct ethtool_rx_flow_spec
    flow: [u64; 21],
    rules: u32,
}

/// How many rules a device has, and room for; none if its driver has no rules. Any socket does for an ioctl of devices
/// (sock_do_ioctl, net/socket.c).
pub(super) fn rules(socket: &Socket, device: &IfName) -> Result<Option<Ntuple>> {
    let mut ask = Rxnfc { command: ETHTOOL_GRXCLSRLCNT, flow_type: 0, data: 0, flow: [0; 21], rules: 0 };
    // SAFETY: struct ifreq is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // An interface's name has at most 15 bytes, so that it ends with a zero.
    for (to, from) in request.ifr_name.iter_mut().zip(device.as_str().bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut ask).cast();
    // SAFETY: the request lives, its name ends with NUL, and its data is the struct that the command wants.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) };
    match Errno::result(result) {
        Ok(_) => {
            let room = u32::try_from(ask.data & !RX_CLS_LOC_SPECIAL).ok().filter(|room| *room > 0);
            Ok(Some(Ntuple { rules: ask.rules, room }))
        }
        // Some drivers know rules of hashing only, and say so in one of these ways.
        Err(Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(None),
        Err(e) => Err(Error::sys(format!("read the number of flow rules of {device}"), e)),
    }
}
