//! Label sets: typed, so that a label's values are few and known.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use std::fmt::{Error, Write};

/// A label value that is one of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $vis:vis $name:ident { $($(#[$vdoc:meta])* $variant:ident => $word:literal),* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$vdoc])* $variant),* }
        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), Error> {
                encoder.write_str(match self { $(Self::$variant => $word),* })
            }
        }
    };
}

words! {
    /// How something ended.
    pub Outcome {
        /// Well.
        Ok => "ok",
        /// With an error, which the log has.
        Error => "error"
    }
}
words! {
    /// How a peer is.
    pub PeerState {
        /// All that leads to it is in place.
        Ok => "ok",
        /// It is left out, or cannot be reached.
        Failed => "failed"
    }
}
words! {
    /// How a VF is.
    pub(super) VfState {
        /// It can be lent.
        Free => "free",
        /// An attachment has it.
        Lent => "lent",
        /// It is being cleaned.
        Quarantine => "quarantine",
        /// Nobody has it, and it cannot be lent.
        Unusable => "unusable"
    }
}
words! {
    /// Queues of a netdev.
    pub(super) QueueState {
        /// That there are.
        Used => "used",
        /// That there can be.
        Most => "most"
    }
}
words! {
    /// Ports that the configuration wants something of.
    pub(super) Ruled {
        /// They are so.
        Ok => "ok",
        /// They are not.
        Failed => "failed"
    }
}
words! {
    /// MACs behind a bridge, as a PF's embedded switch sees them.
    pub(super) Known {
        /// It knows them.
        Known => "known",
        /// It has no room for them.
        LeftOut => "left-out"
    }
}
words! {
    /// What pods are told by.
    pub Message {
        /// Their annotations.
        Status => "status",
        /// Events.
        Event => "event"
    }
}
words! {
    /// What became of it.
    pub Fate {
        /// The API has it.
        Sent => "sent",
        /// The API does not want it: the pod is gone, or it is not allowed.
        Refused => "refused",
        /// It was said already, or too much was said.
        Limited => "limited",
        /// Too much waits.
        Dropped => "dropped"
    }
}
words! {
    /// As the pod sees it.
    pub(super) Direction {
        /// By the pod.
        Received => "received",
        /// By the pod.
        Sent => "sent"
    }
}
words! {
    /// Whether somebody counts what an interface moves.
    pub(super) Counters {
        /// Somebody does.
        Read => "read",
        /// Nobody does, or they cannot be read.
        Unknown => "unknown"
    }
}
words! {
    /// Addresses of a range.
    pub(super) Use {
        /// That attachments hold.
        Used => "used",
        /// That there are.
        Capacity => "capacity"
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MessageLabel {
    pub what: Message,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MessageFate {
    pub what: Message,
    pub outcome: Fate,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WatchLabel {
    pub watch: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AttachmentLabels {
    pub state: &'static str,
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Range {
    pub range: String,
    pub state: Use,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PeerLabel {
    pub state: PeerState,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct VfLabel {
    pub pool: String,
    pub state: VfState,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RuledLabel {
    pub state: Ruled,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reason {
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PortLabel {
    pub port: String,
    pub state: Known,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PathLabel {
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PathOutcome {
    pub path: String,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReleaseLabel {
    pub outcome: Outcome,
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BytesLabel {
    pub path: String,
    pub direction: Direction,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct VfBytesLabel {
    pub pf: String,
    pub direction: Direction,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CountersLabel {
    pub path: String,
    pub counters: Counters,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabel {
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct What {
    pub what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LoopOutcome {
    pub what: &'static str,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Build {
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OffloadLabel {
    pub device: String,
    pub kind: String,
    pub offload: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct QueueLabel {
    pub device: String,
    pub state: QueueState,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AbilityLabel {
    pub ability: &'static str,
}
