//! Cleaning a VF that its attachment is done with: it is put back to what it was, reset, and verified field by field.
//! Only then its claim goes, and the VF is free.
//!
//! An attempt starts over from the claim, whatever an earlier one came to that was killed: each part finds done what is
//! done. What blocks in the kernel for ever is left to a child that holds the VF's lock as long as it lives, so that
//! nothing is tried beside it.

mod device;
mod pipeline;

pub use device::KernelDevice;
pub use pipeline::{Device, Ran, clean};

use crate::claims::{Claims, VfLock};
use crate::{Error, Result};
use offramp_core::nic::PciAddr;
use offramp_core::vf::{Claim, Claimed};
use offramp_kernel::crash;
use std::time::Duration;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is nothing to clean: the VF has no claim, or is lent.
    Nothing,
    /// Clean, and free.
    Free,
    /// The VF itself is gone, and its claim with it.
    Gone,
    /// Somebody else is at it, maybe a child that hangs in the kernel.
    Busy,
    /// It stays in quarantine.
    Quarantined {
        /// Attempts so far.
        attempts: u32,
        /// Why this one failed.
        reason: String,
    },
}

/// Cleans a VF if it is in quarantine. Its lock is waited for at most `patience`.
pub fn attempt(claims: &Claims, pci: PciAddr, patience: Duration) -> Result<Outcome> {
    attempt_with(claims, pci, patience, |claim, lock| KernelDevice::new(claims.host(), claim, lock))
}

/// As [`attempt`], of a VF that the caller has locked. The lock is given back: a child that hangs goes on holding it.
pub fn attempt_locked(claims: &Claims, pci: PciAddr, lock: VfLock) -> Result<Outcome> {
    run(claims, pci, lock, |claim, lock| KernelDevice::new(claims.host(), claim, lock))
}

fn attempt_with<D: Device>(
    claims: &Claims,
    pci: PciAddr,
    patience: Duration,
    device: impl FnOnce(Claim, VfLock) -> D,
) -> Result<Outcome> {
    if !claims.read(pci)?.is_some_and(|c| c.in_quarantine()) {
        return Ok(Outcome::Nothing);
    }
    match claims.lock(pci, patience) {
        Ok(lock) => run(claims, pci, lock, device),
        Err(Error::Locked { .. }) => Ok(Outcome::Busy),
        Err(e) => Err(e),
    }
}

fn run<D: Device>(
    claims: &Claims,
    pci: PciAddr,
    lock: VfLock,
    device: impl FnOnce(Claim, VfLock) -> D,
) -> Result<Outcome> {
    // Under the lock: an attempt that we waited for may have freed it.
    let Some(mut claim) = claims.read(pci)? else { return Ok(Outcome::Nothing) };
    let Claimed::Quarantine { attempts, .. } = claim.state else { return Ok(Outcome::Nothing) };
    crash::point("clean.started");
    let mut device = device(claim.clone(), lock); // which holds the lock until the claim is settled
    let outcome = clean(&mut device, &claim.before);
    match outcome {
        Ok(ran) => {
            crash::point("clean.verified");
            claims.remove(pci)?;
            crash::point("clean.freed");
            Ok(if ran == Ran::Gone { Outcome::Gone } else { Outcome::Free })
        }
        Err(reason) => {
            let attempts = attempts.saturating_add(1);
            claim.state = Claimed::Quarantine { attempts, reason: reason.clone() };
            claims.set(&claim)?;
            Ok(Outcome::Quarantined { attempts, reason })
        }
    }
}

/// How long to wait after that many attempts: a second, twice as long each time, at most a minute.
pub fn pause(attempts: u32) -> Duration {
    Duration::from_secs(1 << attempts.saturating_sub(1).min(6)).min(Duration::from_secs(60))
}

#[cfg(test)]
mod tests;
