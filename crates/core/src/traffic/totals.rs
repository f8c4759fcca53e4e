//! Counters that never go back, from ones that come and go with their interfaces.

use super::Bytes;
use crate::ids::{AttachmentId, IfName};
use crate::plan::Path;
use std::collections::{BTreeMap, HashMap, HashSet};

/// One interface of one attachment. A later attachment of the same names is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose.
    pub attachment: AttachmentId,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Its name in the pod.
    pub ifname: IfName,
}

/// What is added up together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// How an interface is made.
    pub path: Path,
    /// The port whose VF it is.
    pub pf: Option<IfName>,
}

/// What interfaces have moved since the daemon began, those that are gone included.
#[derive(Debug, Default)]
pub struct Totals {
    totals: BTreeMap<Label, Bytes>,
    last: HashMap<Key, Bytes>,
    ended: HashSet<Key>,
}

impl Totals {
    /// A look begins, of these interfaces: all others are gone, with what they were last seen to have moved.
    pub fn begin(&mut self, present: &HashSet<Key>) {
        self.last.retain(|key, _| present.contains(key));
        self.ended.retain(|key| present.contains(key));
    }

    /// A counter stands at `now`. `began` is where it stood as the interface became the pod's, if that was while the daemon
    /// ran, and is known; otherwise a first look only tells where it stands.
    pub fn seen(&mut self, key: &Key, label: &Label, now: Bytes, began: Option<Bytes>) {
        // The look may have begun before the end.
        if !self.ended.contains(key) {
            self.add(key, label, now, began);
        }
    }

    /// The interface is about to go; `now` is the last that its counter told, if it did.
    pub fn end(&mut self, key: Key, label: &Label, now: Option<Bytes>, began: Option<Bytes>) {
        if !self.ended.contains(&key) {
            if let Some(now) = now {
                self.add(&key, label, now, began);
            }
            self.last.remove(&key);
            self.ended.insert(key);
        }
    }

    /// All that was moved, by label.
    pub fn totals(&self) -> impl Iterator<Item = (&Label, Bytes)> + '_ {
        self.totals.iter().map(|(label, bytes)| (label, *bytes))
    }

    fn add(&mut self, key: &Key, label: &Label, now: Bytes, began: Option<Bytes>) {
        let before = self.last.insert(key.clone(), now).or(began);
        let moved = before.map_or(Bytes::default(), |before| now.since(before));
        let total = self.totals.entry(label.clone()).or_default();
        *total = total.plus(moved);
    }
}
