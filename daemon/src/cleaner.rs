//! The cleaner: VFs that their attachments are done with are cleaned, each by a thread of its own, a few at a time;
//! what fails is tried again, later each time. It also finds claims that nobody stands for, and VFs that somebody took
//! from their pods by hand.

use crate::node::{Node, now};
use crate::status::VfStatus;
use offramp_core::nic::PciAddr;
use offramp_core::record::{Record, State};
use offramp_core::step::Step;
use offramp_core::vf::{Claim, VfRef};
use offramp_kernel::netlink::Socket;
use offramp_kernel::{Netns, link};
use offramp_ledger::clean::{self, Outcome};
use offramp_ledger::lending;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many are cleaned at once: each has its PF's driver and the kernel's lock of all links to itself for a while.
const AT_ONCE: usize = 4;
/// Who has the VF's lock may be an inline plugin, or a process that hangs in the kernel.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

/// How long DELs are given to end before their VFs are cleaned.
const SETTLE: Duration = Duration::from_millis(50);

/// What is being cleaned, and when what failed is tried again.
#[derive(Debug, Default)]
pub struct Bench {
    places: Mutex<Places>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Places {
    vfs: HashMap<PciAddr, Place>,
    /// When something else is to be looked at again.
    look_at: Option<Instant>,
    rung: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Cleaning,
    Due(Instant),
}

impl Bench {
    /// Has the cleaner look.
    pub fn ring(&self) {
        self.lock().rung = true;
        self.rung.notify_all();
    }

    /// Has the cleaner look at `at`, or before.
    pub fn look_at(&self, at: Instant) {
        let mut places = self.lock();
        places.look_at = Some(places.look_at.map_or(at, |other| other.min(at)));
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a VF, if it is due and a place is free.
    fn begin(&self, pci: PciAddr, now: Instant) -> bool {
        let mut places = self.lock();
        let busy = places.vfs.values().filter(|p| **p == Place::Cleaning).count();
        let due = match places.vfs.get(&pci) {
            None => true,
            Some(Place::Due(at)) => *at <= now,
            Some(Place::Cleaning) => false,
        };
        let begins = due && busy < AT_ONCE;
        if begins {
            places.vfs.insert(pci, Place::Cleaning);
        }
        begins
    }

    /// Frees the place; the VF is tried again at `again`.
    fn end(&self, pci: PciAddr, again: Option<Instant>) {
        let mut places = self.lock();
        match again {
            Some(at) => places.vfs.insert(pci, Place::Due(at)),
            None => places.vfs.remove(&pci),
        };
        drop(places);
        self.ring();
    }

    /// Waits until somebody rings, a VF is due, or `longest` is over.
    fn wait(&self, longest: Duration) {
        let mut places = self.lock();
        let look_at = places.look_at.take();
        let due = places.vfs.values().filter_map(|p| match p {
            Place::Due(at) => Some(*at),
            Place::Cleaning => None,
        });
        let due = due
            .chain(look_at)
            .min()
            .map_or(longest, |at| at.saturating_duration_since(Instant::now()).min(longest));
        if !places.rung {
            places = self.rung.wait_timeout(places, due).unwrap_or_else(PoisonError::into_inner).0;
        }
        places.rung = false;
    }
}

/// Looks for ever.
pub fn run(node: &Arc<Node>) {
    loop {
        let outcome = pass(node);
        node.ran("vfs", outcome);
        node.bench.wait(node.config.reclaim_interval);
        // Cleaning holds the kernel's lock of all links at times: the DEL that asked for it ends first, its process too.
        std::thread::sleep(SETTLE);
        node.calls.let_pass();
    }
}

/// Looks once; returns how many claims without a holder it found.
fn pass(node: &Arc<Node>) -> Result<u64, String> {
    // What is wrong with the one kind's folder is told, and keeps nobody from the other's.
    let (queues, vfs) = (node.look_after_queues().map_err(|e| e.to_string()), clean_vfs(node));
    match (queues, vfs) {
        (Ok(queues), Ok(vfs)) => Ok(queues + vfs),
        (Err(queues), Err(vfs)) => Err(format!("{vfs}; {queues}")),
        (Err(why), _) | (_, Err(why)) => Err(why),
    }
}

fn clean_vfs(node: &Arc<Node>) -> Result<u64, String> {
    let claims = node.store.claims();
    claims.remove_torn().map_err(|e| e.to_string())?;
    let mut repairs = 0;
    let mut listing = claims.list().map_err(|e| e.to_string())?;
    for claim in &mut listing.claims {
        if !claim.in_quarantine()
            && lending::give_back_if_abandoned(&node.store, claim, now()).is_ok_and(|b| b)
        {
            tracing::warn!(vf = %claim.vf, holder = %claim.holder, "its holder is gone, it will be cleaned");
            *claim = claim.clone().given_back(now());
            repairs += 1;
        }
        if claim.in_quarantine() && node.bench.begin(claim.vf.pci, Instant::now()) {
            clean_aside(node.clone(), claim.vf.clone());
        }
    }
    let status = |claim: Claim| VfStatus { problem: problem(node, &claim), claim };
    let vfs = listing.claims.into_iter().map(status).collect();
    let mut view = node.view();
    view.vfs = vfs;
    view.unreadable_claims = listing.unreadable.iter().map(ToString::to_string).collect();
    Ok(repairs)
}

/// Cleans in a thread of its own.
fn clean_aside(node: Arc<Node>, vf: VfRef) {
    let (bench, pci) = (node.clone(), vf.pci);
    let work = move || {
        let again = attempt(&node, &vf);
        node.bench.end(vf.pci, again);
    };
    if let Err(e) = std::thread::Builder::new().name("cleaner".into()).stack_size(1 << 20).spawn(work) {
        tracing::warn!(vf = %pci, error = %e, "no thread to clean it");
        bench.bench.end(pci, Some(Instant::now() + BUSY_PAUSE));
    }
}

/// One attempt; when the next one is due, if it needs one.
fn attempt(node: &Node, vf: &VfRef) -> Option<Instant> {
    use crate::metrics::Outcome as Label;
    let start = Instant::now();
    let outcome = clean::attempt(&node.store.claims(), vf.pci, Duration::ZERO);
    let (label, pause) = match outcome {
        Ok(Outcome::Nothing) => return None,
        Ok(Outcome::Busy) => return Some(Instant::now() + BUSY_PAUSE),
        Ok(Outcome::Free) => {
            tracing::info!(%vf, millis = start.elapsed().as_millis() as u64, "clean, and free");
            node.nics.bell.ring();
            (Label::Ok, None)
        }
        Ok(Outcome::Gone) => {
            tracing::warn!(%vf, "it is gone, and its claim with it");
            (Label::Ok, None)
        }
        Ok(Outcome::Quarantined { attempts, reason }) => {
            tracing::warn!(%vf, attempts, %reason, "not clean, it stays in quarantine");
            (Label::Error, Some(clean::pause(attempts)))
        }
        Err(e) => {
            tracing::warn!(%vf, error = %e, "cannot be cleaned");
            (Label::Error, Some(clean::pause(u32::MAX)))
        }
    };
    node.metrics.cleaned(label, start.elapsed());
    pause.map(|pause| Instant::now() + pause)
}

/// What an operator should know of a claim.
fn problem(node: &Node, claim: &Claim) -> Option<String> {
    if let offramp_core::vf::Claimed::Quarantine { attempts: 1.., .. } = claim.state {
        return Some(claim.to_string());
    }
    let record = node.store.read(&claim.holder).ok()??;
    stolen(claim, &record).then(|| {
        format!(
            "{}: its interface is not in the pod of {} any more, somebody took it",
            claim.vf, claim.holder
        )
    })
}

/// Whether a VF that is lent has left its pod by somebody else's hand.
fn stolen(claim: &Claim, record: &Record) -> bool {
    let moved = record.plan.steps.iter().find_map(|s| match s {
        Step::MoveVf(m) if m.vf.pci == claim.vf.pci => Some(m),
        _ => None,
    });
    let (State::Ready, false, Some(moved)) = (record.state, claim.in_quarantine(), moved) else {
        return false;
    };
    let Ok(netns) = Netns::open(&record.netns.path) else { return false };
    if netns.inode() != record.netns.inode {
        return false; // the pod is gone: reclaim sees to it
    }
    let found = Socket::open_in(&netns).and_then(|mut socket| link::list(&mut socket));
    found.is_ok_and(|links| !links.iter().any(|l| l.has_mac(moved.mac)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pci(function: u8) -> PciAddr {
        format!("0000:02:10.{function}").parse().unwrap()
    }

    #[test]
    fn a_few_at_a_time_and_none_twice() {
        let (bench, now) = (Bench::default(), Instant::now());
        assert!(bench.begin(pci(0), now));
        assert!(!bench.begin(pci(0), now), "it is being cleaned");
        for other in 1..AT_ONCE as u8 {
            assert!(bench.begin(pci(other), now));
        }
        assert!(!bench.begin(pci(7), now), "all places are taken");
        bench.end(pci(0), None);
        assert!(bench.begin(pci(7), now));
    }

    #[test]
    fn what_failed_is_tried_again_when_it_is_due() {
        let (bench, now) = (Bench::default(), Instant::now());
        let later = now + Duration::from_secs(8);
        assert!(bench.begin(pci(0), now));
        bench.end(pci(0), Some(later));
        assert!(!bench.begin(pci(0), now));
        assert!(bench.begin(pci(1), now), "others do not wait for it");
        assert!(bench.begin(pci(0), later));
    }

    #[test]
    fn a_ring_is_heard_though_it_came_before() {
        let bench = Bench::default();
        bench.ring();
        bench.wait(Duration::from_secs(3600));
        assert!(!bench.lock().rung);
        bench.begin(pci(0), Instant::now());
        bench.end(pci(0), Some(Instant::now()));
        bench.lock().rung = false;
        bench.wait(Duration::from_secs(3600)); // one is due
    }

    #[test]
    fn what_is_to_be_looked_at_again_is() {
        let bench = Bench::default();
        bench.look_at(Instant::now() + Duration::from_secs(3600));
        bench.look_at(Instant::now());
        bench.wait(Duration::from_secs(7200));
        assert_eq!(bench.lock().look_at, None, "whoever looks says when again");
    }
}
