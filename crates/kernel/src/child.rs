//! Child processes that do not outlive their caller.

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
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
