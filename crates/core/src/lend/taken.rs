//! Which VFs are not free.

use crate::nic::{PciAddr, Vf};
use crate::vf::{Claim, Claimed};
use std::collections::BTreeMap;
use std::fmt;

/// The VFs that are not free, by the claims of this node. The default: all are free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken(BTreeMap<PciAddr, Holding>);

/// A VF that is not free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Who has it, or had it last ([`Claim::who`]).
    pub holder: String,
    /// How it is held.
    pub hold: Hold,
    /// The driver it was bound to while it was free.
    pub driver: Option<String>,
}

/// How a VF is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// By its attachment.
    Lent,
    /// It is being cleaned; why it is not clean yet, may be empty.
    Quarantine(String),
    /// Somebody has it or is at work on it, no claim tells for whom; how that is known.
    Unclear(String),
}

impl Holding {
    /// Somebody's, by no claim that could be read.
    pub fn unclear(why: impl Into<String>) -> Self {
        Self { holder: "somebody".into(), hold: Hold::Unclear(why.into()), driver: None }
    }

    /// Whether nothing is known but that the VF is not free.
    pub fn is_unclear(&self) -> bool {
        matches!(self.hold, Hold::Unclear(_))
    }
}

impl fmt::Display for Holding {
    /// As it goes on after the VF's name: `is lent to default/web@net1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holder, hold, driver: _ } = self;
        match hold {
            Hold::Lent => write!(f, "is lent to {holder}"),
            Hold::Quarantine(why) if why.is_empty() => write!(f, "is in quarantine after {holder}"),
            Hold::Quarantine(why) => write!(f, "is in quarantine after {holder}: {why}"),
            Hold::Unclear(why) => write!(f, "may be somebody's: {why}"),
        }
    }
}

impl Taken {
    /// Who has a VF.
    pub fn get(&self, pci: PciAddr) -> Option<&Holding> {
        self.0.get(&pci)
    }

    /// Whether a VF is with its pod, and not in quarantine.
    pub fn is_lent(&self, pci: PciAddr) -> bool {
        self.get(pci).is_some_and(|h| h.hold == Hold::Lent)
    }

    /// Notes a VF.
    pub fn insert(&mut self, pci: PciAddr, holding: Holding) {
        self.0.insert(pci, holding);
    }

    /// Forgets a VF, which is free now.
    pub fn remove(&mut self, pci: PciAddr) -> Option<Holding> {
        self.0.remove(&pci)
    }

    /// The driver a VF has while it is free, as far as that is known.
    pub fn free_driver<'a>(&'a self, vf: &'a Vf) -> Option<&'a str> {
        match self.get(vf.pci) {
            Some(holding) if !holding.is_unclear() => holding.driver.as_deref(),
            _ => vf.driver.as_deref(),
        }
    }
}

impl<'a> FromIterator<&'a Claim> for Taken {
    fn from_iter<I: IntoIterator<Item = &'a Claim>>(claims: I) -> Self {
        let holding = |claim: &Claim| Holding {
            holder: claim.who(),
            hold: match &claim.state {
                Claimed::Lent => Hold::Lent,
                Claimed::Quarantine { reason, .. } => Hold::Quarantine(reason.clone()),
            },
            driver: claim.before.driver.clone(),
        };
        Self(claims.into_iter().map(|claim| (claim.vf.pci, holding(claim))).collect())
    }
}
