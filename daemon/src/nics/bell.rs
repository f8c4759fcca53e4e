//! Has a loop look again.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Rung by whoever knows that something changed; what rings before the loop waits is heard too.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    /// Has the loop look.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_all();
    }

    /// Until somebody rings.
    pub fn wait(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rung {
            rung = self.heard.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
        *rung = false;
    }

    /// Until somebody rings, or `longest` is over.
    pub fn wait_for(&self, longest: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_timeout_while(rung, longest, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rang_before_is_heard_once() {
        let bell = Bell::default();
        bell.ring();
        bell.ring();
        bell.wait();
        assert!(!*bell.rung.lock().unwrap());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| bell.wait());
            bell.ring();
            waits.join().unwrap();
        });
    }
}
