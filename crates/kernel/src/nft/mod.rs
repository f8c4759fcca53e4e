//! nftables: ports of the node that lead to pods, masquerading, MAC checks.
//!
//! Two tables are ours: `inet offramp` (nat.nft) and, only where a MAC is checked, `bridge offramp` (spoof.nft).
//! Their rules never change; attachments come and go as elements of sets and maps, so that the cost of a packet
//! and of a change does not grow with the pods. Every change is one transaction of the kernel: all or nothing.
//! Commands are nft's own text, run by `nft` in the calling thread's network namespace.
//!
//! Callers serialise their changes and looks with each other by a file lock, which nft keeps until it ends, and remove an
//! attachment's rules before its addresses may become another's.

mod child;
mod conntrack;
mod element;
mod error;
mod listing;
mod localnet;
mod monitor;
mod nfnetlink;
pub mod script;
mod sources;

use conntrack::Forget;
use element::{Element, Table};
pub use error::NftError;
use error::{Fault, Reason};
pub use listing::Listing;
pub use localnet::enable_route_localnet;
pub use monitor::Monitor;
use offramp_core::firewall::{NodeRules, Rules};
pub use sources::sources_are_checked;
use std::os::fd::{AsFd, BorrowedFd};

/// Runs a script as one transaction.
///
/// # Errors
/// [`NftError`]; then nothing was changed.
pub fn apply(script: &str) -> Result<(), NftError> {
    Tables::unlocked().apply(script)
}

/// Our tables.
#[derive(Debug, Clone, Copy)]
pub struct Tables<'a> {
    lock: Option<BorrowedFd<'a>>,
}

impl<'a> Tables<'a> {
    /// As whoever holds a lock on `lock` (flock(2)): nft keeps it until it ends, so that nobody finds it free while the
    /// nft of a dead holder is still at work.
    pub fn locked_by(lock: &'a impl AsFd) -> Self {
        Self { lock: Some(lock.as_fd()) }
    }

    /// As somebody who is alone.
    pub const fn unlocked() -> Self {
        Self { lock: None }
    }

    /// Adds the rules of one attachment; makes the tables if need be. What is there already is no fault. Without
    /// rules nft is not run at all.
    ///
    /// # Errors
    /// [`NftError::PortTaken`] if a port leads elsewhere; others. Then nothing was changed, unless old UDP flows could not be
    /// forgotten: the caller removes the rules after any error.
    pub fn add(&self, rules: &Rules) -> Result<(), NftError> {
        let elements = Element::all(rules)?;
        if elements.is_empty() {
            return Ok(());
        }
        let blaming = |script: &str| self.apply(script).map_err(|e| e.blame(script, &elements));
        match blaming(&script::add_quick(&elements)) {
            Err(e) if e.is_missing() => blaming(&script::add(rules)?)?,
            done => done?,
        }
        conntrack::forget(rules, Forget::Elsewhere)
    }

    /// Removes the rules of one attachment. What is not there, or leads elsewhere by now, is no fault, and the latter stays.
    ///
    /// # Errors
    /// [`NftError`]; some rules may be left.
    pub fn remove(&self, rules: &Rules) -> Result<(), NftError> {
        let mut elements = Element::all(rules)?;
        while !elements.is_empty() {
            let script = script::remove_elements(&elements);
            let Err(error) = self.apply(&script) else { break };
            // One fault makes the whole transaction void: go on without what cannot be removed.
            let NftError::Refused(refusal) = &error else { return Err(error) };
            let not_ours = |f: &Fault| matches!(f.reason, Reason::Missing | Reason::Exists);
            let faulty =
                refusal.faults.iter().map(|f| f.element(&script, &elements).filter(|_| not_ours(f)).cloned());
            match faulty.collect::<Option<Vec<Element>>>() {
                Some(faulty) if !faulty.is_empty() => elements.retain(|e| !faulty.contains(e)),
                _ => return Err(error),
            }
        }
        conntrack::forget(rules, Forget::ToPod)
    }

    /// Looks for the rules of one attachment, changing nothing; returns the first that is not there, as nft writes it.
    ///
    /// # Errors
    /// [`NftError::PortTaken`] if a port leads elsewhere; others.
    pub fn missing(&self, rules: &Rules) -> Result<Option<String>, NftError> {
        const LOOKS: u32 = 50;
        for _ in 0..LOOKS {
            match self.missing_now(rules) {
                // The kernel does not answer from tables that somebody is changing.
                Err(e) if e.is_interrupted() => std::thread::sleep(std::time::Duration::from_millis(5)),
                answer => return answer,
            }
        }
        self.missing_now(rules)
    }

    fn missing_now(&self, rules: &Rules) -> Result<Option<String>, NftError> {
        let elements = Element::all(rules)?;
        let lines = |command: fn(&Element) -> String, only: fn(&&Element) -> bool| {
            elements.iter().filter(only).map(command).fold(String::new(), |text, line| text + &line + "\n")
        };
        let script = lines(Element::get, |_| true);
        match self.apply(&script) {
            Err(e) if e.is_interrupted() => return Err(e),
            Err(NftError::Refused(refusal)) => {
                let lacks = refusal.faults.iter().filter(|f| f.reason == Reason::Missing);
                return match lacks.filter_map(|f| f.element(&script, &elements)).next() {
                    Some(e) => Ok(Some(format!("{} {} {{ {} }}", e.table, e.set, e.body()))),
                    None => Err(NftError::Refused(refusal)),
                };
            }
            asked => asked?,
        }
        // Only an attempt tells that a key has another value (EEXIST); `-c` attempts without doing.
        let script = lines(Element::add, |e| e.host_port.is_some());
        match script.as_str() {
            "" => Ok(None),
            _ => self.run(&["-c", "-f", "-"], &script).map(|_| None).map_err(|e| e.blame(&script, &elements)),
        }
    }

    /// Makes the tables hold exactly this, whatever is there: for the daemon's start and for repairs.
    ///
    /// # Errors
    /// [`NftError`]
    pub fn replace(&self, node: &NodeRules, all: &[&Rules]) -> Result<(), NftError> {
        let checks = all.iter().any(|r| r.spoof_check.is_some());
        match self.apply(&script::replace(node, all)?) {
            // A kernel without the bridge family has no such table to be replaced.
            Err(e) if e.is_unsupported() && !checks => {
                self.apply(&script::replace_table(Table::Nat, node, all)?)
            }
            done => done,
        }
    }

    fn apply(&self, script: &str) -> Result<(), NftError> {
        self.run(&["-f", "-"], script).map(drop)
    }

    fn run(&self, args: &[&str], script: &str) -> Result<Vec<u8>, NftError> {
        child::run(args, script, self.lock)
    }
}

/// All tables of whomever, as `nft -j` prints them, in the calling thread's network namespace.
///
/// # Errors
/// [`NftError`]
pub fn ruleset() -> Result<Vec<u8>, NftError> {
    child::run(&["-j", "list", "ruleset"], "", None)
}

/// Removes both tables: for the daemon's removal from a node.
///
/// # Errors
/// [`NftError`]
pub fn drop_tables() -> Result<(), NftError> {
    match apply(&(script::drop(Table::Nat) + &script::drop(Table::Spoof))) {
        Err(e) if e.is_unsupported() => apply(&script::drop(Table::Nat)),
        done => done,
    }
}
