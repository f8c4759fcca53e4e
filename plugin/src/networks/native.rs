//! Our own plugin in a further network: inline mode, within this call and under its lock.

use crate::context::Context;
use crate::verbs;
use offramp_core::cni::args::Args;
use offramp_core::cni::config::ModeConf;
use offramp_core::cni::{Call, CniError, NetConf, Verb};
use offramp_core::ids::AttachmentId;
use offramp_core::networks::{Delegation, Progress};
use offramp_kernel::Netns;
use serde_json::Value;

pub fn add(
    cx: &Context,
    id: &AttachmentId,
    network: &Delegation,
    plugin: usize,
    netns: &Netns,
) -> Result<Value, CniError> {
    let path = netns.path().display().to_string();
    let mut cx = context(cx, Verb::Add, id, network, plugin, &path)?;
    verbs::add::attach(&mut cx, id, netns).map_err(|e| e.context(format!("network {}", network.network)))
}

pub fn del(
    cx: &Context,
    id: &AttachmentId,
    network: &Delegation,
    plugin: usize,
    netns: &str,
) -> Result<(), CniError> {
    let cx = context(cx, Verb::Del, id, network, plugin, netns)?;
    verbs::del::detach_inline(&cx, id).map_err(|e| e.context(format!("network {}", network.network)))
}

pub fn check(
    cx: &Context,
    id: &AttachmentId,
    network: &Delegation,
    plugin: usize,
    netns: &Netns,
) -> Result<(), CniError> {
    let path = netns.path().display().to_string();
    let mut cx = context(cx, Verb::Check, id, network, plugin, &path)?;
    let prev = cx.conf.prev_result.take().unwrap_or_default();
    verbs::check::compare(&cx, id, netns, &prev)
        .map_err(|e| e.context(format!("network {}", network.network)))
}

/// As if the runtime had called, with the places of this call.
pub fn context(
    cx: &Context,
    verb: Verb,
    id: &AttachmentId,
    network: &Delegation,
    plugin: usize,
    netns: &str,
) -> Result<Context, CniError> {
    let (path, args) = match &network.progress {
        Progress::Begun { path, args, .. } => (path.clone(), args.clone()),
        Progress::Planned => (cx.call.path.clone(), String::new()),
    };
    let lenient = verb == Verb::Del;
    let stdin = network.config(plugin).to_string().into_bytes();
    let conf =
        NetConf::parse(&stdin, lenient).map_err(|e| e.context(format!("network {}", network.network)))?;
    if conf.mode == ModeConf::Node && !lenient {
        return Err(CniError::config(format!(
            "network {}: it is no configuration of inline mode",
            network.network
        )));
    }
    let call = Call {
        verb,
        attachment: Some(id.clone()),
        netns: Some(netns.to_owned()).filter(|n| !n.is_empty()),
        args: if lenient { Args::default() } else { Args::parse(&args)? },
        raw_args: args,
        path,
    };
    let conf = NetConf { local: cx.conf.local.clone(), ..conf };
    Ok(Context::new(call, conf, stdin.len()))
}
