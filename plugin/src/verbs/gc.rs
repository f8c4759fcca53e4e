//! GC: removes whatever the valid list does not name, of this network; goes on past errors.

use crate::context::Context;
use crate::inline;
use crate::verbs::{del, since};
use offramp_core::cni::config::ModeConf;
use offramp_core::cni::ipam::Ipam;
use offramp_core::cni::{CniError, Verb, Version};
use offramp_core::ids::AttachmentId;
use offramp_ledger::detach::joined;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// For the locks of all attachments together. One that somebody holds for long is being worked on, and no garbage; the
/// daemon holds it for a look.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Collects.
pub fn run(cx: &mut Context) -> Result<(), CniError> {
    since(Verb::Gc, Version::V1_1_0, cx.conf.version)?;
    let Some(valid) = cx.conf.valid_attachments.take() else {
        return Err(CniError::config("GC needs the field \"cni.dev/valid-attachments\""));
    };
    let valid: HashSet<AttachmentId> = valid.into_iter().collect();
    let mut errors = Vec::new();
    let until = Instant::now() + LOCK_PATIENCE;
    for id in cx.store.ids()? {
        if !valid.contains(&id) {
            errors.extend(collect(cx, &id, until).err());
        }
    }
    errors.extend(cx.store.remove_torn().err().map(Into::into));
    errors.extend(inline::collect_vfs(cx).err());
    errors.extend(collect_addresses(cx).err());
    joined(errors).map_or(Ok(()), Err)
}

fn collect(cx: &Context, id: &AttachmentId, until: Instant) -> Result<(), CniError> {
    if cx.store.read(id)?.is_none_or(|r| r.network != cx.conf.name) {
        return Ok(());
    }
    let patience = until.saturating_duration_since(Instant::now());
    let Ok(_lock) = cx.store.lock(id, patience) else { return Ok(()) };
    del::release(cx, id).map(drop)
}

/// Address files without a record, and what a delegated plugin holds.
fn collect_addresses(cx: &Context) -> Result<(), CniError> {
    let ModeConf::Inline { ipam, .. } = &cx.conf.mode else { return Ok(()) };
    match &**ipam {
        Ipam::None => Ok(()),
        Ipam::Delegate { plugin } => inline::delegate(cx, plugin).ask(Verb::Gc, None, "").or_else(not_known),
        Ipam::Own(own) => {
            let addresses = cx.store.addresses(&cx.conf.name, own.data_dir.as_deref());
            if addresses.dir().exists() {
                addresses.lock()?.remove_orphans(&cx.store)?;
            }
            Ok(())
        }
    }
}

/// A delegated plugin of before CNI 1.1.0 does not know the verb: nothing to ask of it. Its skel answers 1, 4, or 3
/// since it wants a container for every verb that it does not know.
pub fn not_known(e: CniError) -> Result<(), CniError> {
    use offramp_core::cni::error::codes;
    if matches!(e.code, codes::VERSION | codes::UNKNOWN_CONTAINER | codes::ENVIRONMENT) {
        Ok(())
    } else {
        Err(e)
    }
}
