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
    under_way: Mutex<usize>,
    ended: Condvar,
}

/// One that is under way until it is dropped.
#[derive(Debug)]
pub struct Call<'a>(&'a Calls);

impl Calls {
    /// One begins.
    pub fn begin(&self) -> Call<'_> {
        *self.lock() += 1;
        Call(self)
    }

    /// Until none is under way, but not for long.
    pub fn let_pass(&self) {
        let waited = self.ended.wait_timeout_while(self.lock(), LONGEST, |under_way| *under_way > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut under_way = self.0.lock();
        *under_way = under_way.saturating_sub(1);
        if *under_way == 0 {
            self.0.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn what_waits_goes_on_when_the_last_call_ends() {
        let (calls, ended) = (Calls::default(), AtomicBool::new(false));
        calls.let_pass(); // none is under way
        let (first, last) = (calls.begin(), calls.begin());
        drop(first);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                calls.let_pass();
                ended.load(Ordering::SeqCst)
            });
            ended.store(true, Ordering::SeqCst);
            drop(last);
            assert!(waits.join().unwrap(), "it did not wait for the last call");
        });
    }

    #[test]
    fn a_call_that_hangs_keeps_nobody() {
        let calls = Calls::default();
        let _hangs = calls.begin();
        calls.let_pass();
        assert_eq!(*calls.lock(), 1);
    }
}
