//! From what arrived to what is wrong. Only one thing is a fault of this node: at no peer that answers does anything
//! arrive that was left to the hardware, while the same without that arrives, in every round. Whatever else may be (a
//! peer that is old or away, a filter, loss) is "unknown": it changes nothing.

use crate::ids::NodeName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// So many rounds must fail, one after the other, for a peer to count as not reached.
pub const ROUNDS: usize = 3;

/// What was sent in one round, and how much of it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Without help from the hardware: sent.
    pub control_sent: u32,
    /// Answered.
    pub control_answered: u32,
    /// With a checksum, or a cut into segments, that the hardware has to do: sent.
    pub offloaded_sent: u32,
    /// Answered.
    pub offloaded_answered: u32,
}

/// What one round says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Round {
    /// What is offloaded arrives.
    Passes,
    /// The control arrives, what is offloaded does not.
    Fails,
    /// Nothing.
    Unclear(String),
}

impl From<Tally> for Round {
    fn from(tally: Tally) -> Self {
        let Tally { control_sent, control_answered, offloaded_sent, offloaded_answered } = tally;
        let most = |answered: u32, sent: u32| answered > 0 && answered * 2 > sent;
        if most(offloaded_answered, offloaded_sent) {
            Self::Passes
        } else if control_answered == 0 && offloaded_answered == 0 {
            Self::Unclear("no answer".into())
        } else if offloaded_sent > 0 && offloaded_answered == 0 && most(control_answered, control_sent) {
            Self::Fails
        } else {
            Self::Unclear(format!(
                "packets are lost: answered were {control_answered} of {control_sent}, and {offloaded_answered} of \
                 {offloaded_sent} that were offloaded"
            ))
        }
    }
}

/// What was tried with one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The peer.
    pub peer: NodeName,
    /// In order; no more are needed after one that passes.
    pub rounds: Vec<Round>,
}

impl Trial {
    /// What all rounds say together.
    fn outcome(&self) -> Round {
        let unclear = self.rounds.iter().rfind(|round| matches!(round, Round::Unclear(_)));
        if self.rounds.contains(&Round::Passes) {
            Round::Passes
        } else if let Some(unclear) = unclear {
            unclear.clone()
        } else if self.rounds.len() >= ROUNDS {
            Round::Fails
        } else {
            Round::Unclear("not asked often enough".into())
        }
    }
}

/// What is known of one stage on one kind of path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum Verdict {
    /// It does what it promises.
    Works,
    /// It does not.
    Faulty,
    /// Nobody knows.
    Unknown {
        /// Why not.
        why: String,
    },
}

impl Verdict {
    /// Nobody knows, because of this.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }

    /// One word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Faulty => "faulty",
            Self::Unknown { .. } => "unknown",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { why } => write!(f, "unknown: {why}"),
            other => f.write_str(other.as_str()),
        }
    }
}

/// What follows from the trials with a few peers.
pub fn judge(trials: &[Trial]) -> Verdict {
    let outcomes: Vec<(&NodeName, Round)> = trials.iter().map(|t| (&t.peer, t.outcome())).collect();
    let who = |is: &Round| outcomes.iter().find(|(_, outcome)| outcome == is).map(|(peer, _)| *peer);
    match (who(&Round::Passes), who(&Round::Fails)) {
        (Some(_), None) => Verdict::Works,
        (None, Some(_)) => Verdict::Faulty,
        (Some(good), Some(bad)) => Verdict::unknown(format!(
            "what arrives at {good} does not arrive at {bad}: it is not this node alone"
        )),
        (None, None) if outcomes.is_empty() => Verdict::unknown("no peer to ask"),
        (None, None) => {
            let each = outcomes.iter().filter_map(|(peer, outcome)| match outcome {
                Round::Unclear(why) => Some(format!("{peer}: {why}")),
                Round::Passes | Round::Fails => None,
            });
            Verdict::unknown(each.collect::<Vec<_>>().join("; "))
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
