//! How long to wait after a fault: twice as long after each, so that a server that comes back is not overrun, and
//! never the same on all nodes.

use std::time::{Duration, Instant};

const LEAST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(30);
/// Who has had no fault for so long begins anew.
const FORGIVEN: Duration = Duration::from_secs(120);

/// The faults until now.
#[derive(Debug, Default)]
pub struct Backoff {
    last: Option<(Instant, Duration)>,
}

impl Backoff {
    /// A fault at `now`: how long to wait. `random` is any number.
    pub fn after_fault(&mut self, now: Instant, random: u64) -> Duration {
        let base = match self.last {
            Some((at, base)) if now.duration_since(at) < FORGIVEN => (base * 2).min(MOST),
            _ => LEAST,
        };
        self.last = Some((now, base));
        jittered(base, random)
    }
}

/// Half of `base` to all of it.
pub fn jittered(base: Duration, random: u64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "chance needs no precision")]
    let chance = random as f64 / u64::MAX as f64;
    base.mul_f64(0.5 + chance / 2.0)
}

/// Any number; without the kernel's it is not random, which is no fault.
pub fn random() -> u64 {
    offramp_kernel::random::bits64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_are_forgiven() {
        let (start, mut backoff) = (Instant::now(), Backoff::default());
        let mut at = |seconds: u64| backoff.after_fault(start + Duration::from_secs(seconds), u64::MAX);
        let seconds = [0, 1, 2, 3, 4, 5, 6, 7].map(|s| at(s).as_secs_f32());
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(at(126), MOST);
        assert_eq!(at(300), LEAST);
    }

    #[test]
    fn nodes_do_not_come_back_together() {
        assert_eq!(jittered(MOST, 0), MOST / 2);
        assert_eq!(jittered(MOST, u64::MAX), MOST);
        assert!(jittered(MOST, u64::MAX / 2) < MOST);
    }
}
