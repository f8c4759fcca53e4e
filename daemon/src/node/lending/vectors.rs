//! Interrupts for a VF that has too few channels for want of them. They are had while VFs are chosen, not when the pod is
//! made: whoever refuses them is known only once asked, and then another VF may do.

use super::Loans;
use super::claim::Miss;
use crate::node::{Node, now};
use offramp_core::nic::PortKey;
use offramp_core::vf::{Claim, VfRef, VfState};
use offramp_kernel::sysfs::online_cpus;
use offramp_ledger::{VfLock, channels};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a VF lacks, and what may help.
pub(super) struct Lack {
    /// Channels that are wanted.
    pub wanted: u32,
    /// Why its driver does not have them, in its words.
    pub why: String,
    /// MSI-X vectors that it needs for them.
    pub vectors: u32,
}

/// A VF that is claimed, and is to get what it lacks.
pub(super) struct Growth {
    pub claim: Claim,
    pub lock: VfLock,
    pub lack: Lack,
}

impl Node {
    /// How many interrupts may give a VF the channels that its driver does not have; none: others do not help. The error
    /// is its port's refusal of so many.
    pub(super) fn vectors_for(
        &self,
        vf: &VfRef,
        state: &VfState,
        wanted: u32,
    ) -> Result<Option<u32>, String> {
        let Ok(cpus) = online_cpus(&self.sysfs()) else { return Ok(None) };
        let Some(vectors) = state.vectors_for(wanted, cpus) else { return Ok(None) };
        self.refusals.recent(&vf.port, vectors, Instant::now()).map_or(Ok(Some(vectors)), Err)
    }

    /// Gives VFs what they lack, up to the first refusal.
    pub(super) fn grow_all(&self, mut loans: Loans, growths: Vec<Growth>) -> Result<Loans, Miss> {
        for growth in growths {
            let pci = growth.claim.vf.pci;
            let grown = self.grow(growth)?;
            if let Some(loan) = loans.all_mut().find(|loan| loan.lent.vf.pci == pci) {
                loan.before = grown;
            }
        }
        Ok(loans)
    }

    /// The VF's state then. One that does not get what it lacks was touched all the same: it is cleaned before it is free.
    fn grow(&self, growth: Growth) -> Result<VfState, Miss> {
        let Growth { claim, lock, lack: Lack { wanted, why, vectors } } = growth;
        let refused = match channels::grow(&self.store, &claim, &lock, wanted, vectors) {
            Ok(state) => {
                tracing::info!(vf = %claim.vf, vectors, wanted, "has its channels, by more interrupts");
                return Ok(state);
            }
            Err(refused) => refused,
        };
        tracing::warn!(vf = %claim.vf, why, refused, "has not got the channels that are wanted");
        self.refusals.note(claim.vf.port.clone(), vectors, refused.clone(), Instant::now());
        self.store.claims().set(&claim.clone().given_back(now()))?;
        // The cleaner needs it.
        drop(lock);
        self.bench.ring();
        Err(Miss::NoChannels(claim.vf, wanted, format!("{why}; {refused}")))
    }
}

/// Ports that have refused interrupts. To ask one a VF's driver is unbound, so not every pod's ADD asks again; but VFs may
/// have given some back, or an operator may have.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<PortKey, Refusal>>);

#[derive(Debug)]
struct Refusal {
    count: u32,
    why: String,
    at: Instant,
}

impl Refusals {
    const LASTS: Duration = Duration::from_secs(60);

    /// A port has refused to give one VF so many.
    fn note(&self, port: PortKey, count: u32, why: String, at: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(port, Refusal { count, why, at });
    }

    /// Why a port has refused so many, or fewer, a short while ago.
    fn recent(&self, port: &PortKey, count: u32, now: Instant) -> Option<String> {
        let refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = refusals.get(port)?;
        let holds = count >= refusal.count && now.saturating_duration_since(refusal.at) < Self::LASTS;
        holds.then(|| refusal.why.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_refused_is_asked_for_less_at_once_and_for_as_much_later() {
        let port = |port| PortKey { device: "0000:01:00.0".into(), port };
        let (refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.recent(&port(0), 5, start), None);
        refusals.note(port(0), 5, "no space".into(), start);
        for (of, count, seconds, refused) in
            [(0, 5, 0, true), (0, 9, 59, true), (0, 4, 0, false), (0, 5, 60, false), (1, 5, 0, false)]
        {
            let why = refusals.recent(&port(of), count, start + Duration::from_secs(seconds));
            assert_eq!(
                why.as_deref(),
                refused.then_some("no space"),
                "{count} of port {of} after {seconds} s"
            );
        }
    }
}
