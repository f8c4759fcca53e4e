//! Hearing of what bridges learn and forget, and of ports that come and go.

use super::HEADER;
use crate::link::{IFLA_INFO_KIND, IFLA_LINKINFO, Link};
use crate::message::{Message, RTM_DELLINK, RTM_DELNEIGH, RTM_NEWLINK, RTM_NEWNEIGH, half, word};
use crate::{Error, Result, filter};
use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc::{AF_BRIDGE, sock_filter};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// RTNLGRP_LINK and RTNLGRP_NEIGH (include/uapi/linux/rtnetlink.h).
const GROUPS: [u32; 2] = [1, 3];
/// Room for bursts, in bytes; what does not fit costs one look.
const RECEIVE_BUFFER: usize = 1 << 20;
/// struct nlmsghdr
const NETLINK_HEADER: usize = 16;
const NDA_MASTER: u16 = 9;
/// struct ifinfomsg
const LINK_HEADER: u32 = 16;

/// What changes matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interest {
    /// Bridges that may get a PF behind them, and their addresses.
    pub bridges: BTreeMap<String, Vec<u8>>,
    /// The numbers of those of them that have one: what they learn matters.
    pub informed: BTreeSet<u32>,
    /// The numbers of the PFs: what others do to their filters matters, and what becomes of them.
    pub ports: BTreeSet<u32>,
}

/// A socket that hears of changes in one namespace; never blocks.
pub struct Monitor {
    raw: RawSocket,
    buffer: Vec<u8>,
    interest: Interest,
}

impl Monitor {
    /// Opens one in the calling thread's namespace. It hears from now on, so: first this, then a look at all.
    pub fn open() -> Result<Self> {
        let fail = |e: std::io::Error| Error::io("open a monitor of forwarding entries", &e);
        let mut raw = RawSocket::new(NETLINK_ROUTE).map_err(fail)?;
        filter::attach(raw.as_fd(), &of_concern()).map_err(fail)?;
        raw.bind(&SocketAddr::new(0, 0)).map_err(fail)?;
        for group in GROUPS {
            raw.add_membership(group).map_err(fail)?;
        }
        raw.set_non_blocking(true).map_err(fail)?;
        // Only root may go over the system's bound; others have its default.
        let _ = setsockopt(&raw, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        Ok(Self { raw, buffer: vec![0; 32 << 10], interest: Interest::default() })
    }

    /// Says what matters from now on.
    pub fn follow(&mut self, interest: Interest) {
        self.interest = interest;
    }

    /// Reads all that is there; whether something that matters may have changed.
    pub fn drain(&mut self) -> Result<bool> {
        let mut changed = false;
        loop {
            match recv(self.raw.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_TRUNC) {
                Ok(len) => changed |= self.buffer.get(..len).is_none_or(|bytes| self.interest.any(bytes)),
                Err(Errno::EAGAIN) => return Ok(changed),
                Err(Errno::EINTR) => {}
                // Some are lost: anything may have happened.
                Err(Errno::ENOBUFS) => changed = true,
                Err(e) => return Err(Error::sys("read from a monitor of forwarding entries", e)),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

/// What [`Interest`] may want at all. A pod that comes or goes makes a dozen messages, of which one or two pass: others are
/// about links that are veths or netkit devices, the bridge's words of its ports, and neighbours that are no bridge's entries.
fn of_concern() -> [sock_filter; 27] {
    const VETH: u32 = u32::from_be_bytes(*b"veth");
    /// The beginning of netkit.
    const NETKIT: u32 = u32::from_be_bytes(*b"netk");
    let [from, info, find_info] = filter::find(filter::BODY + LINK_HEADER, IFLA_LINKINFO);
    let [kind, find_kind, at_kind, load_kind] = filter::load_inside(IFLA_INFO_KIND);
    [
        filter::load_byte(filter::BODY),
        filter::unless(AF_BRIDGE as u32, 6),
        filter::load_half(filter::KIND),
        filter::unless(filter::half(RTM_NEWLINK), 1),
        filter::DROP,
        filter::unless(filter::half(RTM_DELLINK), 1),
        filter::DROP,
        filter::PASS,
        filter::load_half(filter::KIND),
        filter::unless(filter::half(RTM_NEWNEIGH), 1),
        filter::DROP,
        filter::unless(filter::half(RTM_DELNEIGH), 1),
        filter::DROP,
        from,
        info,
        find_info,
        filter::unless(0, 1),
        filter::PASS,
        kind,
        find_kind,
        at_kind,
        load_kind,
        filter::unless(VETH, 1),
        filter::DROP,
        filter::unless(NETKIT, 1),
        filter::DROP,
        filter::PASS,
    ]
}

impl Interest {
    /// Whether a datagram holds a message that matters.
    fn any(&self, mut rest: &[u8]) -> bool {
        while let (Some(len), Some(kind)) = (word(rest, 0), half(rest, 4)) {
            let Some(body) = rest.get(NETLINK_HEADER..len as usize) else { return true };
            if self.one(&Message { kind, body: body.to_vec() }) {
                return true;
            }
            rest = rest.get((len as usize).next_multiple_of(4)..).unwrap_or_default();
        }
        false
    }

    fn one(&self, message: &Message) -> bool {
        match message.kind {
            RTM_NEWNEIGH | RTM_DELNEIGH => self.neighbour(&message.body),
            _ => self.link(message),
        }
    }

    fn neighbour(&self, body: &[u8]) -> bool {
        let is_bridge = body.first() == Some(&(AF_BRIDGE as u8));
        let of_port = || word(body, 4).is_some_and(|index| self.ports.contains(&index));
        let of_bridge = || {
            let attributes = crate::link::attributes(body.get(HEADER..).unwrap_or_default());
            let controller =
                attributes.filter(|nla| nla.kind() == NDA_MASTER).find_map(|nla| word(nla.value(), 0));
            controller.is_some_and(|index| self.informed.contains(&index))
        };
        is_bridge && (of_port() || of_bridge())
    }

    /// Pods' links come and go by the thousand: what matters is the bridge itself, a PF, and a link that is no pod's and
    /// becomes a port.
    fn link(&self, message: &Message) -> bool {
        if message.body.first() == Some(&(AF_BRIDGE as u8)) {
            return false; // the same is told by the link itself
        }
        let link = Link::parse(&message.body);
        if let Some(mac) = self.bridges.get(&link.name) {
            return message.kind != RTM_NEWLINK || link.mac != *mac;
        }
        self.ports.contains(&link.index)
            || (link.controller.is_some() && !self.bridges.is_empty() && !link.is_pair())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc::{AF_INET, AF_UNSPEC};

    #[test]
    fn pods_links_wake_nobody() {
        let passes = |kind, family: i32, header, attributes: &[(u16, &[u8])]| {
            filter::passes(&of_concern(), &filter::message(kind, family as u8, header, attributes))
        };
        let link = |kind, family, info: Option<&[u8]>| {
            let name: (u16, &[u8]) = (3, b"of0123456789abc\0");
            let all: Vec<(u16, &[u8])> = [name].into_iter().chain(info.map(|i| (IFLA_LINKINFO, i))).collect();
            passes(kind, family, LINK_HEADER as usize, &all)
        };
        // IFLA_INFO_KIND
        let (veth, netkit) = (b"\x09\0\x01\0veth\0\0\0\0", b"\x0b\0\x01\0netkit\0\0");
        let (bridge, none) = (b"\x0b\0\x01\0bridge\0\0", b"\x05\0\x04\0x\0\0\0");
        for kind in [RTM_NEWLINK, RTM_DELLINK] {
            assert!(!link(kind, AF_UNSPEC, Some(veth)));
            assert!(!link(kind, AF_UNSPEC, Some(netkit)));
            assert!(link(kind, AF_UNSPEC, Some(bridge)));
            assert!(link(kind, AF_UNSPEC, Some(none)), "no kind");
            assert!(link(kind, AF_UNSPEC, None), "a NIC");
            assert!(!link(kind, AF_BRIDGE, None), "a port");
        }
        for kind in [RTM_NEWNEIGH, RTM_DELNEIGH] {
            assert!(passes(kind, AF_BRIDGE, HEADER, &[]));
            assert!(!passes(kind, AF_INET, HEADER, &[]));
        }
    }
}
