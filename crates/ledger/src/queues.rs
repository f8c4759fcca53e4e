//! Queues that are lent: a claim file each, below `queues/` in the state directory. A queue without one is free and clean.
//!
//! Who may change one: nobody's becomes lent by whoever makes its file first; lent becomes quarantine by whoever holds
//! its holder's lock; quarantine becomes nobody's by the daemon's cleaner.

use crate::folder::{Entries, Entry, Folder};
use crate::{Error, Result, Store};
use offramp_core::ids::{AttachmentId, IfName};
use offramp_core::nic::PortKey;
use offramp_core::offload::Flows;
use offramp_core::plan::Plan;
use offramp_core::queue::{CLAIM_FORMAT, QueueClaim, QueueRef};
use offramp_core::vf::Claimed;
use offramp_kernel::crash;
use offramp_kernel::queues::RxQueue;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Entry for QueueClaim {
    const FORMAT: u32 = CLAIM_FORMAT;
    fn file_name(&self) -> String {
        name_of(&self.queue.port, self.queue.queue)
    }
    fn what(&self) -> String {
        self.queue.to_string()
    }
}

/// `0000:01:00.0-1-rx5`: device, port, queue.
fn name_of(port: &PortKey, queue: u32) -> String {
    format!("{}-{}-rx{queue}", port.device.replace('/', "_"), port.port)
}

/// The queue of a file's name.
fn parse_name(name: &str) -> Option<(PortKey, u32)> {
    let (port, queue) = name.rsplit_once("-rx")?;
    let (device, port) = port.rsplit_once('-')?;
    let port = PortKey { device: device.to_owned(), port: port.parse().ok()? };
    Some((port, queue.parse().ok()?)).filter(|_| !name.starts_with('.'))
}

/// All claims, and the queues whose claims cannot be read.
#[derive(Debug, Default)]
pub struct QueuesClaimed {
    /// Claims.
    pub claims: Vec<QueueClaim>,
    /// What could not be read, and of which queue it is.
    pub unreadable: Vec<(PortKey, u32, String)>,
}

/// The claims of a state directory.
#[derive(Debug, Clone)]
pub struct QueueClaims(Folder<QueueClaim>);

impl QueueClaims {
    pub(crate) fn at(root: &Path) -> Self {
        Self(Folder::at(root.join("queues")))
    }

    /// Claims a queue that nobody has; [`Error::QueueClaimed`] names who has it.
    pub fn take(&self, claim: &QueueClaim) -> Result<()> {
        while !self.0.create(claim)? {
            // None: it has become free in between.
            if let Some(other) = self.read(&claim.queue)? {
                return Err(Error::QueueClaimed(Box::new(other)));
            }
        }
        crash::point("queue.taken");
        Ok(())
    }

    /// Reads a claim; none: the queue is free and clean.
    pub fn read(&self, queue: &QueueRef) -> Result<Option<QueueClaim>> {
        self.0.read(&name_of(&queue.port, queue.queue))
    }

    /// Replaces a claim as a whole. Who may, the module's head says.
    pub fn set(&self, claim: &QueueClaim) -> Result<()> {
        self.0.set(claim)
    }

    /// The queue is free and clean.
    pub fn remove(&self, queue: &QueueRef) -> Result<()> {
        self.0.remove(&name_of(&queue.port, queue.queue))
    }

    /// Reads all claims.
    pub fn list(&self) -> Result<QueuesClaimed> {
        let Entries { entries: mut claims, unreadable } = self.0.list(|name| parse_name(name).is_some())?;
        claims.sort_by(|a, b| a.queue.cmp(&b.queue));
        let of = |path: &PathBuf| parse_name(path.file_name()?.to_str()?);
        let unreadable = unreadable.into_iter().filter_map(|e| match &e {
            Error::Unreadable { path, .. } | Error::Io { path, .. } => {
                let (port, queue) = of(path)?;
                Some((port, queue, e.to_string()))
            }
            _ => None,
        });
        Ok(QueuesClaimed { claims, unreadable: unreadable.collect() })
    }

    /// Removes what writers that died left behind.
    pub fn remove_torn(&self) -> Result<()> {
        self.0.remove_torn()
    }

    /// Frees a queue that nothing was done to since it was claimed; the caller holds its holder's lock.
    pub fn unclaim(&self, queue: &QueueRef, holder: &AttachmentId) -> Result<()> {
        match self.read(queue)? {
            Some(claim) if claim.holder == *holder && !claim.in_quarantine() => self.remove(queue),
            _ => Ok(()),
        }
    }

    /// Those of a plan that are this attachment's own. A queue that it had once may be another's.
    pub(crate) fn own(&self, plan: &Plan, holder: &AttachmentId) -> Result<Vec<QueueClaim>> {
        let mut own = Vec::new();
        for queue in plan.queues() {
            own.extend(self.read(&queue)?.filter(|claim| claim.holder == *holder));
        }
        Ok(own)
    }

    /// Has claims looked at before they are free; the caller holds their holder's lock.
    pub(crate) fn give_back(&self, own: Vec<QueueClaim>, now: u64) -> Result<()> {
        for claim in own.into_iter().filter(|c| !c.in_quarantine()) {
            self.set(&claim.given_back(now))?;
            crash::point("queue.given-back");
        }
        Ok(())
    }

    /// Gives back what an attachment has that has no record; the caller holds its lock. Whether there was any.
    pub fn give_back_all(&self, id: &AttachmentId, now: u64) -> Result<bool> {
        let own: Vec<_> = self.list()?.claims.into_iter().filter(|c| c.holder == *id).collect();
        let any = !own.is_empty();
        self.give_back(own, now)?;
        Ok(any)
    }

    /// A claim whose holder has no record is nobody's: its ADD died before it wrote one. It goes to quarantine; false if
    /// it is somebody's.
    pub fn give_back_if_abandoned(&self, store: &Store, claim: &QueueClaim, now: u64) -> Result<bool> {
        // Who holds the lock is at work: the record comes after the claim.
        let Ok(_lock) = store.lock(&claim.holder, Duration::ZERO) else { return Ok(false) };
        let record = store.read(&claim.holder)?;
        if record.is_some_and(|r| r.plan.queues().any(|queue| queue.is_same(&claim.queue))) {
            return Ok(false);
        }
        match self.read(&claim.queue)? {
            Some(same) if same.holder == claim.holder => self.give_back(vec![same], now).map(|()| true),
            _ => Ok(false),
        }
    }
}

/// A NIC's queues, as they are now.
pub enum Seen {
    /// These.
    Nic {
        /// Its netdev.
        nic: IfName,
        /// Its queues.
        queues: Vec<RxQueue>,
        /// Its flow rules; empty where they mean nothing.
        flows: Flows,
    },
    /// There is no such NIC.
    Gone,
    /// They cannot be seen, why.
    Unseen(String),
}

/// What became of a queue that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// Nobody has it: it is free.
    Free,
    /// There is no such queue any more.
    Gone,
    /// It stays in quarantine, and why.
    Kept(String),
}

/// Frees a queue in quarantine if nobody has it, and nothing leads to it that the last one may have had made.
pub fn look(claims: &QueueClaims, claim: &QueueClaim, seen: &Seen) -> Result<Looked> {
    let Claimed::Quarantine { attempts, .. } = claim.state else {
        return Ok(Looked::Kept("it is lent".into()));
    };
    let looked = judge(claim.queue.queue, seen);
    match &looked {
        Looked::Free | Looked::Gone => {
            crash::point("queue.looked-at");
            claims.remove(&claim.queue)?;
        }
        Looked::Kept(reason) => {
            let state = Claimed::Quarantine { attempts: attempts.saturating_add(1), reason: reason.clone() };
            claims.set(&QueueClaim { state, ..claim.clone() })?;
        }
    }
    Ok(looked)
}

fn judge(queue: u32, seen: &Seen) -> Looked {
    let (nic, queues, flows) = match seen {
        Seen::Gone => return Looked::Gone,
        Seen::Unseen(why) => return Looked::Kept(why.clone()),
        Seen::Nic { nic, queues, flows } => (nic, queues, flows),
    };
    match queues.iter().find(|q| q.id == queue) {
        None => Looked::Gone,
        Some(RxQueue { leased: true, .. }) => Looked::Kept("it is still leased".into()),
        Some(RxQueue { user: Some(user), .. }) => Looked::Kept(format!("{user} still has it")),
        Some(_) => flows.why(nic, queue).map_or(Looked::Free, Looked::Kept),
    }
}

#[cfg(test)]
#[path = "queues_tests.rs"]
mod tests;
