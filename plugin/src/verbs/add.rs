//! ADD.

use crate::context::Context;
use crate::{inline, node};
use offramp_core::cni::CniError;
use offramp_core::cni::config::ModeConf;
use offramp_core::ids::AttachmentId;
use offramp_core::record::State;
use offramp_kernel::Netns;
use offramp_ledger::detach::lives;
use serde_json::Value;

/// Attaches; the result is in the configuration's version, behind that of earlier plugins.
pub fn run(cx: &mut Context) -> Result<Value, CniError> {
    let id = cx.id()?;
    let netns = cx.netns()?;
    let _lock = cx.lock(&id)?;
    attach(cx, &id, &netns)
}

/// As [`run`], for who holds the lock.
pub fn attach(cx: &mut Context, id: &AttachmentId, netns: &Netns) -> Result<Value, CniError> {
    settle_earlier(cx, id, netns)?;
    let result = match cx.conf.mode {
        ModeConf::Inline { .. } => inline::add(cx, id, netns)?,
        ModeConf::Node => node::add(cx, id, netns)?,
    };
    Ok(result.after(cx.conf.prev_result.take()).to_json(cx.conf.version))
}

/// An earlier ADD that died, or whose sandbox was replaced, is taken back first; one that lives is an error.
fn settle_earlier(cx: &Context, id: &AttachmentId, netns: &Netns) -> Result<(), CniError> {
    let Some(mut record) = cx.store.read(id)? else { return inline::release_claims(cx, id) };
    if record.state == State::Ready && record.netns.inode == netns.inode() && lives(&record) {
        return Err(CniError::exists(format!("{id} is attached already"))
            .with_details("DEL comes before another ADD"));
    }
    match record.mode {
        offramp_core::record::Mode::Node => node::release(cx, &mut record),
        offramp_core::record::Mode::Inline => inline::release(cx, &mut record),
    }
}
