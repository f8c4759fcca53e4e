//! What came of a look.

use crate::Error;
use offramp_core::overlay::Underlay;
use std::fmt::Display;

/// The outcome of one look.
#[derive(Debug, Default)]
pub struct Report {
    /// What carries the traffic; none if it was not found, or nothing is to be carried.
    pub underlay: Option<Underlay>,
    /// The VXLAN device's number.
    pub tunnel: Option<u32>,
    /// What was changed.
    pub changes: Changes,
    /// How many `sendmsg` the changes to the tables took.
    pub batches: usize,
    /// What could not be done.
    pub errors: Vec<Error>,
}

/// What was changed: how much, and the first of it as text. Of thousands of peers the rest is of no interest to anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// How many changes.
    pub count: usize,
    /// The first of them.
    pub first: Vec<String>,
}

impl Changes {
    const TOLD: usize = 50;

    /// One more.
    pub(super) fn note(&mut self, change: &dyn Display) {
        self.count += 1;
        if self.first.len() < Self::TOLD {
            self.first.push(change.to_string());
        }
    }
}
