//! Hearing of what somebody has set by ethtool: the family's group `monitor`
//! (Documentation/networking/ethtool-netlink.rst, "Notifications").

use super::{A_HEADER, A_HEADER_DEV_NAME};
use crate::generic::{Family, attribute, value_of};
use crate::message::{Message, half, word};
use crate::{Error, Result, link};
use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_GENERIC};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};

const GROUP: &str = "monitor";
/// struct nlmsghdr
const HEADER: usize = 16;

/// A socket that hears of changes in one namespace.
pub struct Monitor {
    raw: RawSocket,
    buffer: Vec<u8>,
}

/// What was heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// The devices of which something is otherwise now: features, channels, rings, ...
    pub devices: BTreeSet<String>,
    /// Some was lost: it may be any device.
    pub lost: bool,
}

impl Monitor {
    /// Opens one in the calling thread's namespace; none before Linux 5.6. It hears from now on, so: first this, then a
    /// look at all.
    pub fn open() -> Result<Option<Self>> {
        let Some(group) = Family::open("ethtool")?.and_then(|family| family.group(GROUP)) else {
            return Ok(None);
        };
        let fail = |e: std::io::Error| Error::io("open a monitor of ethtool's", &e);
        let mut raw = RawSocket::new(NETLINK_GENERIC).map_err(fail)?;
        raw.bind(&SocketAddr::new(0, 0)).map_err(fail)?;
        raw.add_membership(group).map_err(fail)?;
        raw.set_non_blocking(true).map_err(fail)?;
        Ok(Some(Self { raw, buffer: vec![0; 32 << 10] }))
    }

    /// Waits until there is something, and reads all of it.
    pub fn wait(&mut self) -> Result<Heard> {
        let mut fds = [PollFd::new(self.raw.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => self.drain(),
            Err(e) => Err(Error::sys("wait for changes by ethtool", e)),
        }
    }

    fn drain(&mut self) -> Result<Heard> {
        let mut heard = Heard::default();
        loop {
            match recv(self.raw.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_TRUNC) {
                Ok(len) => match self.buffer.get(..len) {
                    Some(datagram) => heard.note(datagram),
                    None => heard.lost = true,
                },
                Err(Errno::EAGAIN) => return Ok(heard),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => heard.lost = true,
                Err(e) => return Err(Error::sys("read from a monitor of ethtool's", e)),
            }
        }
    }
}

impl Heard {
    /// Every message begins with a header that names the device, in the first attribute.
    fn note(&mut self, mut rest: &[u8]) {
        while let (Some(len), Some(kind)) = (word(rest, 0), half(rest, 4)) {
            let Some(body) = rest.get(HEADER..len as usize) else { return self.lost = true };
            let message = Message { kind, body: body.to_vec() };
            let name = attribute(&message, A_HEADER).and_then(|header| value_of(&header, A_HEADER_DEV_NAME));
            self.devices.extend(name.map(|name| link::text(&name)));
            rest = rest.get((len as usize).next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::about;
    use super::*;

    #[test]
    fn messages_name_their_devices() {
        let message = |device: &str| {
            let body = [vec![11, 1, 0, 0], about(&device.parse().unwrap()).0].concat();
            let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
            message.extend([0; HEADER - 4]);
            message.extend(body);
            message
        };
        let mut heard = Heard::default();
        heard.note(&[message("nic0"), message("offramp-vxlan"), message("nic0")].concat());
        let devices = ["nic0", "offramp-vxlan"].map(str::to_owned).into();
        assert_eq!(heard, Heard { devices, lost: false });
        let mut torn = Heard::default();
        torn.note(&message("nic0")[..20]);
        assert!(torn.lost);
    }
}
