//! Writes that may never return: a driver's unbind, a function's reset, a number of VFs, an embedded switch's mode,
//! behind which a driver waits in the kernel for something that does not happen. A child process makes them, so that the caller can go on. A
//! child that hangs keeps the locks that it was given: whoever comes next finds the VF locked, and does not repeat
//! beside it what hangs.

use crate::{Error, Result};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// The kernel has taken it.
    Done,
    /// It has not returned by the deadline, and goes on in this process.
    Stuck {
        /// The process.
        pid: u32,
    },
}

impl Written {
    /// A write that must be through by now.
    pub fn within(self, what: impl Into<String>, after: Duration) -> Result<()> {
        match self {
            Self::Done => Ok(()),
            Self::Stuck { pid } => Err(Error::Stuck { what: what.into(), pid, after }),
        }
    }
}

/// Writes `value` to the file at `path`, which must be there, waiting for `patience` at most. The child that writes
/// keeps `keep` open and nothing else: the locks of what it works on. They must be given up by closing them, since to
/// unlock one (`LOCK_UN`, as nix's `Flock` does when dropped) takes it from the child too.
pub fn write(path: &Path, value: &str, patience: Duration, keep: &[BorrowedFd<'_>]) -> Result<Written> {
    let what = || format!("write {value:?} to {}", path.display());
    let failed = |e: Errno| Error::sys(what(), e);
    let target = CString::new(path.as_os_str().as_bytes()).map_err(|_| failed(Errno::EINVAL))?;
    by_child(&what, Target::File(&target), value.as_bytes(), patience, keep)
}

/// Sends `bytes` on a socket, likewise. The kernel executes a netlink request before its sending returns: the answer
/// to one that is [`Written::Done`] can be read.
pub(crate) fn send(
    what: &str,
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    patience: Duration,
    keep: &[BorrowedFd<'_>],
) -> Result<Written> {
    let keep: Vec<BorrowedFd<'_>> = keep.iter().copied().chain([socket]).collect();
    by_child(&|| what.to_owned(), Target::Open(socket), bytes, patience, &keep)
}

/// What a child writes to.
#[derive(Clone, Copy)]
enum Target<'a> {
    File(&'a CStr),
    Open(BorrowedFd<'a>),
}

fn by_child(
    what: &dyn Fn() -> String,
    target: Target<'_>,
    value: &[u8],
    patience: Duration,
    keep: &[BorrowedFd<'_>],
) -> Result<Written> {
    let failed = |e: Errno| Error::sys(what(), e);
    let gaps = gaps(keep);
    // SAFETY: this process may have other threads. `child` makes async-signal-safe calls only and allocates nothing:
    // all that it needs is there already. It does not return.
    let pid = match unsafe { fork() }.map_err(failed)? {
        ForkResult::Child => child(target, value, &gaps),
        ForkResult::Parent { child } => child,
    };
    let ended = ended_within(pid, patience).map_err(failed);
    if !matches!(ended, Ok(true)) {
        reap_later(pid);
    }
    if !ended? {
        return Ok(Written::Stuck { pid: pid.as_raw().cast_unsigned() });
    }
    match waitpid(pid, None).map_err(failed)? {
        WaitStatus::Exited(_, 0) => Ok(Written::Done),
        WaitStatus::Exited(_, errno) => Err(Error::refused(what(), errno)),
        other => Err(Error::Unfit { what: what(), why: format!("its process ended with {other:?}") }),
    }
}

/// The descriptors to close: all above stderr but the kept ones, as inclusive ranges.
fn gaps(keep: &[BorrowedFd<'_>]) -> Vec<(u32, u32)> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.sort_unstable();
    let (mut gaps, mut from) = (Vec::new(), 3);
    for fd in kept.into_iter().filter(|fd| *fd > 2) {
        if from < fd {
            gaps.push((from, fd - 1));
        }
        from = from.max(fd + 1);
    }
    gaps.push((from, u32::MAX));
    gaps
}

/// The child's life; its exit code is the error number. In a session of its own no terminal's or group's signal
/// reaches it; with no standard streams it does not keep the runtime waiting for the end of the plugin's output.
fn child(target: Target<'_>, value: &[u8], gaps: &[(u32, u32)]) -> ! {
    // SAFETY: setsid, open, dup2, close_range, write and _exit are async-signal-safe; the strings end with NUL, and
    // the buffer is as long as is said.
    unsafe {
        libc::setsid();
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for stream in 0..3 {
            libc::dup2(null, stream);
        }
        for (first, last) in gaps {
            libc::syscall(libc::SYS_close_range, *first, *last, 0);
        }
        let file = match target {
            Target::File(path) => libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC),
            Target::Open(file) => file.as_raw_fd(),
        };
        if file < 0 || libc::write(file, value.as_ptr().cast(), value.len()) < 0 {
            libc::_exit(Errno::last_raw());
        }
        libc::_exit(0)
    }
}

/// Whether the process ends in time.
fn ended_within(pid: Pid, patience: Duration) -> nix::Result<bool> {
    let process = pidfd(pid)?;
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
            Ok(0) if Instant::now() < deadline => {}
            Ok(ready) => return Ok(ready > 0),
        }
    }
}

fn pidfd(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: the system call takes two numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has the process leave no zombie, should it ever end. If we end before, init has it.
fn reap_later(pid: Pid) {
    let wait = move || {
        while waitpid(pid, None) == Err(Errno::EINTR) {}
    };
    // Without a thread it leaves a zombie, no more.
    let _ = std::thread::Builder::new().name("reaper".into()).stack_size(64 << 10).spawn(wait);
}

#[cfg(test)]
#[path = "stubborn_tests.rs"]
mod tests;
