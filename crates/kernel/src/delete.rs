//! Deleting a link. The sender of RTM_DELLINK sits in the kernel's RCU barrier for some 20 ms until the
//! acknowledgement, while the link is gone from every list after half a millisecond: the notification says so.
//! A long-lived process can wait for that; a process that ends with a thread in the barrier does not die, so
//! the plugin waits for the acknowledgement.

use crate::message::{self, RTM_DELLINK};
use crate::netlink::{Request, Socket};
use crate::{Error, Result, filter, link};
use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use offramp_core::ids::IfName;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What a deletion waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The acknowledgement: the kernel is through with it.
    Ack,
    /// The notification: the link can no longer be found. Only for processes that live on.
    Notification,
}

/// Longer than the kernel takes for a thousand links at once.
const BOUND: Duration = Duration::from_secs(10);

/// Deletes a link; one that is gone is deleted.
pub fn link(socket: &mut Socket, name: &IfName, index: u32, patience: Patience) -> Result<()> {
    match patience {
        Patience::Ack => socket.batch(vec![request(name, index)]),
        Patience::Notification => until_notified(socket, name, index),
    }
}

fn request(name: &IfName, index: u32) -> Request {
    Request::new(format!("delete link {name}"), message::del_link(link::numbered(index)))
        .accept(&[Errno::ENODEV as i32])
}

fn until_notified(socket: &mut Socket, name: &IfName, index: u32) -> Result<()> {
    let what = format!("delete link {name}");
    let monitor = monitor(index).map_err(|e| Error::io(format!("{what}: open a monitor"), &e))?;
    let acked = send_aside(name.clone(), index)?;
    let deadline = Instant::now() + BOUND;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds =
            [PollFd::new(monitor.as_fd(), PollFlags::POLLIN), PollFd::new(acked.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => continue,
            Err(e) => return Err(Error::sys(what, e)),
            Ok(0) => return Err(Error::Timeout { what, after: BOUND }),
            Ok(_) => {}
        }
        let [notified, answered] = fds.map(|fd| fd.any().unwrap_or(false));
        if answered {
            return outcome(&acked, &what);
        }
        match if notified { notification(&monitor) } else { Heard::Other } {
            Heard::Gone => return Ok(()),
            // Nothing is known: look.
            Heard::Lost if link::find_index(socket, index)?.is_none() => return Ok(()),
            Heard::Lost | Heard::Other => {}
        }
    }
}

/// A socket that hears of the link's end.
fn monitor(index: u32) -> std::io::Result<RawSocket> {
    const RTNLGRP_LINK: u32 = 1;
    let mut monitor = RawSocket::new(NETLINK_ROUTE)?;
    hear_only(&monitor, index)?;
    monitor.bind(&SocketAddr::new(0, 0))?;
    monitor.add_membership(RTNLGRP_LINK)?;
    monitor.set_non_blocking(true)?;
    Ok(monitor)
}

/// Sends from a thread of its own, which then sits in the barrier; the stream carries the error number.
fn send_aside(name: IfName, index: u32) -> Result<UnixStream> {
    use std::io::Write;
    let what = format!("delete link {name}: start a thread");
    let (ours, mut theirs) = UnixStream::pair().map_err(|e| Error::io(&what, &e))?;
    let mut socket = Socket::open()?;
    let work = move || {
        let errno =
            socket.batch(vec![request(&name, index)]).err().map_or(0, |e| e.errno().unwrap_or(libc::EIO));
        // The reader may have left with the notification.
        let _ = theirs.write_all(&errno.to_ne_bytes());
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).map_err(|e| Error::io(&what, &e))?;
    Ok(ours)
}

fn outcome(mut acked: &UnixStream, what: &str) -> Result<()> {
    let mut errno = [0; 4];
    acked.read_exact(&mut errno).map_err(|e| Error::io(what, &e))?;
    match i32::from_ne_bytes(errno) {
        0 => Ok(()),
        errno => Err(Error::refused(what, errno)),
    }
}

/// What a datagram told.
enum Heard {
    /// The link is in no list any more. Looking by netlink would wait for the deletion's lock, milliseconds more.
    Gone,
    /// Datagrams were lost.
    Lost,
    /// Nothing.
    Other,
}

/// Reads one datagram; the filter lets none pass but the one that is waited for.
fn notification(monitor: &RawSocket) -> Heard {
    let mut buffer = [0u8; 8192];
    match recv(monitor.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        Ok(_) => Heard::Gone,
        Err(Errno::ENOBUFS) => Heard::Lost,
        Err(_) => Heard::Other,
    }
}

/// Has the socket hear of the end of one link, and nothing else: each of the dozen events before would wake the thread.
/// A bridge tells of its port's end, in family AF_BRIDGE, before the link's.
fn hear_only(monitor: &RawSocket, index: u32) -> std::io::Result<()> {
    filter::attach(
        monitor.as_fd(),
        &[
            filter::load_half(filter::KIND),
            filter::unless(filter::half(RTM_DELLINK), 5),
            filter::load_byte(filter::BODY),
            filter::unless(libc::AF_UNSPEC as u32, 3),
            filter::load_word(filter::BODY + 4),
            filter::unless(filter::word(index), 1),
            filter::PASS,
            filter::DROP,
        ],
    )
}
