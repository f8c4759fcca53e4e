//! Node mode: the daemon decides, the plugin executes.

use crate::client::{Client, Failure, ask_patiently};
use crate::context::Context;
use crate::networks;
use offramp_core::cni::CniError;
use offramp_core::cni::result::CniResult;
use offramp_core::ids::AttachmentId;
use offramp_core::nic::PciAddr;
use offramp_core::record::{NetnsRef, Record, State};
use offramp_core::vf::VfRef;
use offramp_core::wire::{Commit, Prepare, Request, Response};
use offramp_kernel::delete::Patience;
use offramp_kernel::vf::Host;
use offramp_kernel::{Executor, Netns, crash};
use offramp_ledger::detach::detach;
use offramp_ledger::{VfLock, device_info};
use std::os::fd::AsFd;
use std::time::Duration;

/// A release takes milliseconds; a daemon that takes longer is done without.
const RELEASE_PATIENCE: Duration = Duration::from_secs(15);

/// A VF that was just lent is nobody else's to work on: only what came before it may be at its end.
const VF_PATIENCE: Duration = Duration::from_secs(10);

/// Attaches, or leaves nothing behind.
pub fn add(cx: &mut Context, id: &AttachmentId, netns: &Netns) -> Result<CniResult, CniError> {
    let request = Request::Prepare(Box::new(prepare(cx, id, netns)?));
    let asked = cx.timed("prepare", |cx| ask_patiently(&cx.conf.local.socket, &request));
    let (client, answer) = match asked {
        Ok(answered) => answered,
        Err(failure) => return Err(not_planned(cx, id, failure)),
    };
    let Response::Planned { record, leftovers } = answer else {
        return Err(CniError::protocol("offrampd answered Prepare with something else than a plan"));
    };
    crash::point("node.planned");
    let mut record = *record;
    let outcome = match execute_and_commit(cx, client, &mut record, netns) {
        Ok(()) => Ok(with_dns(cx, record.plan.result)),
        Err(e) => Err(take_back(cx, record, e)),
    };
    networks::clear_in_background(cx, leftovers);
    outcome
}

/// DNS is between runtime and configuration: the daemon has no part in it.
fn with_dns(cx: &Context, result: CniResult) -> CniResult {
    CniResult { dns: cx.conf.runtime.dns.clone().unwrap_or_else(|| cx.conf.dns.clone()), ..result }
}

fn prepare(cx: &Context, id: &AttachmentId, netns: &Netns) -> Result<Prepare, CniError> {
    let (runtime, args) = (&cx.conf.runtime, &cx.call.args);
    Ok(Prepare {
        state: cx.store.identity()?,
        attachment: id.clone(),
        network: cx.conf.name.clone(),
        netns: NetnsRef { path: netns.path().to_owned(), inode: netns.inode() },
        pod: args.pod.clone(),
        ips: if runtime.ips.is_empty() { args.ips.clone() } else { runtime.ips.clone() },
        mac: runtime.mac.or(args.mac),
        host_ports: runtime.host_ports.clone(),
        bandwidth: runtime.bandwidth,
        device_info: runtime.device_info.clone(),
        annotations: Prepare::relevant_annotations(runtime),
        runs_networks: true,
        makes_netkit: true,
        steers_queues: true,
        makes_netkit_l3: true,
        gives_addresses: true,
    })
}

fn execute_and_commit(
    cx: &mut Context,
    mut client: Client,
    record: &mut Record,
    netns: &Netns,
) -> Result<(), CniError> {
    networks::can_attach(cx, record)?; // before the first change
    // What hangs in the kernel keeps its VF locked, so that nobody works on it beside.
    let claims = cx.store.claims();
    let lock = |vf: &VfRef| Ok((vf.pci, claims.lock(vf.pci, VF_PATIENCE)?));
    let locks: Vec<(PciAddr, VfLock)> = record.plan.vfs().map(lock).collect::<Result<_, CniError>>()?;
    let host = locks.iter().fold(Host::default(), |host, (pci, lock)| host.with_lock(*pci, lock.as_fd()));
    let mut executor = Executor::new(Some(netns))?.with_vfs(host);
    let flow_rules = cx.store.lock_flow_rules_of(&record.plan)?;
    cx.execute(&mut executor, &record.plan.steps)?;
    drop((locks, flow_rules));
    networks::attach(cx, record, netns)?;
    if let (Some(path), Some(vf)) = (&record.device_info, record.plan.vfs().next()) {
        device_info::write(path, vf)?;
        crash::point("device-info.written");
    }
    let commit = Commit { attachment: record.attachment.clone(), micros: cx.micros() };
    if record.plan.firewall.is_empty() {
        // Nothing is left to be done: the record says so, and the daemon need not be waited for.
        cx.store.write(&Record { state: State::Ready, ..record.clone() })?;
        crash::point("node.ready");
        client.tell(Request::Committed(commit));
        return Ok(());
    }
    // Ports need the daemon's rules, and if it went away in between, its return.
    let request = Request::Commit(commit);
    let committed = cx.timed("commit", |_| client.ask(request.clone()));
    crash::point("node.committed");
    match committed {
        Ok(_) => Ok(()),
        Err(Failure::Refused(e, _)) => Err(e),
        Err(Failure::Away(_)) => Ok(ask_patiently(&cx.conf.local.socket, &request).map(drop)?),
    }
}

/// What others have left may be what this pod lacks: the runtime's next attempt finds it free.
fn not_planned(cx: &Context, id: &AttachmentId, mut failure: Failure) -> CniError {
    let leftovers = match &mut failure {
        Failure::Refused(_, leftovers) => std::mem::take(leftovers),
        Failure::Away(_) => Vec::new(),
    };
    let error = forget_unanswered(cx, id, failure.into());
    networks::clear_in_background(cx, leftovers);
    error
}

/// A daemon that died before its answer may have written the record.
fn forget_unanswered(cx: &Context, id: &AttachmentId, error: CniError) -> CniError {
    match cx.store.read(id) {
        Ok(Some(record)) if record.state == State::Adding => take_back(cx, record, error),
        _ => error,
    }
}

/// Undoes a failed ADD; the daemon is told, and if it is away, it finds out by the record that is gone.
fn take_back(cx: &Context, mut record: Record, error: CniError) -> CniError {
    let undone = release(cx, &mut record);
    match undone {
        Ok(()) => error,
        Err(undo) => {
            let details = format!("not all could be undone, DEL and the daemon will go on: {undo}");
            error.with_details(details)
        }
    }
}

/// The daemon may be in a container that does not see the file.
fn remove_device_info(cx: &Context, id: &AttachmentId) {
    let Some(asked) = &cx.conf.runtime.device_info else { return };
    if let Ok(Some(Record { device_info: Some(path), .. })) = cx.store.read(id)
        && path == *asked
    {
        // What fails here fails for the daemon too, which says so.
        let _ = device_info::remove(&path);
    }
}

/// Takes its networks back, then has the daemon take back the rest, or does it without the daemon. The caller holds the
/// lock.
pub fn release(cx: &Context, record: &mut Record) -> Result<(), CniError> {
    let networks = networks::detach(cx, record);
    let rest = match ask_release(cx, &record.attachment) {
        true => Ok(()),
        false => detach(&cx.store, record, Patience::Ack),
    };
    networks.and(rest) // the latter only tells that the former failed
}

/// Asks the daemon to take back whatever there is of an attachment; false if it is away or cannot.
pub fn ask_release(cx: &Context, id: &AttachmentId) -> bool {
    remove_device_info(cx, id);
    let request = Request::Release { attachment: id.clone() };
    let asked = Client::connect(&cx.conf.local.socket, RELEASE_PATIENCE).and_then(|mut c| c.ask(request));
    crash::point("node.released");
    asked.is_ok()
}
