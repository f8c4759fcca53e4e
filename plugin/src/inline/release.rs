//! Taking back, and what is left to do after the plugin has answered.

use crate::context::{Context, now};
use nix::libc;
use nix::unistd::{ForkResult, fork, setsid};
use offramp_core::cni::CniError;
use offramp_core::ids::AttachmentId;
use offramp_core::nic::PciAddr;
use offramp_core::record::Record;
use offramp_kernel::delete::Patience;
use offramp_ledger::clean::{self, Outcome};
use offramp_ledger::detach::detach;
use offramp_ledger::{Claims, lending};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the cleaner goes on trying. What it leaves, the next call that wants the VF takes up.
const CLEANING: Duration = Duration::from_secs(60);

/// So many VFs are cleaned at once: each has its PF's driver and the kernel's lock of all links to itself for a while.
const AT_ONCE: usize = 4;

/// Takes an attachment back; its VFs are cleaned behind our back.
pub fn release(cx: &Context, record: &mut Record) -> Result<(), CniError> {
    let vfs: Vec<PciAddr> = record.plan.vfs().map(|vf| vf.pci).collect();
    let detached = detach(&cx.store, record, Patience::Ack);
    clean_in_background(cx, vfs);
    detached
}

/// Gives back what an attachment without a record still has: its ADD died before it wrote one.
pub fn release_claims(cx: &Context, id: &AttachmentId) -> Result<(), CniError> {
    let vfs = lending::give_back_all(&cx.store, id, now())?;
    clean_in_background(cx, vfs);
    Ok(())
}

/// VFs that nobody stands for, or that an earlier call did not get clean: they are cleaned, of whichever network.
pub fn collect_vfs(cx: &Context) -> Result<(), CniError> {
    let claims = cx.store.claims();
    claims.remove_torn()?;
    let claims = claims.list()?.claims;
    for lent in claims.iter().filter(|c| !c.in_quarantine()) {
        lending::give_back_if_abandoned(&cx.store, lent, now())?;
    }
    clean_in_background(cx, claims.iter().map(|c| c.vf.pci).collect());
    Ok(())
}

/// Has those of `vfs` that are in quarantine cleaned, by a process of its own that nobody waits for: resetting one may
/// take seconds, and a driver may hang.
pub fn clean_in_background(cx: &Context, vfs: Vec<PciAddr>) {
    let claims = cx.store.claims();
    let dirty = |pci: &PciAddr| matches!(claims.read(*pci), Ok(Some(c)) if c.in_quarantine());
    let vfs: Vec<PciAddr> = vfs.into_iter().filter(dirty).collect();
    if vfs.is_empty() {
        return;
    }
    in_background(|| clean_all(&claims, vfs));
}

/// Does it in a process of its own that nobody waits for.
pub fn in_background(work: impl FnOnce()) {
    // SAFETY: the plugin has one thread (but for some that do nothing but wait for a child), so that the child can do
    // whatever its parent could.
    if let Ok(ForkResult::Child) = unsafe { fork() } {
        leave();
        work();
        // Not by way of main: the answer is the parent's.
        // SAFETY: it takes a number and does not return.
        unsafe { libc::_exit(0) }
    }
}

/// Leaves the runtime alone: no terminal, no streams, nothing of what the parent had open, such as locks.
fn leave() {
    let _ = setsid();
    // SAFETY: these take numbers and a string that ends with NUL. The descriptors that are closed belong to values of
    // the parent's, which this process never touches again.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for stream in 0..3 {
            libc::dup2(null, stream);
        }
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
    }
}

/// A few at a time: one that cannot be cleaned keeps no other waiting for long.
fn clean_all(claims: &Claims, vfs: Vec<PciAddr>) {
    let (threads, rest) = (AT_ONCE.min(vfs.len()), Mutex::new(vfs.into_iter()));
    let next = || rest.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        let work = || {
            while let Some(pci) = next() {
                clean_one(claims, pci);
            }
        };
        // This thread works too, should there be no other.
        for n in 1..threads {
            let _ = std::thread::Builder::new().name(format!("cleaner {n}")).spawn_scoped(scope, work);
        }
        work();
    });
}

fn clean_one(claims: &Claims, pci: PciAddr) {
    let started = Instant::now();
    // Whoever else is at it goes on with it.
    while let Ok(Outcome::Quarantined { attempts, .. }) = clean::attempt(claims, pci, Duration::ZERO) {
        let pause = clean::pause(attempts);
        if started.elapsed() + pause > CLEANING {
            break;
        }
        std::thread::sleep(pause);
    }
}
