//! Lending VFs: from free to claimed, and back.

use crate::claims::{Claims, VfLock};
use crate::clean::{self, Outcome};
use crate::{Error, Result, Store};
use offramp_core::cni::CniError;
use offramp_core::ids::AttachmentId;
use offramp_core::nic::{PciAddr, VfNetdev};
use offramp_core::record::PodRef;
use offramp_core::vf::{Claim, VfMode, VfRef, VfState};
use offramp_kernel::sysfs::vf_netdev;
use offramp_kernel::{crash, vf};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Who wants a VF.
#[derive(Debug, Clone, Copy)]
pub struct Borrower<'a> {
    /// The attachment, whose lock the caller holds.
    pub holder: &'a AttachmentId,
    /// Its pod, where it is known.
    pub pod: Option<&'a PodRef>,
    /// The pool that the VF is of.
    pub pool: Option<&'a str>,
    /// Seconds since 1970.
    pub now: u64,
}

/// What a VF in this state, whose netdev is there, can be to a pod, or why it can be nothing.
pub type Mode<'a> = &'a dyn Fn(&VfRef, &VfState, &VfNetdev) -> std::result::Result<VfMode, CniError>;

/// Claims a VF. One that is in quarantine is cleaned first, or waited for, at most for `patience`; one that is lent to
/// somebody else is error 11, which names the holder. The VF stays locked: what hangs in the steps that follow must
/// inherit the lock.
pub fn claim(
    store: &Store,
    vf: &VfRef,
    who: Borrower<'_>,
    mode: Mode<'_>,
    patience: Duration,
) -> std::result::Result<(Claim, VfLock), CniError> {
    let claims = store.claims();
    let deadline = Instant::now() + patience;
    loop {
        let Some(other) = claims.read(vf.pci)? else {
            let lock = claims.lock(vf.pci, left(deadline))?;
            // Under the lock, or somebody else may be setting what is read here.
            if claims.read(vf.pci)?.is_some() {
                continue;
            }
            let host = store.host();
            let host = host.with_lock(vf.pci, lock.as_fd());
            let before = vf::state(&host, vf)?;
            let netdev = vf_netdev(&host.sysfs, vf.pci)?;
            unused(&host, vf, &before, &netdev)?;
            let mode = mode(vf, &before, &netdev)?;
            let (pod, pool) = (who.pod.cloned(), who.pool.map(str::to_owned));
            let claim =
                Claim { pod, pool, ..Claim::lent(vf.clone(), who.holder.clone(), mode, before, who.now) };
            claims.take(&claim)?;
            crash::point("vf.taken");
            return Ok((claim, lock));
        };
        if !other.in_quarantine() && !give_back_if_abandoned(store, &other, who.now)? {
            return Err(Error::Claimed(Box::new(other)).into());
        }
        make_free(&claims, vf.pci, deadline)?;
    }
}

/// A VF without a claim may be in use all the same, by somebody who knows nothing of claims.
fn unused(
    host: &vf::Host<'_>,
    vf: &VfRef,
    state: &VfState,
    netdev: &VfNetdev,
) -> std::result::Result<(), CniError> {
    if let VfNetdev::Elsewhere { .. } = netdev {
        let why = "its interface is in another namespace: somebody else has moved it there";
        return Err(CniError::try_again(format!("{vf} is in use: {why}")));
    }
    if let Some(what) = vf::host_use(host, vf.pci)? {
        return Err(CniError::try_again(format!("{vf} is in use by the node: {what}")));
    }
    if state.driver.as_deref() == Some("vfio-pci")
        && let Some(holder) = vf::holders(host, vf.pci)?.first()
    {
        return Err(CniError::try_again(format!("{vf} is in use: it is held open by {holder}")));
    }
    Ok(())
}

/// Cleans a VF in quarantine, or waits for whoever does.
fn make_free(claims: &Claims, pci: PciAddr, deadline: Instant) -> Result<()> {
    let pause = match clean::attempt(claims, pci, left(deadline))? {
        Outcome::Nothing | Outcome::Free | Outcome::Gone => return Ok(()),
        Outcome::Busy => None,
        Outcome::Quarantined { attempts, .. } => Some(clean::pause(attempts)),
    };
    match (pause, claims.read(pci)?) {
        (_, None) => Ok(()),
        (Some(pause), Some(_)) if pause < left(deadline) => {
            std::thread::sleep(pause);
            Ok(())
        }
        (_, Some(claim)) => Err(Error::Claimed(Box::new(claim))),
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A claim whose holder has no record is nobody's: its ADD died before it wrote one, or somebody removed it. It goes
/// to quarantine; false if it is somebody's.
pub fn give_back_if_abandoned(store: &Store, claim: &Claim, now: u64) -> Result<bool> {
    // Who holds the lock is at work: the record comes after the claim.
    let Ok(_lock) = store.lock(&claim.holder, Duration::ZERO) else { return Ok(false) };
    let named = store.read(&claim.holder)?.is_some_and(|r| r.plan.vfs().any(|vf| vf.pci == claim.vf.pci));
    if named {
        return Ok(false);
    }
    give_back(&store.claims(), claim, now)
}

/// Has a claim that is still the same cleaned; the caller holds its holder's lock.
fn give_back(claims: &Claims, claim: &Claim, now: u64) -> Result<bool> {
    match claims.read(claim.vf.pci)? {
        Some(same) if same.holder == claim.holder => {
            if !same.in_quarantine() {
                claims.set(&same.given_back(now))?;
                crash::point("vf.given-back");
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Gives back what an attachment has that has no record; the caller holds its lock.
pub fn give_back_all(store: &Store, id: &AttachmentId, now: u64) -> Result<Vec<PciAddr>> {
    let claims = store.claims();
    let mut given = Vec::new();
    for claim in claims.of(id)? {
        give_back(&claims, &claim, now)?;
        given.push(claim.vf.pci);
    }
    Ok(given)
}

/// What became of a VF that was claimed in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclaimed {
    /// It is free.
    Free,
    /// It went to quarantine: the cleaner has work.
    Quarantined,
    /// It was not this holder's, or was given back already.
    NotIts,
}

/// Frees a VF that nothing was done to since it was claimed; one that has other interrupts since goes to quarantine. The
/// caller holds its holder's lock. `now`: seconds since 1970.
pub fn unclaim(store: &Store, pci: PciAddr, holder: &AttachmentId, now: u64) -> Result<Unclaimed> {
    let claims = store.claims();
    match claims.read(pci)? {
        Some(claim) if claim.holder == *holder && !claim.in_quarantine() => {
            if has_its_vectors(store, &claim) {
                claims.remove(pci)?;
                return Ok(Unclaimed::Free);
            }
            claims.set(&claim.given_back(now))?;
            Ok(Unclaimed::Quarantined)
        }
        _ => Ok(Unclaimed::NotIts),
    }
}

/// What cannot be found out is taken for not so.
fn has_its_vectors(store: &Store, claim: &Claim) -> bool {
    let now = || vf::vectors(&store.host(), &claim.vf);
    claim.before.vectors.is_none() || now().is_ok_and(|now| now == claim.before.vectors)
}

#[cfg(test)]
#[path = "lending_tests.rs"]
mod tests;
