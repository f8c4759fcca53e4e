//! Deleting a link. The sender of RTM_DELLINK sits in the kernel's RCU barrier for some 20 ms until the
//! acknowledgement, while the link is gone from every list after half a millisecond: the notification says so.
//! A long-lived process can wait for that; a process that ends with a thread in the barrier does not die, so
//! the plugin waits for the acknowledgement.

use crate::message::{self, RTM_DELLINK};
use crate::netlink::{Request, Socket};
use crate::{Error, Result, link};
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
    // Classic BPF over struct nlmsghdr and struct ifinfomsg. It loads big-endian numbers.
    let load = |size: u32, at: u32| step(libc::BPF_LD | size | libc::BPF_ABS, 0, at);
    let unless = |value: u32, skip: u8| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skip, value);
    let pass = |bytes: u32| step(libc::BPF_RET | libc::BPF_K, 0, bytes);
    let mut program = [
        load(libc::BPF_H, 4),
        unless(u16::from_be_bytes(RTM_DELLINK.to_ne_bytes()).into(), 5),
        load(libc::BPF_B, 16),
        unless(libc::AF_UNSPEC as u32, 3),
        load(libc::BPF_W, 20),
        unless(u32::from_be_bytes(index.to_ne_bytes()), 1),
        pass(u32::MAX),
        pass(0),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel reads one sock_fprog, and the program that it points to; both live until it returns.
    let outcome = unsafe {
        libc::setsockopt(
            monitor.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// One instruction; a comparison that fails skips `skip` more.
fn step(code: u32, skip: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: skip, k }
}
