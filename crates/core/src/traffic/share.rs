//! Of the bytes that a pod moved: how many by VF, how many over the node's CPU.

use super::Bytes;
use serde::{Deserialize, Serialize};

/// What an interface moved, as far as somebody counts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Moved {
    /// It is counted.
    Counted {
        /// All that was moved.
        bytes: Bytes,
        /// What of it the node's CPU moved between pod and wire or bridge; none: nobody counts that.
        cpu: Option<Bytes>,
    },
    /// It is not.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// Where an interface leads, as far as its counters do not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What a VF moves leaves the node, or is for another VF.
    Straight,
    /// What a VF moves the node routes.
    Routed,
    /// What programs take from queues that it leases nobody counts.
    Leases,
}

/// Bytes of several interfaces, both directions, by the way that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// By a VF, without the node's CPU.
    pub by_vf: u64,
    /// By a VF to the node, whose CPU routed it: those of a VF on the pod network.
    pub routed: u64,
    /// Over the node's CPU.
    pub cpu: u64,
    /// By a VF, and nobody counts what of it took the CPU behind its representor.
    pub undivided: u64,
    /// How many interfaces are not counted at all: what they moved is in none of the others.
    pub unknown: usize,
    /// How many interfaces lease queues: what programs take from those is in none of the others.
    pub leases: usize,
}

impl Share {
    /// Adds them up. The parts are all that was counted: counters that are read one after the other may say that more
    /// took the CPU than there was.
    pub fn of<'a>(all: impl IntoIterator<Item = (&'a Moved, Way)>) -> Self {
        let mut share = Self::default();
        for (moved, way) in all {
            share.leases += usize::from(way == Way::Leases);
            match moved {
                Moved::Counted { bytes, cpu: Some(cpu) } => {
                    let cpu = cpu.at_most(*bytes).sum();
                    share.cpu = share.cpu.saturating_add(cpu);
                    let by_vf = if way == Way::Routed { &mut share.routed } else { &mut share.by_vf };
                    *by_vf = by_vf.saturating_add(bytes.sum() - cpu);
                }
                Moved::Counted { bytes, cpu: None } => {
                    share.undivided = share.undivided.saturating_add(bytes.sum());
                }
                Moved::Unknown { .. } => share.unknown += 1,
            }
        }
        share
    }

    /// All that was counted.
    pub fn counted(&self) -> u64 {
        [self.by_vf, self.routed, self.cpu, self.undivided].into_iter().fold(0, u64::saturating_add)
    }

    /// `part` of all that was counted, in percent, rounded down; none if nothing was moved. 100 is all of it, 0 none or
    /// nearly none.
    pub fn percent(&self, part: u64) -> Option<u8> {
        let all = u128::from(self.counted());
        let percent = (u128::from(part) * 100).checked_div(all)?;
        Some(u8::try_from(percent.min(100)).unwrap_or(100))
    }
}
