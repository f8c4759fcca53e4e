//! CHECK: compares the record, the kernel and the runtime's prevResult.

use crate::context::Context;
use crate::inline;
use crate::verbs::since;
use offramp_core::cni::config::ModeConf;
use offramp_core::cni::ipam::Ipam;
use offramp_core::cni::result::CniResult;
use offramp_core::cni::{CniError, Verb, Version};
use offramp_core::record::{Record, State};
use offramp_core::step::{AttachPort, ConfigurePod, CreateVeth, Step};
use offramp_kernel::link::{self, Link};
use offramp_kernel::netlink::Socket;
use offramp_kernel::{Netns, addr};

/// Error 102 names the first thing that is not as it was made.
pub fn run(cx: &mut Context) -> Result<(), CniError> {
    since(Verb::Check, Version::V0_4_0, cx.conf.version)?;
    let id = cx.id()?;
    let netns = cx.netns()?;
    let Some(prev) = cx.conf.prev_result.take() else {
        return Err(CniError::config("CHECK needs the field \"prevResult\""));
    };
    let _lock = cx.lock(&id)?;
    let record = cx
        .store
        .read(&id)?
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
    against_result(&record, &prev)?;
    against_kernel(&record, &netns)?;
    match &cx.conf.mode {
        ModeConf::Inline { ipam, .. } => match &**ipam {
            Ipam::Delegate { plugin } => {
                let netns = cx.call.netns.as_deref().unwrap_or_default();
                inline::delegate(cx, plugin).ask(Verb::Check, Some(&id), netns)
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
    let pod = ours.interfaces.iter().rfind(|i| i.sandbox.is_some());
    match pod.and_then(|i| Some((&i.name, i.mac.as_deref()?.parse().ok()?))) {
        Some((name, mac)) if !prev.has_interface(name, mac) => {
            Err(failed(record, format!("prevResult does not have interface {name} with MAC {mac}")))
        }
        _ => Ok(()),
    }
}

fn against_kernel(record: &Record, netns: &Netns) -> Result<(), CniError> {
    let (mut host, mut pod) = (Socket::open()?, Socket::open_in(netns)?);
    for step in &record.plan.steps {
        match step {
            Step::CreateVeth(v) => veth(record, &mut host, &mut pod, v)?,
            Step::AttachPort(p) => port(record, &mut host, p)?,
            Step::ConfigurePod(p) => addresses(record, &mut pod, p)?,
            Step::Shape(_)
            | Step::EnsureBridge(_)
            | Step::Gateway(_)
            | Step::Neighbours(_)
            | Step::AwaitCarrier(_)
            | Step::Announce(_) => {}
        }
    }
    Ok(())
}

fn veth(record: &Record, host: &mut Socket, pod: &mut Socket, v: &CreateVeth) -> Result<(), CniError> {
    let ends =
        [(link::find(host, &v.host)?, &v.host, v.host_mac), (link::find(pod, &v.pod)?, &v.pod, v.pod_mac)];
    for (found, name, mac) in ends {
        match found {
            None => return Err(failed(record, format!("link {name} is gone"))),
            Some(l) if !l.has_mac(mac) => {
                return Err(failed(record, format!("link {name} does not have MAC {mac}")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn port(record: &Record, host: &mut Socket, p: &AttachPort) -> Result<(), CniError> {
    let bridge =
        link::find(host, &p.bridge)?.ok_or_else(|| failed(record, format!("bridge {} is gone", p.bridge)))?;
    let plugged = |l: &Link| l.controller == Some(bridge.index) && l.up;
    if link::find(host, &p.link)?.is_some_and(|l| plugged(&l)) {
        return Ok(());
    }
    Err(failed(record, format!("link {} is not up as a port of bridge {}", p.link, p.bridge)))
}

fn addresses(record: &Record, pod: &mut Socket, p: &ConfigurePod) -> Result<(), CniError> {
    let found = link::find(pod, &p.link)?.filter(|l| l.up);
    let link = found.ok_or_else(|| failed(record, format!("interface {} is not up", p.link)))?;
    let has = addr::list(pod, link.index)?;
    match p.addresses.iter().find(|a| !has.contains(&a.ip)) {
        Some(a) => Err(failed(record, format!("interface {} does not have address {}", p.link, a.ip))),
        None => Ok(()),
    }
}
