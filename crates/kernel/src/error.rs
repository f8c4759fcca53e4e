//! What the kernel refused: every error names the call, its object and the reason.

use offramp_core::cni::error::CniError;
use std::path::PathBuf;
use std::time::Duration;

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call or netlink request was refused.
    #[error("{what}: {}", refusal(*.errno, extack.as_deref()))]
    Refused {
        /// What was tried, on what.
        what: String,
        /// The positive error number.
        errno: i32,
        /// The kernel's extended acknowledgement.
        extack: Option<String>,
    },
    /// Something of that name is there already.
    #[error("{what} exists already")]
    Exists {
        /// Kind and name.
        what: String,
    },
    /// Something is not there.
    #[error("{what} is not there")]
    Missing {
        /// Kind and name.
        what: String,
    },
    /// Something is there, but is not what it must be.
    #[error("{what}: {why}")]
    Unfit {
        /// Kind and name.
        what: String,
        /// What it is, and what it must be.
        why: String,
    },
    /// A bridge has no port left (`BR_MAX_PORTS`, net/bridge/br_private.h).
    #[error("bridge {bridge} is full: it has the kernel's most, 1023 ports")]
    BridgeFull {
        /// Its name.
        bridge: String,
    },
    /// The node would take any source address from a link that it routes by.
    #[error(
        "link {link} stays down: table inet offramp does not check the sources of what comes from there; offrampd puts \
         the check back as soon as it sees that, its log says why it could not"
    )]
    Unguarded {
        /// Its name.
        link: String,
    },
    /// The bound was reached.
    #[error("{what}: not within {after:?}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// A write that hangs in the kernel: a process goes on with it, and nobody must repeat it beside that.
    #[error("{what}: it hangs in the kernel for more than {after:?}, process {pid} goes on with it")]
    Stuck {
        /// What was tried, on what.
        what: String,
        /// The process.
        pid: u32,
        /// How long it was waited for.
        after: Duration,
    },
    /// A path that does not lead to a network namespace.
    #[error("netns {}: {why}", path.display())]
    Netns {
        /// The path.
        path: PathBuf,
        /// Why not.
        why: String,
        /// Whether there is nothing at that path.
        gone: bool,
    },
    /// A message that cannot be read.
    #[error("{what}: the kernel's answer cannot be read: {why}")]
    Decode {
        /// What was asked.
        what: String,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// A refusal by error number.
    pub fn refused(what: impl Into<String>, errno: i32) -> Self {
        Self::Refused { what: what.into(), errno, extack: None }
    }

    /// A refusal of a system call.
    pub fn sys(what: impl Into<String>, errno: nix::errno::Errno) -> Self {
        Self::refused(what, errno as i32)
    }

    /// A refusal as the standard library reports it.
    pub fn io(what: impl Into<String>, error: &std::io::Error) -> Self {
        Self::refused(what, error.raw_os_error().unwrap_or(nix::libc::EIO))
    }

    /// The words of whoever refused, without what was tried.
    pub fn words(&self) -> String {
        match self {
            Self::Refused { errno, extack, .. } => refusal(*errno, extack.as_deref()),
            Self::Unfit { why, .. } => why.clone(),
            other => other.to_string(),
        }
    }

    /// The error number of a refusal.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

/// `Operation not supported (95): ` and the kernel's words, if it said any.
fn refusal(errno: i32, extack: Option<&str>) -> String {
    let words = extack.map(|words| format!(": {words}")).unwrap_or_default();
    format!("{} ({errno}){words}", nix::errno::Errno::from_raw(errno).desc())
}

impl From<Error> for CniError {
    fn from(e: Error) -> Self {
        let text = e.to_string();
        match e {
            Error::Netns { gone: true, .. } => Self::unknown_container(text),
            Error::Netns { .. } => Self::environment(format!("CNI_NETNS: {text}")),
            Error::Exists { .. } => Self::exists(text),
            Error::BridgeFull { .. } => Self::limit(text),
            Error::Timeout { .. } | Error::Stuck { .. } | Error::Unguarded { .. } => Self::try_again(text),
            Error::Refused { .. } | Error::Missing { .. } | Error::Unfit { .. } | Error::Decode { .. } => {
                Self::kernel(text)
            }
        }
    }
}
