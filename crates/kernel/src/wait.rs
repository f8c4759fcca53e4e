//! Waiting for what the kernel does behind its acknowledgements.

use crate::{Error, Result};
use std::time::{Duration, Instant};

/// Far above what was seen: the link of a VF comes some seconds after it is up where its driver looks by a timer
/// (igbvf: every 2 s, and again after a reset of its PF; 4 s were seen on a busy node).
const BOUND: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// Looks until it is `ready`; `what` is waited for at most 15 seconds.
pub(crate) fn until(what: impl FnOnce() -> String, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + BOUND;
    let mut pause = FIRST_PAUSE;
    while !ready()? {
        if Instant::now() >= deadline {
            return Err(Error::Timeout { what: what(), after: BOUND });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}
