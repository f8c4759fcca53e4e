//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// Long enough for a machine under load: only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Looks until `look` finds something. Panics with `what` if it does not for [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}
