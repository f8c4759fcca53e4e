//! Who has a VF: one claim file for each PCI address, of inline plugins and the daemon alike. A VF without a claim
//! is free and clean.

use super::{VfMode, VfRef, VfState};
use crate::ids::AttachmentId;
use crate::record::{PodRef, who};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the claims' format.
pub const FORMAT: u32 = 1;

/// A VF that is not free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// [`FORMAT`]
    pub format: u32,
    /// The VF.
    pub vf: VfRef,
    /// The attachment that has it, or had it last.
    pub holder: AttachmentId,
    /// Its pod, where the runtime told: a record says so too, and is gone before the VF is clean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// The pool it was lent from; none: inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// What it is to its pod.
    pub mode: VfMode,
    /// What it was before.
    pub before: VfState,
    /// Lent, or being cleaned.
    pub state: Claimed,
    /// Since when it is in that state, in seconds since 1970.
    pub since: u64,
}

/// How a VF is claimed, or a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Claimed {
    /// Its attachment has a record that names it, or is about to.
    Lent,
    /// Its attachment is done with it: it is put back, reset and verified before anybody else gets it.
    Quarantine {
        /// Attempts so far.
        attempts: u32,
        /// Why the last one failed, or what it waits for; empty before the first.
        reason: String,
    },
}

impl Claimed {
    /// Its attachment is done with it, `since` now; what is in quarantine stays as it is.
    pub fn give_back(&mut self, since: &mut u64, now: u64) {
        if *self == Self::Lent {
            *self = Self::Quarantine { attempts: 0, reason: String::new() };
            *since = now;
        }
    }

    /// Whether it is in quarantine.
    pub fn is_quarantine(&self) -> bool {
        matches!(self, Self::Quarantine { .. })
    }
}

impl Claim {
    /// A VF that is lent to `holder` from now on.
    pub fn lent(vf: VfRef, holder: AttachmentId, mode: VfMode, before: VfState, now: u64) -> Self {
        let (pod, pool) = (None, None);
        Self { format: FORMAT, vf, holder, pod, pool, mode, before, state: Claimed::Lent, since: now }
    }

    /// The holder, for people ([`who`]).
    pub fn who(&self) -> String {
        who(&self.holder, self.pod.as_ref())
    }

    /// The same VF, to be cleaned; one that is being cleaned stays as it is.
    pub fn given_back(mut self, now: u64) -> Self {
        self.state.give_back(&mut self.since, now);
        self
    }

    /// Whether it is being cleaned.
    pub fn in_quarantine(&self) -> bool {
        self.state.is_quarantine()
    }
}

impl fmt::Display for Claim {
    /// `VF 3 of ens1f0 (0000:02:10.6) is held by default/web@net1 since 2026-02-01 10:30:00 UTC`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who();
        match &self.state {
            Claimed::Lent => write!(f, "{} is held by {who} since {}", self.vf, Utc(self.since)),
            Claimed::Quarantine { attempts, reason } => {
                write!(f, "{} is in quarantine since {}: ", self.vf, Utc(self.since))?;
                match attempts {
                    0 => write!(f, "{who} is done with it, and it is being cleaned"),
                    n => write!(f, "cleaning it failed {n} times: {reason}"),
                }
            }
        }
    }
}

/// A moment in seconds since 1970, as a date.
pub struct Utc(pub u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds) = (self.0 / 86400, self.0 % 86400);
        // Days since 0000-03-01, so that a leap day ends a year; 400 years have 146097 days.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153; // from March
        let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
        let year = era * 400 + year + u64::from(month <= 2);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::Utc;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_767_225_600, "2026-01-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ];
        for (seconds, date) in cases {
            assert_eq!(Utc(seconds).to_string(), date);
        }
    }
}
