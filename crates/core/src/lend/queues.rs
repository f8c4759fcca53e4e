//! Which receive queues a pod gets: a pure function, as [`super::lend`] is for VFs.

use super::matching::far;
use super::refusal::{Reason, Refusal, Why};
use super::taken::{Hold, Holding};
use super::usage::Usage;
use crate::ids::{IfName, PoolName};
use crate::nic::PortKey;
use crate::pool::{Forbidden, Numbered, QueueKind, QueuePool};
use crate::queue::{QueueClaim, QueueRef};
use crate::vf::Claimed;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the node knows of queues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeQueues {
    /// Pools, in the order of the configuration.
    pub pools: Vec<QueuePool>,
    /// The NICs that they name, as far as there are any.
    pub lessors: Vec<Lessor>,
    /// The queues that are not free.
    pub taken: QueuesTaken,
}

/// A NIC that pools of queues name. One that pools of both kinds name is there for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lessor {
    /// Its port.
    pub port: PortKey,
    /// Its netdev.
    pub nic: IfName,
    /// For pools of this kind.
    pub kind: QueueKind,
    /// The NUMA node it is on; none: unknown.
    pub numa: Option<u32>,
    /// How many receive queues it has now.
    pub queues: u32,
    /// Why none can be lent; none: its driver can.
    pub fault: Option<Fault>,
    /// Queues that cannot be leased now, whoever has them, and why.
    pub in_use: BTreeMap<u32, String>,
}

/// Why a NIC's queues cannot be leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Its driver, or the kernel, cannot; in their words.
    Refused(String),
    /// It may be otherwise soon.
    Passing(String),
}

/// The queues that are not free, by their claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueuesTaken(BTreeMap<(PortKey, u32), Holding>);

impl QueuesTaken {
    /// Who has a queue.
    pub fn get(&self, port: &PortKey, queue: u32) -> Option<&Holding> {
        self.0.get(&(port.clone(), queue))
    }

    /// Notes a queue.
    pub fn insert(&mut self, port: PortKey, queue: u32, holding: Holding) {
        self.0.insert((port, queue), holding);
    }

    /// Forgets a queue, which is free now.
    pub fn remove(&mut self, port: &PortKey, queue: u32) -> Option<Holding> {
        self.0.remove(&(port.clone(), queue))
    }
}

impl<'a> FromIterator<&'a QueueClaim> for QueuesTaken {
    fn from_iter<I: IntoIterator<Item = &'a QueueClaim>>(claims: I) -> Self {
        let holding = |claim: &QueueClaim| Holding {
            holder: claim.who(),
            hold: match &claim.state {
                Claimed::Lent => Hold::Lent,
                Claimed::Quarantine { reason, .. } => Hold::Quarantine(reason.clone()),
            },
            driver: None,
        };
        let entry = |c: &'a QueueClaim| ((c.queue.port.clone(), c.queue.queue), holding(c));
        Self(claims.into_iter().map(entry).collect())
    }
}

/// Queues that one interface is to have.
#[derive(Debug, Clone, Copy)]
pub struct QueueWant<'a> {
    /// The pod's namespace; none: a container that is no pod's.
    pub namespace: Option<&'a str>,
    /// The interface.
    pub ifname: &'a IfName,
    /// Only from this pool; none: any whose policy allows it, in the order of the configuration.
    pub pool: Option<&'a PoolName>,
    /// How many; none: the pod has not said that it wants any.
    pub count: Option<u32>,
    /// The NUMA nodes of the pod's CPUs; empty: not known.
    pub numa: &'a BTreeSet<u32>,
}

/// Queues that are lent: all of one NIC, which is as the kernel wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LentQueues {
    /// How the pod has them.
    pub kind: QueueKind,
    /// The pool.
    pub pool: PoolName,
    /// The NIC's port.
    pub port: PortKey,
    /// Its netdev.
    pub nic: IfName,
    /// The queues' numbers, rising.
    pub queues: Vec<u32>,
}

impl LentQueues {
    /// The queues.
    pub fn refs(&self) -> impl Iterator<Item = QueueRef> + '_ {
        let queue = |queue| QueueRef { port: self.port.clone(), nic: self.nic.clone(), queue };
        self.queues.iter().copied().map(queue)
    }
}

impl fmt::Display for LentQueues {
    /// `queues 4 and 5 of ens1f0`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.queues.iter().map(u32::to_string).collect();
        let noun = if numbers.len() == 1 { "queue" } else { "queues" };
        write!(f, "{noun} {} of {}", crate::lend::refusal::list(&numbers), self.nic)
    }
}

/// What is in the way of queues.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueWhy {
    /// The pool's policy does not have pods of this namespace.
    Namespace(Option<String>),
    /// The pool's policy does not allow so many.
    Forbidden(Forbidden),
    /// The pod has not said how many.
    NotAsked,
    /// The node has no such NIC.
    NoNic(IfName),
    /// None of the NIC's queues can be leased; why, in the words of whoever refused.
    Refused(String),
    /// None can be now; why.
    Passing(String),
    /// Another attachment has it.
    Lent,
    /// It is not known to be clean yet; why, may be empty.
    Quarantine(String),
    /// Somebody else uses it; for what.
    InUse(String),
    /// So many of the NIC's queues are free, and so many are wanted of one NIC.
    TooFew {
        /// Free.
        free: usize,
        /// Wanted.
        wanted: u32,
    },
}

impl QueueWhy {
    /// One word, for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Namespace(_) | Self::Forbidden(_) => "policy",
            Self::NotAsked => "not-asked",
            Self::NoNic(_) => "no-device",
            Self::Refused(_) => "unfit",
            Self::Passing(_) => "no-link",
            Self::Lent | Self::TooFew { .. } => "lent",
            Self::Quarantine(_) => "quarantine",
            Self::InUse(_) => "unclear",
        }
    }

    /// Goes for queues one by one.
    pub(super) fn counts(&self) -> bool {
        matches!(self, Self::Lent | Self::Quarantine(_) | Self::InUse(_))
    }
}

impl fmt::Display for QueueWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(namespace) => Why::Namespace(namespace.clone()).fmt(f),
            Self::Forbidden(forbidden) => forbidden.fmt(f),
            Self::NotAsked => {
                write!(f, "its queues are lent to pods that say how many ({})", crate::wish::QUEUES)
            }
            Self::NoNic(nic) => write!(f, "this node has no NIC {nic}"),
            Self::Refused(words) | Self::Passing(words) => f.write_str(words),
            Self::Lent => f.write_str("lent"),
            Self::Quarantine(why) if why.is_empty() => f.write_str("in quarantine"),
            Self::Quarantine(why) => write!(f, "in quarantine ({why})"),
            Self::InUse(what) => write!(f, "in use ({what})"),
            Self::TooFew { free, wanted } => write!(f, "{free} free, but {wanted} are wanted of one NIC"),
        }
    }
}

/// How a queue stands.
pub(super) enum Stand {
    Free,
    Not(QueueWhy),
}

/// The queues of a NIC that a pool names, and how they stand.
pub(super) fn stands<'a>(
    node: &'a NodeQueues,
    numbers: &'a Numbered<IfName>,
    lessor: &'a Lessor,
) -> impl Iterator<Item = (u32, Stand)> + 'a {
    let meant = |n: &u32| u16::try_from(*n).is_ok_and(|n| numbers.has(n));
    (0..lessor.queues).filter(meant).map(|queue| {
        let stand = match (node.taken.get(&lessor.port, queue), lessor.in_use.get(&queue)) {
            (Some(holding), _) => Stand::Not(match &holding.hold {
                Hold::Lent => QueueWhy::Lent,
                Hold::Quarantine(why) => QueueWhy::Quarantine(why.clone()),
                Hold::Unclear(why) => QueueWhy::InUse(why.clone()),
            }),
            (None, Some(what)) => Stand::Not(QueueWhy::InUse(what.clone())),
            (None, None) => Stand::Free,
        };
        (queue, stand)
    })
}

impl NodeQueues {
    /// Whether a pool of this name is one of queues.
    pub fn has_pool(&self, name: &PoolName) -> bool {
        self.pools.iter().any(|pool| pool.name == *name)
    }

    /// None of a kind can be lent, for this reason.
    pub fn refuse(&mut self, kind: QueueKind, why: &str) {
        let of_kind = self.lessors.iter_mut().filter(|lessor| lessor.kind == kind);
        of_kind.for_each(|lessor| lessor.fault = Some(Fault::Refused(why.to_owned())));
    }

    /// The NIC of this name, for a pool.
    pub fn lessor(&self, pool: &QueuePool, nic: &IfName) -> Option<&Lessor> {
        self.lessors.iter().find(|lessor| lessor.nic == *nic && lessor.kind == pool.kind)
    }

    /// Chooses queues, all of one NIC, or refuses with every reason.
    ///
    /// A pool that is named earlier in the configuration is used first; then a NIC near to the pod's CPUs; then the one
    /// with the least part of the pool's queues lent; then the one that the pool names first; then the lowest numbers.
    pub fn lend(&self, want: QueueWant<'_>) -> Result<LentQueues, Refusal> {
        let (mut best, mut search) = (None, Search { want, reasons: Vec::new(), waiting_helps: false });
        let named = |pool: &&QueuePool| want.pool.is_none_or(|name| *name == pool.name);
        for (place, pool) in self.pools.iter().filter(named).enumerate() {
            let Some(count) = search.admitted(pool) else { continue };
            for (at, numbers) in pool.nics.iter().enumerate() {
                let Some((far, share, lent)) = search.at_nic(self, pool, numbers, count) else { continue };
                let rank = (place, far, share, at);
                if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                    best = Some((rank, lent));
                }
            }
        }
        let Search { reasons, waiting_helps, .. } = search;
        best.map(|(_, lent)| lent).ok_or(Refusal { reasons, waiting_helps })
    }
}

/// What was found so far.
struct Search<'a> {
    want: QueueWant<'a>,
    reasons: Vec<Reason>,
    waiting_helps: bool,
}

impl Search<'_> {
    fn refuse(&mut self, pool: &QueuePool, nic: Option<&IfName>, why: QueueWhy) {
        self.reasons.push(Reason {
            ifname: self.want.ifname.clone(),
            pool: Some(pool.name.clone()),
            pf: nic.cloned(),
            why: Why::Queues(why),
        });
    }

    /// How many are wanted, if the pool lends so many to this pod.
    fn admitted(&mut self, pool: &QueuePool) -> Option<u32> {
        if !pool.admits(self.want.namespace) {
            self.refuse(pool, None, QueueWhy::Namespace(self.want.namespace.map(str::to_owned)));
            return None;
        }
        let Some(count) = self.want.count else {
            self.refuse(pool, None, QueueWhy::NotAsked);
            return None;
        };
        if count > pool.max_queues {
            let (asked, allowed) = (format!("queues {count}"), format!("up to {}", pool.max_queues));
            self.refuse(pool, None, QueueWhy::Forbidden(Forbidden { asked, allowed }));
            return None;
        }
        Some(count)
    }

    /// How far the NIC is from the pod's CPUs, the part of the pool's queues of it that is not free, in millionths, and
    /// what it can lend.
    fn at_nic(
        &mut self,
        node: &NodeQueues,
        pool: &QueuePool,
        numbers: &Numbered<IfName>,
        count: u32,
    ) -> Option<(u8, u64, LentQueues)> {
        let nic = &numbers.of;
        let Some(lessor) = node.lessor(pool, nic) else {
            self.refuse(pool, None, QueueWhy::NoNic(nic.clone()));
            return None;
        };
        if let Some(Fault::Refused(words)) = &lessor.fault {
            self.refuse(pool, Some(nic), QueueWhy::Refused(words.clone()));
            return None;
        }
        let (mut free, mut others) = (Vec::new(), Vec::new());
        for (queue, stand) in stands(node, numbers, lessor) {
            match stand {
                Stand::Free => free.push(queue),
                Stand::Not(why) => others.push(why),
            }
        }
        let (all, wanted) = (free.len() + others.len(), count as usize);
        self.waiting_helps |= all >= wanted;
        if let Some(Fault::Passing(words)) = &lessor.fault {
            // How many it has is not always told while it is so.
            self.waiting_helps = true;
            self.refuse(pool, Some(nic), QueueWhy::Passing(words.clone()));
            return None;
        }
        if free.len() < wanted {
            let too_few = QueueWhy::TooFew { free: free.len(), wanted: count };
            others.into_iter().chain([too_few]).for_each(|why| self.refuse(pool, Some(nic), why));
            return None;
        }
        let share = (others.len() as u64) * 1_000_000 / (all as u64).max(1);
        free.truncate(wanted);
        let Lessor { port, nic, numa, .. } = lessor.clone();
        Some((
            far(self.want.numa, numa),
            share,
            LentQueues { kind: pool.kind, pool: pool.name.clone(), port, nic, queues: free },
        ))
    }
}

/// A queue of a pool, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolQueue {
    /// The NIC's netdev.
    pub nic: IfName,
    /// Its number there.
    pub queue: u32,
    /// The pool.
    pub pool: PoolName,
    /// `free`, `lent to default/web@eth0`, `quarantine: ...` or `unusable: ...`
    pub state: String,
}

impl NodeQueues {
    /// All queues of pools, in the order of the configuration.
    pub fn all(&self) -> Vec<PoolQueue> {
        let nics = self.pools.iter().flat_map(|pool| pool.nics.iter().map(move |numbers| (pool, numbers)));
        let found = nics.filter_map(|(pool, numbers)| {
            let lessor = self.lessor(pool, &numbers.of)?;
            Some(stands(self, numbers, lessor).map(move |(queue, stand)| PoolQueue {
                nic: lessor.nic.clone(),
                queue,
                pool: pool.name.clone(),
                state: self.state(lessor, queue, stand),
            }))
        });
        found.flatten().collect()
    }

    fn state(&self, lessor: &Lessor, queue: u32, stand: Stand) -> String {
        match (stand, &lessor.fault) {
            (Stand::Not(QueueWhy::Lent), _) => {
                let holder = self.taken.get(&lessor.port, queue).map(|holding| holding.holder.as_str());
                format!("lent to {}", holder.unwrap_or_default())
            }
            (Stand::Not(QueueWhy::Quarantine(why)), _) if why.is_empty() => "quarantine".into(),
            (Stand::Not(QueueWhy::Quarantine(why)), _) => format!("quarantine: {why}"),
            (_, Some(Fault::Refused(why) | Fault::Passing(why))) => format!("unusable: {why}"),
            (Stand::Not(why), None) => format!("unusable: {why}"),
            (Stand::Free, None) => "free".into(),
        }
    }

    /// How the pools stand, in the order of the configuration.
    pub fn usage(&self) -> Vec<Usage> {
        self.pools.iter().map(|pool| self.usage_of(pool)).collect()
    }

    fn usage_of(&self, pool: &QueuePool) -> Usage {
        let mut usage = Usage { pool: Some(pool.name.clone()), ..Usage::default() };
        let named = pool.nics.iter().filter_map(|n| Some((n, self.lessor(pool, &n.of)?)));
        for (numbers, lessor) in named {
            let fault = lessor.fault.as_ref().map(|fault| match fault {
                Fault::Refused(words) | Fault::Passing(words) => words.clone(),
            });
            for (_, stand) in stands(self, numbers, lessor) {
                usage.total += 1;
                match (stand, &fault) {
                    (Stand::Not(QueueWhy::Lent), _) => usage.lent += 1,
                    (Stand::Not(QueueWhy::Quarantine(_)), _) => usage.quarantine += 1,
                    (Stand::Not(why), None) => *usage.unusable.entry(why.to_string()).or_default() += 1,
                    (_, Some(fault)) => *usage.unusable.entry(fault.clone()).or_default() += 1,
                    (Stand::Free, None) => usage.free += 1,
                }
            }
        }
        usage
    }
}

#[cfg(test)]
#[path = "queues_tests.rs"]
mod tests;
