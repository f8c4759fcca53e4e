//! Child processes that do not outlive their caller.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the child killed when the calling thread ends: what a killed plugin or daemon has begun must not go on
/// behind the back of whoever comes to take it back.
pub fn die_with_caller(command: &mut Command) -> &mut Command {
    let caller = Pid::this();
    // SAFETY: between fork and exec only prctl(2) and getppid(2) are called, which are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGKILL)?;
            // The caller may have died before.
            if getppid() == caller { Ok(()) } else { Err(Errno::ECANCELED.into()) }
        })
    }
}

/// Has the child keep `lock` open, and with it the lock (flock(2) is the open file's, whoever has it): the kernel frees a
/// dead caller's locks before it kills the caller's children. `lock` must be open until the child is started.
pub fn keep_locked<'a>(command: &'a mut Command, lock: BorrowedFd<'_>) -> &'a mut Command {
    let lock = lock.as_raw_fd();
    // SAFETY: between fork and exec only fcntl(2) is called, which is async-signal-safe, on what the caller has open.
    unsafe {
        command.pre_exec(move || {
            fcntl(BorrowedFd::borrow_raw(lock), FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::process::Stdio;

    #[test]
    fn a_lock_lasts_as_long_as_the_child_that_keeps_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().write(true).open(file.path()).unwrap();
        for keeps in [false, true] {
            let (ours, others) = (open(), open());
            ours.try_lock().unwrap();
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped()).stdout(Stdio::null());
            if keeps {
                keep_locked(&mut command, ours.as_fd());
            }
            let mut child = command.spawn().unwrap();
            drop(ours); // as the kernel does with what a dead caller had open
            if keeps {
                assert!(others.try_lock().is_err());
            } else {
                others.lock().unwrap(); // in a moment: exec(2) closes what the child does not keep
                others.unlock().unwrap();
            }
            drop(child.stdin.take());
            child.wait().unwrap();
            assert!(others.try_lock().is_ok());
        }
    }
}
