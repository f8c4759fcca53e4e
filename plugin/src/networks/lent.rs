//! Addresses for a VF of a pool, from the network's own `ipam`. The daemon has planned the VF, and by now it is in the
//! pod; the record says who has to be told of what before anybody is asked.

use super::native;
use crate::client::ask_patiently;
use crate::context::Context;
use crate::inline::{delegate, range_sets, resolv_conf, wanted};
use offramp_core::cni::config::ModeConf;
use offramp_core::cni::ipam::{Ipam, OwnIpam};
use offramp_core::cni::{CniError, Verb};
use offramp_core::ids::AttachmentId;
use offramp_core::networks::Given;
use offramp_core::record::{IpamHold, Record};
use offramp_core::spec::Address;
use offramp_core::step::Step;
use offramp_core::wire::Request;
use offramp_kernel::{Executor, Netns, crash};
use offramp_ledger::detach::take_out;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Instant;

/// Error 7 if the plugin that is to give addresses is not there.
pub fn can_add(cx: &Context, record: &Record, n: usize) -> Result<(), CniError> {
    let inner = context(cx, Verb::Add, record, n, "")?;
    match ipam(&inner) {
        Ipam::Delegate { plugin } => delegate(&inner, plugin).find().map(drop),
        Ipam::Own(_) | Ipam::None => Ok(()),
    }
}

/// Asks for addresses and puts them on the link. What it began is in the record.
pub fn add(
    cx: &mut Context,
    record: &mut Record,
    n: usize,
    netns: &Netns,
    until: Instant,
) -> Result<(), CniError> {
    let sandbox = netns.path().display().to_string();
    let inner = context(cx, Verb::Add, record, n, &sandbox)?;
    let steps = match ipam(&inner) {
        Ipam::Own(own) => from_files(&inner, record, n, own)?,
        Ipam::Delegate { plugin } => from_plugin(cx, record, n, (&sandbox, plugin), until)?,
        Ipam::None => return Ok(()),
    };
    judge(cx, record, n)?;
    let mut executor = Executor::new(Some(netns))?;
    cx.execute(&mut executor, &steps)
}

/// Before anybody hears of them: only the daemon knows which addresses no pod may have.
fn judge(cx: &Context, record: &Record, n: usize) -> Result<(), CniError> {
    let (network, ips) = (record.networks[n].network.clone(), record.networks[n].ips().collect());
    ask_patiently(&cx.conf.local.socket, &Request::Judge { network, ips }).map(drop)?;
    crash::point("network.judged");
    Ok(())
}

/// Picked, written down, claimed, under one lock. The attachment that has a record holds them: the VF is part of it.
fn from_files(inner: &Context, record: &mut Record, n: usize, own: &OwnIpam) -> Result<Vec<Step>, CniError> {
    let sets = range_sets(inner, own)?;
    let addresses = inner.store.addresses(&inner.conf.name, own.data_dir.as_deref());
    let asked: Vec<IpAddr> = wanted(inner, own).collect();
    let locked = addresses.lock()?;
    let picked = locked.pick(&sets, &asked)?;
    let given = picked.iter().map(|(ip, r)| Address { ip: r.with_prefix(*ip), gateway: Some(r.gateway) });
    let dns = own.resolv_conf.as_deref().map(resolv_conf).transpose()?;
    let given =
        Given { addresses: given.collect(), routes: own.routes.clone(), dns: dns.unwrap_or_default() };
    let steps = record.give(n, given)?;
    record.networks[n].hold = IpamHold::Files { dir: addresses.dir().to_owned() };
    inner.store.write(record)?;
    crash::point("network.picked");
    locked.claim(&record.attachment, &picked.iter().map(|(ip, _)| *ip).collect::<Vec<_>>())?;
    crash::point("network.held");
    Ok(steps)
}

fn from_plugin(
    cx: &mut Context,
    record: &mut Record,
    n: usize,
    (sandbox, plugin): (&str, &str),
    until: Instant,
) -> Result<Vec<Step>, CniError> {
    super::begin(cx, record, (n, 0))?;
    // With what was written down, as its DEL will be.
    let (inner, id) = (context(cx, Verb::Add, record, n, sandbox)?, id(record, n));
    let result = cx.timed("delegate", |_| delegate(&inner, plugin).until(until).add_alone(&id, sandbox))?;
    crash::point("network.added");
    if result.ips.is_empty() {
        return Err(CniError::config(format!("IPAM plugin {plugin} gave no address")));
    }
    let addresses = result.ips.iter().map(|ip| Address { ip: ip.address, gateway: ip.gateway }).collect();
    let steps = record.give(n, Given { addresses, routes: result.routes, dns: result.dns })?;
    cx.store.write(record)?;
    Ok(steps)
}

/// Tells the plugin that gave addresses, once nobody uses them any more; DHCP gives a lease back by the link that has it.
pub fn del(cx: &Context, record: &Record, n: usize, netns: &str, until: Instant) -> Result<(), CniError> {
    let inner = context(cx, Verb::Del, record, n, netns)?;
    let Ipam::Delegate { plugin } = ipam(&inner) else { return Ok(()) };
    if plugin != "dhcp" {
        take_out(&cx.store, record, &record.networks[n].ifname)?;
    }
    delegate(&inner, plugin).until(until).del(&id(record, n), netns)
}

/// Addresses that files hold are compared with the rest of the plan.
pub fn check(cx: &Context, record: &Record, n: usize, netns: &Netns, until: Instant) -> Result<(), CniError> {
    let netns = netns.path().display().to_string();
    let inner = context(cx, Verb::Check, record, n, &netns)?;
    match ipam(&inner) {
        Ipam::Delegate { plugin } => {
            delegate(&inner, plugin).until(until).ask(Verb::Check, Some(&id(record, n)), &netns)
        }
        Ipam::Own(_) | Ipam::None => Ok(()),
    }
}

fn id(record: &Record, n: usize) -> AttachmentId {
    AttachmentId { ifname: record.networks[n].ifname.clone(), ..record.attachment.clone() }
}

fn ipam(inner: &Context) -> &Ipam {
    match &inner.conf.mode {
        ModeConf::Inline { ipam, .. } => ipam,
        ModeConf::Node => &Ipam::None,
    }
}

/// As of a configuration of inline mode that names the VF, which is what IPAM plugins know from `sriov-cni`.
fn context(cx: &Context, verb: Verb, record: &Record, n: usize, netns: &str) -> Result<Context, CniError> {
    let mut network = record.networks[n].clone();
    let name = network.ifname.as_str();
    let vf = record.plan.result.interfaces.iter().find(|i| i.name == name).and_then(|i| i.pci_id.as_ref());
    if let Some(Value::Object(config)) = network.plugins.first_mut() {
        config.remove("pool");
        config.insert("deviceID".into(), json!(vf));
    }
    native::context(cx, verb, &id(record, n), &network, 0, netns)
}
