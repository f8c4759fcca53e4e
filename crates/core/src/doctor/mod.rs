//! What an expert would look at on a node, and say of what he sees. The daemon's command line gathers [`Facts`] from
//! kernel, files and the daemon itself; each topic here judges them, and changes nothing.

mod facts;
mod firewall;
mod install;
mod links;
mod mtu;
mod nics;
mod offload;
mod overlay;
mod routing;
mod software;
mod state;
#[cfg(test)]
mod tests;

pub use facts::*;
pub use firewall::{LegacyTable, legacy_listing};

use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work, or will not for the next pod.
    Fault,
    /// It works, but not as it should, or not for long.
    Warning,
    /// It could be better; it may be meant so.
    Hint,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
            Self::Hint => "hint",
        })
    }
}

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its name, for ever: scripts go by it.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it means, in a few words.
    pub means: &'static str,
    /// Where more is to be read.
    pub docs: &'static str,
}

impl Kind {
    /// One of this kind: what is wrong here, the values that show it, and what to do.
    fn found(
        &self,
        what: impl Into<String>,
        evidence: impl IntoIterator<Item = String>,
        todo: impl Into<String>,
    ) -> Finding {
        Finding {
            id: self.id.to_owned(),
            severity: self.severity,
            what: what.into(),
            evidence: evidence.into_iter().collect(),
            todo: todo.into(),
            docs: self.docs.to_owned(),
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// [`Kind::id`]
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub what: String,
    /// The values that show it.
    pub evidence: Vec<String>,
    /// What to do, a command where there is one.
    pub todo: String,
    /// Where more is to be read.
    pub docs: String,
}

/// All kinds of findings, in the order in which they are looked for: what explains others comes first.
pub const KINDS: &[&[Kind]] = &[
    software::KINDS,
    install::KINDS,
    state::KINDS,
    links::KINDS,
    nics::KINDS,
    mtu::KINDS,
    overlay::KINDS,
    offload::KINDS,
    routing::KINDS,
    firewall::KINDS,
    software::LAST,
];

/// All kinds of findings.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().copied().flatten()
}

/// Everything that is wrong, the worst first.
pub fn check(facts: &Facts) -> Vec<Finding> {
    const TOPICS: [fn(&Facts) -> Vec<Finding>; 10] = [
        software::check,
        install::check,
        state::check,
        links::check,
        nics::check,
        mtu::check,
        overlay::check,
        offload::check,
        routing::check,
        firewall::check,
    ];
    let mut all: Vec<Finding> = TOPICS.into_iter().flat_map(|topic| topic(facts)).collect();
    all.extend(software::told(facts, &all));
    all.sort_by_key(|finding| finding.severity);
    all
}

/// `1 VF`, `2 VFs`.
fn plural(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// The first of many, and how many more there are.
fn some(all: impl IntoIterator<Item = String>) -> Vec<String> {
    const TOLD: usize = 10;
    let mut all: Vec<String> = all.into_iter().collect();
    if all.len() > TOLD {
        let more = all.len() - TOLD;
        all.truncate(TOLD);
        all.push(format!("and {more} more"));
    }
    all
}
