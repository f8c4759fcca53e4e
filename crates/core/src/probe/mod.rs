//! Promises tested: whether packets arrive whose checksum, or segmentation, is left to the hardware. Pure: what a
//! packet looks like ([`Question`]), what is concluded from what arrived ([`judge`]), what is then turned off, in what
//! order ([`ladder()`]), how often a peer is answered ([`Limit`]), when to ask ([`wait`]).

mod judge;
mod ladder;
mod limit;
mod question;
pub mod wait;

pub use judge::{ROUNDS, Round, Tally, Trial, Verdict, judge};
pub use ladder::{Cure, Feature, Rung, ladder};
pub use limit::Limit;
pub use question::{ANSWER, MAX_MESSAGE, MAX_STREAM, Question, single};

use crate::net::Family;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is asked, in this order: the later need the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Does a UDP packet arrive whose checksum is offloaded?
    Checksum,
    /// Do the packets arrive that are cut from a large one (UDP_SEGMENT)?
    Segments,
    /// Does TCP get through with more than one segment?
    Tcp,
}

impl Stage {
    /// In order.
    pub const ALL: [Self; 3] = [Self::Checksum, Self::Segments, Self::Tcp];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checksum => "checksum",
            Self::Segments => "segments",
            Self::Tcp => "tcp",
        })
    }
}

/// By which way packets leave the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Through the tunnel.
    Vxlan,
    /// By a route on the uplink.
    Direct,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vxlan => "vxlan",
            Self::Direct => "direct",
        })
    }
}

/// What one probe stands for, however many peers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Kind {
    /// By which way.
    pub way: Way,
    /// Of the pods' packets.
    pub family: Family,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {} pods", self.way, self.family)
    }
}
