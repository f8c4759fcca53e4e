//! The calls that are being served. Pods wait for them: what the daemon does besides, and can do later, begins when none is
//! under way. A call changes links and routes, of which the loops hear; on a small machine their looks would otherwise
//! fall into the call that caused them, and hold the kernel's lock of all links against it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A node that is never idle is looked after all the same.
const LONGEST: Duration = Duration::from_millis(500);

/// How many are under way.
#[derive(Debug, Default)]
pub struct Calls {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    /// How many let them pass; their test ends a call only then.
    waiting: usize,
}

/// One that is under way until it is dropped.
#[derive(Debug)]
pub struct Call<'a>(&'a Calls);

impl Calls {
    /// One begins.
    pub fn begin(&self) -> Call<'_> {
        self.lock().under_way += 1;
        Call(self)
    }

    /// Until none is under way, but not for long.
    pub fn let_pass(&self) {
        self.wait(LONGEST);
    }

    fn wait(&self, longest: Duration) {
        let mut state = self.lock();
        state.waiting += 1;
        let waited = self.ended.wait_timeout_while(state, longest, |state| state.under_way > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.under_way = state.under_way.saturating_sub(1);
        if state.under_way == 0 {
            self.0.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    /// Whether it comes true while a test can wait.
    fn comes_true(mut what: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + Duration::from_secs(30);
        while !what() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        what()
    }

    #[test]
    fn what_waits_goes_on_when_the_last_call_ends() {
        let calls = Arc::new(Calls::default());
        calls.let_pass(); // none is under way
        let (first, last) = (calls.begin(), calls.begin());
        drop(first);
        // So long that only the end of the last call can be what ends it.
        let waits = std::thread::spawn({
            let calls = calls.clone();
            move || calls.wait(Duration::from_secs(3600))
        });
        // It has let go of the mutex, so it waits.
        assert!(comes_true(|| calls.lock().waiting == 1), "it did not wait for the last call");
        drop(last);
        assert!(comes_true(|| waits.is_finished()), "it was not told");
        assert_eq!(calls.lock().waiting, 0);
    }

    #[test]
    fn a_call_that_hangs_keeps_nobody() {
        let calls = Calls::default();
        let _hangs = calls.begin();
        calls.let_pass();
        assert_eq!(calls.lock().under_way, 1);
    }
}
