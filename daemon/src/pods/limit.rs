//! How often a pod is told something: a runtime tries an ADD that fails again every 11 to 15 s, for ever.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The same is not said again so soon.
const SAME: Duration = Duration::from_mins(10);
/// To one pod, whatever it is.
const PER_POD: Duration = Duration::from_secs(2);
/// To all: so many at once, and then one each.
const BURST: u32 = 50;
const REFILL: Duration = Duration::from_secs(2);
/// The most pods that are remembered.
const MAX_PODS: usize = 1024;

/// What was said.
#[derive(Debug)]
pub struct Limit {
    pods: HashMap<String, (Instant, HashMap<String, Instant>)>,
    tokens: u32,
    refilled: Instant,
}

impl Limit {
    /// Nothing was, until `now`.
    pub fn new(now: Instant) -> Self {
        Self { pods: HashMap::new(), tokens: BURST, refilled: now }
    }

    /// Whether it may be said to the pod.
    pub fn allows(&mut self, pod: &str, what: &str, now: Instant) -> bool {
        self.refill(now);
        if self.pods.len() >= MAX_PODS {
            self.pods.retain(|_, (last, _)| now.duration_since(*last) < SAME);
            if self.pods.len() >= MAX_PODS {
                return false;
            }
        }
        if self.tokens == 0 {
            return false;
        }
        let (last, said) = self.pods.entry(pod.to_owned()).or_insert_with(|| (now, HashMap::new()));
        let first = said.is_empty();
        said.retain(|_, at| now.duration_since(*at) < SAME);
        if said.contains_key(what) || (!first && now.duration_since(*last) < PER_POD) {
            return false;
        }
        said.insert(what.to_owned(), now);
        *last = now;
        self.tokens -= 1;
        true
    }

    fn refill(&mut self, now: Instant) {
        let new = now.duration_since(self.refilled).as_secs() / REFILL.as_secs();
        if new > 0 {
            self.tokens = self.tokens.saturating_add(u32::try_from(new).unwrap_or(BURST)).min(BURST);
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_and_nobody_is_flooded() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut limit = Limit::new(start);
        assert!(limit.allows("a", "x", at(0)));
        assert!(!limit.allows("a", "x", at(15)), "the runtime tries again");
        assert!(limit.allows("b", "x", at(15)), "to another it is news");
        assert!(limit.allows("a", "y", at(20)) && !limit.allows("a", "z", at(21)));
        assert!(limit.allows("a", "x", at(700)));
    }

    #[test]
    fn all_together_have_a_bound_that_time_lifts() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        let said = (0..200).filter(|i| limit.allows(&i.to_string(), "x", start)).count();
        assert_eq!(said, 50);
        let later = start + Duration::from_secs(20);
        assert_eq!((200..400).filter(|i| limit.allows(&i.to_string(), "x", later)).count(), 10);
        let mut limit = Limit::new(start);
        for i in 0..5000u64 {
            limit.allows(&i.to_string(), "x", start + Duration::from_secs(i * 2));
        }
        assert!(limit.pods.len() <= MAX_PODS);
    }
}
