//! Channels that a claimed VF lacks for want of interrupts (MSI-X vectors), which its port may have for it.

use crate::{Store, VfLock};
use offramp_core::cni::CniError;
use offramp_core::ids::IfName;
use offramp_core::vf::{Claim, VfState};
use offramp_kernel::ethtool::Ethtool;
use offramp_kernel::vf;
use std::os::fd::AsFd;

/// Why a netdev's driver does not have so many channels, in its words; none: it has.
pub fn lacks(netdev: &IfName, wanted: u32) -> Result<Option<String>, CniError> {
    let lacks = Ethtool::require(format!("ask {netdev} for channels"))
        .and_then(|mut ethtool| ethtool.lacks_combined(netdev, wanted));
    lacks.map_err(|e| CniError::try_again(e.to_string()))
}

/// Gives a VF so many vectors for the channels that are wanted: its state then. The error is why it does not have these. Its
/// driver is bound anew: in any case the VF is cleaned before it is free.
pub fn grow(
    store: &Store,
    claim: &Claim,
    lock: &VfLock,
    wanted: u32,
    vectors: u32,
) -> Result<VfState, String> {
    match try_to_grow(store, claim, lock, wanted, vectors) {
        Ok((state, None)) => Ok(state),
        Ok((_, Some(still))) => Err(format!("with {vectors} MSI-X vectors {still}")),
        Err(e) => Err(e.to_string()),
    }
}

/// Its state, and why it lacks channels all the same.
fn try_to_grow(
    store: &Store,
    claim: &Claim,
    lock: &VfLock,
    wanted: u32,
    vectors: u32,
) -> Result<(VfState, Option<String>), CniError> {
    let host = store.host();
    let host = host.with_lock(claim.vf.pci, lock.as_fd());
    vf::set_vectors(&host, &claim.vf, vectors)?;
    let look = || -> Result<(VfState, Option<String>), CniError> {
        let state = vf::state(&host, &claim.vf)?;
        let lacks = match &state.netdev {
            Some(netdev) => lacks(&netdev.name, wanted)?,
            None => Some("it has no interface then".into()),
        };
        Ok((state, lacks))
    };
    // A new netdev is renamed by udev, maybe just between the look at its name and the question by it.
    look().or_else(|_| look())
}
