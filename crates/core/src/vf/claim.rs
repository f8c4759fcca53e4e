//! Who has a VF: one claim file for each PCI address, of inline plugins and the daemon alike. A VF without a claim
//! is free and clean.

use super::{VfMode, VfRef, VfState};
use crate::ids::AttachmentId;
use serde::{Deserialize, Serialize};

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

/// How a VF is claimed.
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
