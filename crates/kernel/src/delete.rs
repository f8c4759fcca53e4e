//! Deleting a link. The sender of RTM_DELLINK sits in the kernel's RCU barrier for some 20 ms until the
//! acknowledgement, while the link is gone from every list after half a millisecond: the notification says so.
//! A long-lived process can wait for that; a process that ends with a thread in the barrier does not die, so
//! the plugin waits for the acknowledgement.

mod monitor;

use crate::message;
use crate::netlink::{Request, Socket};
use crate::{Error, Result, aside, link};
use monitor::{Heard, Monitor};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use offramp_core::ids::IfName;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
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
    let monitor =
        Monitor::take(socket.as_fd()).map_err(|e| Error::io(format!("{what}: open a monitor"), &e))?;
    let answer = send_aside(name.clone(), index)?;
    let deadline = Instant::now() + BOUND;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [
            PollFd::new(monitor.as_fd(), PollFlags::POLLIN),
            PollFd::new(answer.rung.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => continue,
            Err(e) => return Err(Error::sys(what, e)),
            Ok(0) => return Err(Error::Timeout { what, after: BOUND }),
            Ok(_) => {}
        }
        let [notified, answered] = fds.map(|fd| fd.any().unwrap_or(false));
        if answered {
            monitor.give_back();
            return match answer.errno.load(Ordering::Acquire) {
                0 => Ok(()),
                errno => Err(Error::refused(what, errno)),
            };
        }
        let gone = match if notified { monitor.hear(index) } else { Heard::Other } {
            Heard::Gone => true,
            // Nothing is known: look.
            Heard::Lost => link::find_index(socket, index)?.is_none(),
            Heard::Other => false,
        };
        if gone {
            monitor.give_back();
            return Ok(());
        }
    }
}

/// The kernel's answer to a request that somebody else sends.
struct Answer {
    errno: AtomicI32,
    rung: EventFd,
}

/// Sends from another thread, which then sits in the barrier.
fn send_aside(name: IfName, index: u32) -> Result<Arc<Answer>> {
    let what = format!("delete link {name}: start a thread");
    let rung = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(|e| Error::sys(what.as_str(), e))?;
    let answer = Arc::new(Answer { errno: AtomicI32::new(0), rung });
    let (told, mut socket) = (answer.clone(), Socket::open()?);
    let work = move || {
        let outcome = socket.batch(vec![request(&name, index)]);
        let errno = outcome.err().map_or(0, |e| e.errno().unwrap_or(libc::EIO));
        told.errno.store(errno, Ordering::Release);
        // Who asked may have left with the notification.
        let _ = told.rung.write(1);
    };
    aside::run(work).map_err(|e| Error::io(&what, &e))?;
    Ok(answer)
}
