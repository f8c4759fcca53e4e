//! Crash points: with the feature `crash-points`, `OFFRAMP_CRASH_AT=N` kills the process (SIGKILL, as the kernel's
//! OOM killer would) at the Nth point that it passes. A test counts up until the call survives, and so has
//! stopped it at every boundary. Without the feature a point is nothing.

/// Passes a point. `name` is written to the file `OFFRAMP_CRASH_TRACE`, so that a test can say where it was.
#[cfg(feature = "crash-points")]
pub fn point(name: &str) {
    use std::io::Write;
    use std::sync::atomic::{AtomicU64, Ordering};
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let now = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    if let Some(path) = std::env::var_os("OFFRAMP_CRASH_TRACE")
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{now} {name}");
    }
    if std::env::var("OFFRAMP_CRASH_AT").ok().and_then(|n| n.parse().ok()) == Some(now) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Passes a point: nothing, since this is not a test build.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn point(_name: &str) {}
