//! DEL: needs no daemon, no netns, no prevResult, and may be repeated.

use crate::context::Context;
use crate::{inline, networks, node};
use offramp_core::cni::CniError;
use offramp_core::cni::config::ModeConf;
use offramp_core::cni::ipam::Ipam;
use offramp_core::ids::AttachmentId;
use offramp_core::record::Mode;
use offramp_kernel::delete::Patience;
use offramp_ledger::detach::detach;

/// Detaches what the record says. No record: nothing of ours is there.
pub fn run(cx: &mut Context) -> Result<(), CniError> {
    let id = cx.id()?;
    let _lock = cx.lock(&id)?;
    if cx.conf.mode == ModeConf::Node {
        let networks = networks::detach_of(cx, &id);
        // A daemon that answers has taken back what there was, by whichever mode: no need to look.
        let rest = if node::ask_release(cx, &id) { Ok(()) } else { release_alone(cx, &id).map(drop) };
        return networks.and(rest); // the latter only tells that the former failed
    }
    detach_inline(cx, &id)
}

/// Inline mode; the caller holds the lock.
pub fn detach_inline(cx: &Context, id: &AttachmentId) -> Result<(), CniError> {
    if release(cx, id)? {
        return Ok(());
    }
    // Delegated plugins are called whatever we know: a failed ADD may have left them something.
    match &cx.conf.mode {
        ModeConf::Inline { ipam, .. } => match &**ipam {
            Ipam::Delegate { plugin } => {
                inline::delegate(cx, plugin).del(id, cx.call.netns.as_deref().unwrap_or_default())
            }
            Ipam::Own(_) | Ipam::None => Ok(()),
        },
        ModeConf::Node => Ok(()),
    }
}

/// As [`release`], without asking the daemon: it was asked.
fn release_alone(cx: &Context, id: &AttachmentId) -> Result<bool, CniError> {
    match cx.store.read(id)? {
        Some(mut record) => detach(&cx.store, &mut record, Patience::Ack).map(|()| true),
        None => release(cx, id),
    }
}

/// Takes back what has a record; false if there is none. The caller holds the lock.
pub fn release(cx: &Context, id: &AttachmentId) -> Result<bool, CniError> {
    let Some(mut record) = cx.store.read(id)? else {
        cx.store.remove(id)?; // what an ADD left that died while it wrote its first record
        inline::release_claims(cx, id)?;
        return Ok(false);
    };
    match record.mode {
        Mode::Node => node::release(cx, &mut record)?,
        Mode::Inline => inline::release(cx, &mut record)?,
    }
    Ok(true)
}
