//! What can go wrong, and what nft says about it.

use super::child::{DEADLINE, DIRECTORIES};
use super::element::Element;
use offramp_core::cni::error::CniError;
use offramp_core::firewall::HostPortRule;
use offramp_core::ids::IfName;
use offramp_core::spec::Protocol;
use std::io;
use std::net::IpAddr;

/// Why nftables does not hold what was wanted. Transactions are atomic: nothing of a failed one is there.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// There is no `nft`.
    #[error(
        "nft was not found in PATH nor in {}: install the package nftables; hostPort, masquerading and MAC checks need it",
        DIRECTORIES.join(", ")
    )]
    NotInstalled,
    /// Another pod has the port.
    #[error("{} port {host_port} of {} is another pod's", protocol.as_str(), at(*host_ip))]
    PortTaken {
        /// The port's protocol.
        protocol: Protocol,
        /// The node's address; none: all.
        host_ip: Option<IpAddr>,
        /// The node's port.
        host_port: u16,
    },
    /// An interface's name holds what nft's text cannot quote.
    #[error("interface name {:?} cannot be written in an nft rule", .0.as_str())]
    Name(IfName),
    /// nft did not end in time.
    #[error("nft did not end within {} s and was killed", DEADLINE.as_secs())]
    Deadline,
    /// nft refused.
    #[error("nft refused: {0}")]
    Refused(Refusal),
    /// nft's listing is not what it should be.
    #[error("read nft's listing: {0}")]
    Listing(String),
    /// A system call failed.
    #[error(transparent)]
    Kernel(#[from] crate::Error),
}

impl From<NftError> for CniError {
    fn from(e: NftError) -> Self {
        let text = e.to_string();
        match e {
            NftError::Kernel(e) => e.into(),
            NftError::Deadline | NftError::PortTaken { .. } => Self::try_again(text),
            NftError::NotInstalled | NftError::Name(_) | NftError::Refused(_) | NftError::Listing(_) => {
                Self::kernel(text)
            }
        }
    }
}

fn at(host_ip: Option<IpAddr>) -> String {
    host_ip.map_or_else(|| "the node".to_owned(), |ip| ip.to_string())
}

impl NftError {
    /// For `map_err`.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| crate::Error::io(doing, &source).into()
    }

    /// Whether something that the script names is not there (ENOENT).
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused(r) if r.faults.iter().any(|f| f.reason == Reason::Missing))
    }

    /// Whether somebody changed the tables meanwhile (EINTR): ask again.
    pub(super) fn is_interrupted(&self) -> bool {
        matches!(self, Self::Refused(r) if r.faults.iter().any(|f| f.reason == Reason::Interrupted))
    }

    /// Whether the kernel lacks what the script needs: the bridge family.
    pub(super) fn is_unsupported(&self) -> bool {
        matches!(self, Self::Refused(r) if r.faults.iter().any(|f| f.reason == Reason::Unsupported))
    }

    /// Says which port is taken, if that is why `script` was refused.
    pub(super) fn blame(self, script: &str, elements: &[Element]) -> Self {
        let Self::Refused(refusal) = &self else { return self };
        let taken = refusal.faults.iter().filter(|f| f.reason == Reason::Exists);
        let port = taken.filter_map(|f| f.element(script, elements)?.host_port).next();
        match port {
            Some(HostPortRule { protocol, host_ip, host_port, .. }) => {
                Self::PortTaken { protocol, host_ip, host_port }
            }
            None => self,
        }
    }
}

/// What nft wrote on its standard error.
#[derive(Debug)]
pub struct Refusal {
    text: String,
    pub(super) faults: Vec<Fault>,
}

impl std::fmt::Display for Refusal {
    /// The first fault with its command, or all if there is none.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut lines = self.text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('^'));
        f.write_str(lines.next().unwrap_or("without a word"))?;
        lines.next().map_or(Ok(()), |command| write!(f, ": {command}"))?;
        match self.faults.len() {
            0 | 1 => Ok(()),
            n => write!(f, " (and {} more)", n - 1),
        }
    }
}

impl Refusal {
    pub(super) fn parse(text: String) -> Self {
        let faults = text.lines().filter_map(Fault::parse).collect();
        Self { text, faults }
    }
}

/// One fault in a script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// From 1; none if nft does not say.
    pub line: Option<usize>,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// ENOENT
    Missing,
    /// EEXIST: with another value
    Exists,
    /// EOPNOTSUPP, EAFNOSUPPORT
    Unsupported,
    /// EINTR
    Interrupted,
    Other,
}

impl Fault {
    /// `/dev/stdin:3:18-24: Error: Could not process rule: File exists`. The C locale is set for the child.
    fn parse(line: &str) -> Option<Self> {
        let (place, why) =
            line.split_once(" Error: ").or_else(|| line.strip_prefix("Error: ").map(|w| ("", w)))?;
        let line = place.split(':').nth(1).and_then(|n| n.parse().ok());
        let has = |text: &str| why.contains(text);
        let reason = if has("No such file or directory") {
            Reason::Missing
        } else if has("File exists") {
            Reason::Exists
        } else if has("not supported") {
            Reason::Unsupported
        } else if has("Interrupted system call") {
            Reason::Interrupted
        } else {
            Reason::Other
        };
        Some(Self { line, reason })
    }

    /// The element that the faulty line adds, deletes or asks for.
    pub fn element<'a>(&self, script: &str, elements: &'a [Element]) -> Option<&'a Element> {
        let line = script.lines().nth(self.line?.checked_sub(1)?)?;
        elements.iter().find(|e| [e.add(), e.delete(), e.get()].iter().any(|l| l == line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_what_nft_writes() {
        // nft 1.0.6 and 1.1.3
        let text = "/dev/stdin:1:38-58: Error: Could not process rule: File exists\n\
                    add element inet offramp host_ports4 { tcp . 8080 : 10.0.0.6 . 80 }\n\
                    \x20                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^\n\
                    /dev/stdin:3:18-24: Error: No such file or directory; did you mean table ‘x’ in family ip?\n\
                    add element inet offramp masquerade4 { 10.0.0.5 }\n\
                    \x20                ^^^^^^^\n\
                    Error: Could not process rule: Operation not supported\n";
        let refusal = Refusal::parse(text.into());
        assert_eq!(
            refusal.faults,
            [
                Fault { line: Some(1), reason: Reason::Exists },
                Fault { line: Some(3), reason: Reason::Missing },
                Fault { line: None, reason: Reason::Unsupported },
            ]
        );
        assert_eq!(
            NftError::Refused(refusal).to_string(),
            "nft refused: /dev/stdin:1:38-58: Error: Could not process rule: File exists: \
             add element inet offramp host_ports4 { tcp . 8080 : 10.0.0.6 . 80 } (and 2 more)"
        );
    }

    #[test]
    fn silence_is_reported_too() {
        assert_eq!(
            NftError::Refused(Refusal::parse(String::new())).to_string(),
            "nft refused: without a word"
        );
    }
}
