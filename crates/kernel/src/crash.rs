//! Crash points: with the feature `crash-points`, `OFFRAMP_CRASH_AT=N` kills the process (SIGKILL, as the kernel's
//! OOM killer would) at the Nth point that it passes. A test counts up until the call survives, and so has
//! stopped it at every boundary. `OFFRAMP_CRASH_AT=NAME:N` means the Nth point of that name: the daemon's loops
//! pass points too, in no order that a test could count in. `OFFRAMP_STOP_AT` stops it instead (SIGSTOP), as if it hung.
//! Without the feature a point is nothing.

/// Passes a point. `NUMBER NAME:N` is written to the file `OFFRAMP_CRASH_TRACE`, so that a test can say where it was.
#[cfg(feature = "crash-points")]
pub fn point(name: &'static str) {
    use std::collections::HashMap;
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};
    static PASSED: Mutex<Option<HashMap<&str, u64>>> = Mutex::new(None);
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let counts = passed.get_or_insert_default();
    let now: u64 = 1 + counts.values().sum::<u64>();
    let of_name = counts.entry(name).and_modify(|n| *n += 1).or_insert(1);
    let (now, named) = (now.to_string(), format!("{name}:{of_name}"));
    if let Some(path) = std::env::var_os("OFFRAMP_CRASH_TRACE")
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{now} {named}");
    }
    use nix::sys::signal::{Signal, raise};
    for (variable, signal) in [("OFFRAMP_CRASH_AT", Signal::SIGKILL), ("OFFRAMP_STOP_AT", Signal::SIGSTOP)] {
        if std::env::var(variable).is_ok_and(|at| at == now || at == named) {
            let _ = raise(signal);
        }
    }
}

/// Passes a point: nothing, since this is not a test build.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn point(_name: &'static str) {}
