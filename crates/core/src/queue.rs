//! Receive queues of NICs that pods have of their own: how they are named, and who has them. A queue without a claim is
//! free and clean.

use crate::ids::{AttachmentId, IfName, PoolName};
use crate::nic::PortKey;
use crate::record::{PodRef, who};
use crate::vf::{Claimed, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the claims' format.
pub const CLAIM_FORMAT: u32 = 1;

/// A receive queue, as plans and claims name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueueRef {
    /// Its port: what finds it, whatever the netdev is called.
    pub port: PortKey,
    /// The port's netdev when this was planned, for messages.
    pub nic: IfName,
    /// Its number there.
    pub queue: u32,
}

impl QueueRef {
    /// Whether it is the same queue, whatever its netdev was called.
    pub fn is_same(&self, other: &Self) -> bool {
        self.port == other.port && self.queue == other.queue
    }
}

impl fmt::Display for QueueRef {
    /// `queue 5 of ens1f0 (0000:01:00.0)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue {} of {} ({})", self.queue, self.nic, self.port)
    }
}

/// A queue that is not free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueClaim {
    /// [`CLAIM_FORMAT`]
    pub format: u32,
    /// The queue.
    pub queue: QueueRef,
    /// The attachment that has it, or had it last.
    pub holder: AttachmentId,
    /// Its pod, where the runtime told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// The pool it was lent from.
    pub pool: PoolName,
    /// Lent, or not known to be clean yet.
    pub state: Claimed,
    /// Since when it is in that state, in seconds since 1970.
    pub since: u64,
}

impl QueueClaim {
    /// The holder, for people ([`who`]).
    pub fn who(&self) -> String {
        who(&self.holder, self.pod.as_ref())
    }

    /// The same queue, to be looked at before it is free; one that is looked at stays as it is.
    pub fn given_back(mut self, now: u64) -> Self {
        self.state.give_back(&mut self.since, now);
        self
    }

    /// Whether it waits to be free.
    pub fn in_quarantine(&self) -> bool {
        self.state.is_quarantine()
    }
}

impl fmt::Display for QueueClaim {
    /// `queue 5 of ens1f0 (0000:01:00.0) is held by default/web@eth0 since 2026-02-01 10:30:00 UTC`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Utc(self.since);
        match &self.state {
            Claimed::Lent => write!(f, "{} is held by {} since {since}", self.queue, self.who()),
            Claimed::Quarantine { attempts: 0, .. } => {
                write!(f, "{} is in quarantine since {since}: {} is done with it", self.queue, self.who())
            }
            Claimed::Quarantine { reason, .. } => {
                write!(f, "{} is in quarantine since {since}: {reason}", self.queue)
            }
        }
    }
}
