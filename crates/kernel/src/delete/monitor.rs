//! Sockets that hear of links' ends. They are kept for the next deletion: attaching a filter, which the kernel compiles,
//! costs more than all else about one. While nobody uses it, a socket is in no group, so that it hears nothing.

use crate::filter;
use crate::message::{RTM_DELLINK, half, word};
use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

const RTNLGRP_LINK: u32 = 1;
/// As many are kept.
const MAX_IDLE: usize = 8;
/// include/uapi/asm-generic/socket.h
const SO_NETNS_COOKIE: libc::c_int = 71;
/// Where struct ifinfomsg has the index, behind struct nlmsghdr.
const INDEX: usize = filter::BODY as usize + 4;

static IDLE: Mutex<Vec<Monitor>> = Mutex::new(Vec::new());

/// A socket that hears of the ends of links in one namespace.
pub(super) struct Monitor {
    socket: RawSocket,
    /// Its namespace; none on kernels that do not tell: then it is not kept.
    netns: Option<u64>,
}

/// What a datagram told.
pub(super) enum Heard {
    /// The link is in no list any more. Looking by netlink would wait for the deletion's lock, milliseconds more.
    Gone,
    /// Datagrams were lost.
    Lost,
    /// Nothing of this link.
    Other,
}

impl Monitor {
    /// One for the namespace of `beside`, which is the calling thread's.
    pub(super) fn take(beside: BorrowedFd<'_>) -> io::Result<Self> {
        let netns = cookie(beside);
        let monitor = match kept(netns) {
            Some(monitor) => monitor,
            None => Self { socket: open()?, netns },
        };
        // What came to the last user, behind what it waited for.
        while matches!(monitor.receive(&mut [0; 64]), Ok(_) | Err(Errno::ENOBUFS)) {}
        monitor.socket.add_membership(RTNLGRP_LINK)?;
        Ok(monitor)
    }

    /// Keeps it for the next one.
    pub(super) fn give_back(self) {
        if self.netns.is_none() || self.socket.drop_membership(RTNLGRP_LINK).is_err() {
            return;
        }
        let mut idle = idle();
        if idle.len() < MAX_IDLE {
            idle.push(self);
        }
    }

    /// Reads one datagram; the filter lets none pass but the ends of links.
    pub(super) fn hear(&self, index: u32) -> Heard {
        let mut start = [0; 64];
        match self.receive(&mut start) {
            Ok(_) if half(&start, filter::KIND as usize) != Some(RTM_DELLINK) => Heard::Other,
            Ok(_) if word(&start, INDEX) == Some(index) => Heard::Gone,
            Err(Errno::ENOBUFS) => Heard::Lost,
            Ok(_) | Err(_) => Heard::Other,
        }
    }

    /// The datagram's rest is dropped.
    fn receive(&self, start: &mut [u8]) -> nix::Result<usize> {
        recv(self.socket.as_raw_fd(), start, MsgFlags::empty())
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn idle() -> MutexGuard<'static, Vec<Monitor>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kept(netns: Option<u64>) -> Option<Monitor> {
    let mut idle = idle();
    let at = idle.iter().position(|m| m.netns == netns)?;
    Some(idle.swap_remove(at))
}

/// Each of the dozen events before the end of a link would wake the thread. A bridge tells of its port's end, in
/// family AF_BRIDGE, before the link's.
fn open() -> io::Result<RawSocket> {
    let mut socket = RawSocket::new(NETLINK_ROUTE)?;
    filter::attach(
        socket.as_fd(),
        &[
            filter::load_half(filter::KIND),
            filter::unless(filter::half(RTM_DELLINK), 3),
            filter::load_byte(filter::BODY),
            filter::unless(libc::AF_UNSPEC as u32, 1),
            filter::PASS,
            filter::DROP,
        ],
    )?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// What no other namespace has or had since the machine was started (Linux 5.14).
fn cookie(socket: BorrowedFd<'_>) -> Option<u64> {
    let mut cookie = 0u64;
    let mut len = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which is the number's size, and `len` itself.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    (outcome == 0 && len as usize == size_of_val(&cookie)).then_some(cookie)
}
