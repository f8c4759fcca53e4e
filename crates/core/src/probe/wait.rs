//! When to ask: not all nodes at once, and not for ever.

use std::time::Duration;

/// A node's part in what a cluster may ask each second while all of its daemons start at once.
const PER_PEER: Duration = Duration::from_millis(100);
const MAX_JITTER: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_secs(2);
const MAX_RETRY: Duration = Duration::from_mins(10);

/// How long to wait before the first question, where there are so many peers.
pub fn before(peers: usize, random: u64) -> Duration {
    part(PER_PEER.saturating_mul(u32::try_from(peers).unwrap_or(u32::MAX)).min(MAX_JITTER), random)
}

/// How long to wait until what is unknown is asked again, after so many times in vain: at a start of many nodes, some
/// come later.
pub fn again(times: u32, random: u64) -> Duration {
    let longest = FIRST_RETRY.saturating_mul(1 << times.min(16)).min(MAX_RETRY);
    longest / 2 + part(longest / 2, random)
}

fn part(of: Duration, random: u64) -> Duration {
    Duration::from_nanos(random % (of.as_nanos() as u64 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded() {
        for random in [0, 1, 12_345_678_901_234, u64::MAX] {
            assert!(before(1, random) <= Duration::from_millis(100));
            assert!(before(5000, random) <= MAX_JITTER && before(usize::MAX, random) <= MAX_JITTER);
            assert!((FIRST_RETRY / 2..=FIRST_RETRY).contains(&again(0, random)));
            assert!((MAX_RETRY / 2..=MAX_RETRY).contains(&again(u32::MAX, random)));
        }
    }
}
