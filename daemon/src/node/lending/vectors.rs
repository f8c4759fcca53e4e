//! Interrupts for a VF that has too few channels for want of them. They are had while VFs are chosen, not when the pod is
//! made: whoever refuses them is known only once asked, and then another VF may do.

use super::claim::{Miss, lacks_channels};
use crate::node::{Node, now};
use offramp_core::cni::CniError;
use offramp_core::lend::Lent;
use offramp_core::vf::{Claim, VfState};
use offramp_kernel::vf;
use offramp_ledger::VfLock;
use std::os::fd::AsFd;

/// What a VF lacks, and what may help.
pub(super) struct Lack {
    /// Channels that are wanted.
    pub wanted: u32,
    /// Why its driver does not have them, in its words.
    pub why: String,
    /// MSI-X vectors that it needs for them.
    pub vectors: u32,
}

impl Node {
    /// Gives a VF that was claimed what it lacks; its state then. One that does not get it was touched all the same: it is
    /// cleaned before it is free.
    pub(super) fn grow(
        &self,
        claim: &Claim,
        lock: &VfLock,
        lent: &Lent,
        lack: Lack,
    ) -> Result<VfState, Miss> {
        let Lack { wanted, why, vectors } = lack;
        let host = self.store.host();
        let host = host.with_lock(claim.vf.pci, lock.as_fd());
        let grow = || -> Result<(VfState, Option<String>), CniError> {
            vf::set_vectors(&host, &claim.vf, vectors)?;
            let state = vf::state(&host, &claim.vf)?;
            let lacks = match &state.netdev {
                Some(netdev) => lacks_channels(&netdev.name, lent)?.map(|(_, why)| why),
                None => Some("it has no interface then".into()),
            };
            Ok((state, lacks))
        };
        let refused = match grow() {
            Ok((state, None)) => {
                tracing::info!(vf = %claim.vf, vectors, wanted, "has its channels, by more interrupts");
                return Ok(state);
            }
            Ok((_, Some(still))) => format!("with {vectors} MSI-X vectors {still}"),
            Err(e) => e.to_string(),
        };
        tracing::warn!(vf = %claim.vf, why, refused, "has not got the channels that are wanted");
        self.store.claims().set(&claim.clone().given_back(now()))?;
        self.bench.ring();
        Err(Miss::NoChannels(claim.vf.clone(), wanted, format!("{why}; {refused}")))
    }
}
