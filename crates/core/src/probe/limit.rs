//! How often peers are answered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// To one peer at once: all that one probe sends, twice.
const BURST: u32 = 256;
/// And one more each.
const REFILL: Duration = Duration::from_millis(20);
/// To all peers together at once, and one more each.
const BURST_ALL: u32 = 2048;
const REFILL_ALL: Duration = Duration::from_millis(1);
/// The most peers that are remembered.
const MAX_PEERS: usize = 1024;

/// A bucket of tokens for each peer, and one for all of them.
#[derive(Debug)]
pub struct Limit {
    all: Bucket,
    peers: HashMap<IpAddr, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: u32,
    filled: Instant,
}

impl Bucket {
    fn fill(&mut self, now: Instant, burst: u32, refill: Duration) {
        let new = now.saturating_duration_since(self.filled).as_nanos() / refill.as_nanos();
        if new > 0 {
            self.tokens = burst.min(self.tokens.saturating_add(u32::try_from(new).unwrap_or(burst)));
            self.filled = now;
        }
    }
}

impl Limit {
    /// Nobody was answered until `now`.
    pub fn new(now: Instant) -> Self {
        Self { all: Bucket { tokens: BURST_ALL, filled: now }, peers: HashMap::new() }
    }

    /// Whether a question of this peer is answered at `now`.
    pub fn allows(&mut self, peer: IpAddr, now: Instant) -> bool {
        self.all.fill(now, BURST_ALL, REFILL_ALL);
        if self.all.tokens == 0 || !self.has_room(peer, now) {
            return false;
        }
        let bucket = self.peers.entry(peer).or_insert(Bucket { tokens: BURST, filled: now });
        bucket.fill(now, BURST, REFILL);
        if bucket.tokens == 0 {
            return false;
        }
        bucket.tokens -= 1;
        self.all.tokens -= 1;
        true
    }

    /// Who could be answered as if for the first time need not be remembered.
    fn has_room(&mut self, peer: IpAddr, now: Instant) -> bool {
        if self.peers.len() < MAX_PEERS || self.peers.contains_key(&peer) {
            return true;
        }
        self.peers.retain(|_, bucket| {
            bucket.fill(now, BURST, REFILL);
            bucket.tokens < BURST
        });
        self.peers.len() < MAX_PEERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn one_peer_does_not_use_up_what_the_others_have() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        let mut answered = |n: u32, at: Instant| (0..1000).filter(|_| limit.allows(peer(n), at)).count();
        assert_eq!((answered(1, start), answered(1, start)), (256, 0));
        assert_eq!(answered(2, start), 256);
        assert_eq!(answered(1, start + Duration::from_secs(1)), 50);
    }

    #[test]
    fn all_together_have_a_bound_in_time_and_memory() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        assert_eq!((0..3000).filter(|n| limit.allows(peer(*n), start)).count(), MAX_PEERS);
        let later = start + Duration::from_secs(60);
        assert!(limit.allows(peer(200_000), later), "who was answered long ago is forgotten");
        assert_eq!(limit.peers.len(), 1);
    }
}
