//! Hearing of changes of NICs: devices by uevents, their links by netlink.

use crate::filter;
use crate::link::{IFLA_PARENT_DEV_NAME, Link};
use crate::message::{RTM_DELLINK, RTM_NEWLINK, half, word};
use crate::{Error, Result};
use netlink_sys::protocols::{NETLINK_KOBJECT_UEVENT, NETLINK_ROUTE};
use netlink_sys::{Socket as RawSocket, SocketAddr};
use nix::errno::Errno;
use nix::libc::sock_filter;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// The kernel's own events (lib/kobject_uevent.c); udev's come as group 2.
const UEVENT_GROUP: u32 = 1;
const RTNLGRP_LINK: u32 = 1;
/// Room for bursts, in bytes; what does not fit costs one look.
const RECEIVE_BUFFER: usize = 1 << 20;
/// struct nlmsghdr
const HEADER: usize = 16;
/// struct ifinfomsg
const LINK_HEADER: u32 = 16;

/// Two sockets that hear of changes; never block but in [`Monitor::wait`].
pub struct Monitor {
    uevents: RawSocket,
    links: RawSocket,
    buffer: Vec<u8>,
    /// The links that have devices, as they were told last.
    known: BTreeMap<u32, Link>,
}

impl Monitor {
    /// Opens them in the calling thread's namespace. They hear from now on, so: first this, then a look at all.
    pub fn open() -> Result<Self> {
        let buffer = vec![0; 32 << 10];
        let uevents = socket(NETLINK_KOBJECT_UEVENT, UEVENT_GROUP)?;
        let links = socket(NETLINK_ROUTE, RTNLGRP_LINK)?;
        filter::attach(links.as_fd(), &of_devices())
            .and_then(|()| filter::attach(uevents.as_fd(), &but_virtual()))
            .map_err(|e| Error::io("filter a monitor of NICs", &e))?;
        Ok(Self { uevents, links, buffer, known: BTreeMap::new() })
    }

    /// Until there is something to drain, or `patience` ends; whether there is something.
    pub fn wait(&self, patience: Duration) -> bool {
        let mut fds =
            [&self.uevents, &self.links].map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        poll(&mut fds, PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX)).is_ok_and(|n| n > 0)
    }

    /// Reads all that is there; whether a NIC may have changed.
    pub fn drain(&mut self) -> Result<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let devices = drain(&self.uevents, &mut buffer, uevent_matters);
        let known = &mut self.known;
        let links = drain(&self.links, &mut buffer, |datagram| link_matters(known, datagram));
        self.buffer = buffer;
        Ok(devices? | links?)
    }
}

fn socket(protocol: isize, group: u32) -> Result<RawSocket> {
    let fail = |e: std::io::Error| Error::io("open a monitor of NICs", &e);
    let mut socket = RawSocket::new(protocol).map_err(fail)?;
    socket.bind(&SocketAddr::new(0, 0)).map_err(fail)?;
    socket.add_membership(group).map_err(fail)?;
    socket.set_non_blocking(true).map_err(fail)?;
    // Only root may go over the system's bound; others have its default.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    Ok(socket)
}

fn drain(socket: &RawSocket, buffer: &mut [u8], mut matters: impl FnMut(&[u8]) -> bool) -> Result<bool> {
    let mut changed = false;
    loop {
        match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC) {
            Ok(len) => changed |= buffer.get(..len).is_none_or(&mut matters),
            Err(Errno::EAGAIN) => return Ok(changed),
            Err(Errno::EINTR) => {}
            // Some are lost: anything may have happened.
            Err(Errno::ENOBUFS) => changed = true,
            Err(e) => return Err(Error::sys("read from a monitor of NICs", e)),
        }
    }
}

/// `ACTION@DEVPATH`, then `KEY=VALUE`s, each with a zero behind it: devices that come, go, change, or are bound.
fn uevent_matters(datagram: &[u8]) -> bool {
    let mut fields = datagram.split(|byte| *byte == 0);
    let device =
        fields.next().and_then(|head| head.splitn(2, |byte| *byte == b'@').nth(1)).unwrap_or_default();
    let subsystem = fields.find_map(|field| field.strip_prefix(b"SUBSYSTEM=")).unwrap_or_default();
    let is_nic = matches!(subsystem, b"pci" | b"net" | b"virtio" | b"netdevsim");
    is_nic && !device.starts_with(b"/devices/virtual/")
}

/// Drops `add@/devices/virtual/...` and `remove@/devices/virtual/...`: every pod's link makes three of each.
fn but_virtual() -> [sock_filter; 11] {
    const VIR: u32 = u32::from_be_bytes(*b"/vir");
    const TUAL: u32 = u32::from_be_bytes(*b"tual");
    let after = |action: &str| (action.len() + "@/devices".len()) as u32;
    let (add, remove) = (after("add"), after("remove"));
    [
        filter::load_word(add),
        filter::unless(VIR, 3),
        filter::load_word(add + 4),
        filter::unless(TUAL, 1),
        filter::DROP,
        filter::load_word(remove),
        filter::unless(VIR, 3),
        filter::load_word(remove + 4),
        filter::unless(TUAL, 1),
        filter::DROP,
        filter::PASS,
    ]
}

/// Links without devices are pods' and bridges': a busy node has thousands of them a minute, and none wakes us.
fn of_devices() -> [sock_filter; 6] {
    let [from, attribute, find] = filter::find(filter::BODY + LINK_HEADER, IFLA_PARENT_DEV_NAME);
    [from, attribute, find, filter::unless(0, 1), filter::DROP, filter::PASS]
}

fn link_matters(known: &mut BTreeMap<u32, Link>, mut rest: &[u8]) -> bool {
    let mut changed = false;
    while let (Some(len), Some(kind)) = (word(rest, 0), half(rest, 4)) {
        let Some(body) = rest.get(HEADER..len as usize) else { return true };
        // Bridges speak of their ports in a family of their own, with a part of what there is to tell.
        let whole = body.first() == Some(&(nix::libc::AF_UNSPEC as u8));
        let link = Link::parse(body);
        changed |= match kind {
            RTM_NEWLINK if whole && link.parent.is_some() => {
                known.insert(link.index, link.clone()) != Some(link)
            }
            RTM_DELLINK if whole => known.remove(&link.index).is_some() || link.parent.is_some(),
            _ => false,
        };
        rest = rest.get((len as usize).next_multiple_of(4)..).unwrap_or_default();
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uevents_of_devices_matter() {
        let event = |path: &str, subsystem: &str| {
            let text = format!("add@{path}\0ACTION=add\0DEVPATH={path}\0SUBSYSTEM={subsystem}\0SEQNUM=7\0");
            filter::passes(&but_virtual(), text.as_bytes()) && uevent_matters(text.as_bytes())
        };
        assert!(event("/devices/pci0000:00/0000:01:10.0", "pci"));
        assert!(event("/devices/pci0000:00/0000:01:10.0/net/eth0", "net"));
        assert!(!event("/devices/virtual/net/veth0", "net"));
        assert!(!event("/devices/virtual/net/veth0/queues/rx-0", "queues"));
        assert!(!event("/devices/pci0000:00/0000:00:03.0/virtio1/block/vda", "block"));
        assert!(!uevent_matters(b"libudev\0"));
        for action in ["add", "remove"] {
            let event = |path: &str| format!("{action}@/devices/{path}/net/nic0\0SUBSYSTEM=net\0");
            assert!(!filter::passes(&but_virtual(), event("virtual").as_bytes()), "a pod's wakes nobody");
            assert!(filter::passes(&but_virtual(), event("virtio").as_bytes()));
            assert!(filter::passes(&but_virtual(), event("pci0000:00/0000:01:10.0").as_bytes()));
        }
        assert!(!uevent_matters(b""));
    }

    /// struct nlmsghdr, struct ifinfomsg, IFLA_IFNAME, and if there is one the parent.
    fn message(kind: u16, index: u32, mtu: u32, parent: Option<&str>) -> Vec<u8> {
        let mut body = vec![0; 16];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        let mut attribute = |kind: u16, value: &[u8]| {
            body.extend((4 + value.len() as u16).to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(value);
            body.resize(body.len().next_multiple_of(4), 0);
        };
        attribute(3, b"nic0\0");
        attribute(4, &mtu.to_ne_bytes());
        if let Some(parent) = parent {
            attribute(56, parent.as_bytes());
        }
        let mut message = (HEADER as u32 + body.len() as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message
    }

    #[test]
    fn links_of_devices_matter_when_they_change() {
        let mut known = BTreeMap::new();
        let mut hear = |kind, index, mtu, parent| {
            let message = message(kind, index, mtu, parent);
            assert_eq!(filter::passes(&of_devices(), &message), parent.is_some());
            link_matters(&mut known, &message)
        };
        let nic = Some("0000:01:00.0\0");
        assert!(!hear(RTM_NEWLINK, 9, 1500, None), "a pod's");
        assert!(!hear(RTM_DELLINK, 9, 1500, None), "a pod's");
        assert!(hear(RTM_NEWLINK, 2, 1500, nic));
        assert!(!hear(RTM_NEWLINK, 2, 1500, nic), "nothing new");
        assert!(hear(RTM_NEWLINK, 2, 9000, nic));
        assert!(hear(RTM_DELLINK, 2, 9000, nic));
        assert!(hear(RTM_NEWLINK, 2, 9000, nic), "it came back");
    }
}
