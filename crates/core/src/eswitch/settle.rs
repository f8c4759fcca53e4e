//! From what a filter holds to what it should hold. How much fits nobody tells before it is tried.

use super::{Reason, Wanted};
use crate::ids::MacAddr;
use std::collections::BTreeSet;

/// What a PF's filter holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// All of it, but for the PF's own address.
    pub present: BTreeSet<MacAddr>,
    /// What we have added; of it, some may be gone.
    pub ours: BTreeSet<MacAddr>,
}

/// One change to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Adds an address.
    Add(MacAddr),
    /// Removes one.
    Remove(MacAddr),
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<E> {
    /// It was made.
    Done,
    /// There is no room.
    Full(E),
    /// It was refused for another reason.
    Refused(E),
}

/// What came of all changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled<E> {
    /// What the filter holds of ours.
    pub ours: BTreeSet<MacAddr>,
    /// What it does not hold and should, in the order of what was wanted.
    pub left_out: Vec<Wanted>,
    /// Why the first was left out for want of room.
    pub full: Option<E>,
    /// Other refusals.
    pub errors: Vec<E>,
    /// How many changes were made.
    pub changes: u64,
}

struct Settling<'a, E, K> {
    wanted: &'a [Wanted],
    present: BTreeSet<MacAddr>,
    kernel: K,
    done: Settled<E>,
}

/// Has `kernel` make the changes: what is ours and not wanted goes, what is missing comes, in the order of `wanted`. If
/// there is no room, what is wanted least gives way, if it is ours; but what was learned never gives way to something
/// else that was learned, or the filter would change with every frame.
pub fn settle<E>(wanted: &[Wanted], filter: &Filter, kernel: impl FnMut(Change) -> Outcome<E>) -> Settled<E> {
    let ours = filter.ours.intersection(&filter.present).copied().collect();
    let done = Settled { ours, left_out: Vec::new(), full: None, errors: Vec::new(), changes: 0 };
    let mut settling = Settling { wanted, present: filter.present.clone(), kernel, done };
    settling.remove_unwanted();
    settling.add_missing();
    settling.done.left_out = wanted.iter().filter(|w| !settling.present.contains(&w.mac)).cloned().collect();
    settling.done
}

impl<E, K: FnMut(Change) -> Outcome<E>> Settling<'_, E, K> {
    fn remove_unwanted(&mut self) {
        let wanted: BTreeSet<MacAddr> = self.wanted.iter().map(|w| w.mac).collect();
        let unwanted: Vec<MacAddr> = self.done.ours.difference(&wanted).copied().collect();
        for mac in unwanted {
            match self.change(Change::Remove(mac)) {
                Outcome::Done => {}
                Outcome::Full(e) | Outcome::Refused(e) => self.done.errors.push(e),
            }
        }
    }

    fn add_missing(&mut self) {
        for (rank, want) in self.wanted.iter().enumerate() {
            if self.present.contains(&want.mac) {
                continue;
            }
            match self.add(rank, want) {
                Outcome::Done => {}
                Outcome::Refused(e) => self.done.errors.push(e),
                // Nor is there room for what is wanted less.
                Outcome::Full(e) => {
                    self.done.full = Some(e);
                    return;
                }
            }
        }
    }

    fn add(&mut self, rank: usize, want: &Wanted) -> Outcome<E> {
        let refused = match self.change(Change::Add(want.mac)) {
            Outcome::Full(e) => e,
            other => return other,
        };
        let Some(victim) = self.victim(rank, want) else { return Outcome::Full(refused) };
        match self.change(Change::Remove(victim)) {
            Outcome::Done => {}
            Outcome::Full(e) | Outcome::Refused(e) => return Outcome::Refused(e),
        }
        let outcome = self.change(Change::Add(want.mac));
        if !matches!(outcome, Outcome::Done) {
            // It was not for want of room, or somebody else was quicker.
            let _ = self.change(Change::Add(victim));
        }
        outcome
    }

    /// What is wanted least of what is there by us.
    fn victim(&self, rank: usize, want: &Wanted) -> Option<MacAddr> {
        if want.reason == Reason::Learned {
            return None;
        }
        let less = self.wanted[rank + 1..].iter().rev();
        less.map(|w| w.mac).find(|mac| self.done.ours.contains(mac) && self.present.contains(mac))
    }

    fn change(&mut self, change: Change) -> Outcome<E> {
        let outcome = (self.kernel)(change);
        if matches!(outcome, Outcome::Done) {
            self.done.changes += 1;
            match change {
                Change::Add(mac) => {
                    self.present.insert(mac);
                    self.done.ours.insert(mac);
                }
                Change::Remove(mac) => {
                    self.present.remove(&mac);
                    self.done.ours.remove(&mac);
                }
            }
        }
        outcome
    }
}
