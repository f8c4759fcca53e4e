//! What can go wrong with the state.

use offramp_core::cni::error::CniError;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read, written or removed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A record or claim that is none.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another call works on the same attachment.
    #[error("{what} is locked by another call{}", longer_than(*after))]
    Locked {
        /// What.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// The VF is somebody else's, or not clean yet.
    #[error("{0}")]
    Claimed(Box<offramp_core::vf::Claim>),
    /// Likewise a queue.
    #[error("{0}")]
    QueueClaimed(Box<offramp_core::queue::QueueClaim>),
    /// No address.
    #[error("network {network}: {why}")]
    Addresses {
        /// The network.
        network: String,
        /// Why not.
        why: offramp_core::ipam::PickError,
    },
}

/// Nothing, of what was not waited for.
fn longer_than(after: Duration) -> String {
    if after.is_zero() { String::new() } else { format!(" for more than {after:?}") }
}

impl Error {
    pub(crate) fn io(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { what, path, source }
    }
}

impl From<Error> for CniError {
    fn from(e: Error) -> Self {
        use offramp_core::ipam::PickError;
        let text = e.to_string();
        match e {
            Error::Io { .. } => Self::io(text),
            Error::Unreadable { .. } => Self::decode(text).with_details(
                "look at the file; if it is of no use, put right or remove what it names, and the file",
            ),
            Error::Locked { .. }
            | Error::Claimed(_)
            | Error::QueueClaimed(_)
            | Error::Addresses { why: PickError::Exhausted(_) | PickError::Taken(_), .. } => {
                Self::try_again(text)
            }
            Error::Addresses { why: PickError::NotOffered(_), .. } => Self::config(text),
        }
    }
}
