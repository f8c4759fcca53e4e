//! Writes that may block in the kernel for ever: a forked child does them.

use crate::{Error, Result};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pipe2, read, write as write_fd};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is done.
    Done,
    /// The kernel still has the child.
    Stuck {
        /// The child.
        pid: u32,
    },
}

/// Writes `value` to a file of sysfs.
pub fn write(path: &Path, value: &str, deadline: Duration, _keep: &[BorrowedFd<'_>]) -> Result<Written> {
    let what = format!("write {value} to {}", path.display());
    let c_path = std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::refused(&what, nix::libc::EINVAL))?;
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(|e| Error::sys(&what, e))?;
    // SAFETY: the child makes system calls only, on memory that was made before, and ends with _exit.
    match unsafe { fork() }.map_err(|e| Error::sys(&what, e))? {
        ForkResult::Child => {
            // SAFETY: `c_path` and `value` live, and open, write and _exit are async-signal-safe.
            let errno: i32 = unsafe {
                let fd = nix::libc::open(c_path.as_ptr(), nix::libc::O_WRONLY | nix::libc::O_CLOEXEC);
                let done = fd >= 0 && nix::libc::write(fd, value.as_ptr().cast(), value.len()) >= 0;
                if done { 0 } else { nix::errno::Errno::last_raw() }
            };
            let _ = write_fd(&theirs, &errno.to_ne_bytes());
            // SAFETY: as above.
            unsafe { nix::libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            let mut fds = [PollFd::new(ours.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(deadline).unwrap_or(PollTimeout::MAX);
            if poll(&mut fds, timeout).map_err(|e| Error::sys(&what, e))? == 0 {
                return Ok(Written::Stuck { pid: child.as_raw().cast_unsigned() });
            }
            let mut errno = [0; 4];
            let len = read(&ours, &mut errno).map_err(|e| Error::sys(&what, e))?;
            waitpid(child, None).map_err(|e| Error::sys(&what, e))?;
            match (len, i32::from_ne_bytes(errno)) {
                (4, 0) => Ok(Written::Done),
                (4, errno) => Err(Error::refused(what, errno)),
                _ => Err(Error::refused(what, nix::libc::ECHILD)),
            }
        }
    }
}
