//! CHECK: compares the record, the kernel and the runtime's prevResult.

mod kernel;
mod queues;

use crate::context::Context;
use crate::verbs::since;
use crate::{inline, networks};
use offramp_core::cni::config::ModeConf;
use offramp_core::cni::ipam::Ipam;
use offramp_core::cni::result::CniResult;
use offramp_core::cni::{CniError, Verb, Version};
use offramp_core::ids::AttachmentId;
use offramp_core::record::{Record, State};
use offramp_kernel::Netns;

/// Error 102 names the first thing that is not as it was made.
pub fn run(cx: &mut Context) -> Result<(), CniError> {
    since(Verb::Check, Version::V0_4_0, cx.conf.version)?;
    let id = cx.id()?;
    let netns = cx.netns()?;
    let Some(prev) = cx.conf.prev_result.take() else {
        return Err(CniError::config("CHECK needs the field \"prevResult\""));
    };
    let _lock = cx.lock(&id)?;
    compare(cx, &id, &netns, &prev)
}

/// As [`run`], for who holds the lock.
pub fn compare(cx: &Context, id: &AttachmentId, netns: &Netns, prev: &CniResult) -> Result<(), CniError> {
    let record = cx
        .store
        .read(id)?
        .ok_or_else(|| CniError::unknown_container(format!("{id} has no record: it is not attached")))?;
    if record.state != State::Ready {
        return Err(failed(&record, format!("its record is {}", record.state.as_str())));
    }
    if record.netns.inode != netns.inode() {
        return Err(failed(
            &record,
            format!("it was attached to another namespace than {}", netns.path().display()),
        ));
    }
    against_result(&record, prev)?;
    kernel::steps(&cx.store, &record, netns)?;
    kernel::rules(&cx.store, &record)?;
    networks::check(cx, &record, netns)?;
    match &cx.conf.mode {
        ModeConf::Inline { ipam, .. } => match &**ipam {
            Ipam::Delegate { plugin } => {
                let netns = cx.call.netns.as_deref().unwrap_or_default();
                inline::delegate(cx, plugin).ask(Verb::Check, Some(id), netns)
            }
            Ipam::Own(_) | Ipam::None => Ok(()),
        },
        ModeConf::Node => Ok(()),
    }
}

fn failed(record: &Record, why: impl std::fmt::Display) -> CniError {
    CniError::check_failed(format!("check {}: {why}", record.attachment))
}

fn against_result(record: &Record, prev: &CniResult) -> Result<(), CniError> {
    let ours = &record.plan.result;
    let missing_ip = ours.ips.iter().find(|ip| !prev.ips.iter().any(|p| p.address == ip.address));
    if let Some(ip) = missing_ip {
        return Err(failed(record, format!("prevResult does not have address {}", ip.address)));
    }
    for i in ours.interfaces.iter().filter(|i| i.sandbox.is_some()) {
        let Some(mac) = i.mac.as_deref().and_then(|m| m.parse().ok()) else { continue };
        if !prev.has_interface(&i.name, mac) {
            let name = &i.name;
            return Err(failed(record, format!("prevResult does not have interface {name} with MAC {mac}")));
        }
    }
    Ok(())
}
