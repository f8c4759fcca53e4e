//! A VF, as the configuration wants it.

use super::release::clean_in_background;
use crate::context::{Context, now};
use offramp_core::cni::CniError;
use offramp_core::cni::sriov::VfConf;
use offramp_core::ids::AttachmentId;
use offramp_core::nic::VfNetdev;
use offramp_core::record::Record;
use offramp_core::vf::{Claim, LinkState, VfMode, VfRef, VfSpec, VfState};
use offramp_kernel::netlink::Socket;
use offramp_kernel::sysfs::{Sysfs, online_cpus, read_vf};
use offramp_kernel::{Netns, link};
use offramp_ledger::lending::{self, Borrower};
use offramp_ledger::{VfLock, channels};
use std::cell::Cell;
use std::time::Duration;

/// How long a VF that is being cleaned is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Claims the VF. From here on it is this attachment's; it is locked until its steps are done.
pub fn claim(
    cx: &Context,
    id: &AttachmentId,
    netns: &Netns,
    conf: &VfConf,
) -> Result<(VfSpec, VfLock), CniError> {
    let settings = conf.with_runtime(&cx.conf.runtime, cx.call.args.mac)?;
    let pci = conf.device.ok_or_else(|| {
        CniError::config("field \"deviceID\" is missing, and the runtime gave no runtimeConfig.deviceID")
    })?;
    let (vf, _) = read_vf(&Sysfs::default(), pci)?;
    let pod = cx.call.args.pod.as_ref();
    let borrower = Borrower { holder: id, pod, pool: None, now: now() };
    let lacks = Cell::new(None);
    let fits = |vf: &VfRef, state: &VfState, netdev: &VfNetdev| {
        let mode = mode(vf, state, netdev)?;
        lacks.set(lack(state, settings.queues)?);
        Ok(mode)
    };
    let (claim, lock) = lending::claim(&cx.store, &vf, borrower, &fits, PATIENCE)?;
    let (present, lock) = match lacks.take() {
        Some(lack) => grow(cx, &claim, lock, lack)?,
        None => (claim.before, lock),
    };
    let mode = claim.mode;
    let link = has_link(&vf, settings.link_state.or(present.pf_side.link_state));
    let runtime = &cx.conf.runtime;
    let spec = VfSpec {
        ifname: id.ifname.clone(),
        sandbox: netns.path().display().to_string(),
        vf,
        mode,
        settings,
        present_mac: present.netdev.as_ref().map(|n| n.mac).or(present.pf_side.mac),
        present_mtu: present.netdev.as_ref().map(|n| n.mtu),
        addresses: Vec::new(),
        routes: Vec::new(),
        host_ports: Vec::new(),
        dns: runtime.dns.clone().unwrap_or_else(|| cx.conf.dns.clone()),
        link,
        uplink: None,
        plug: None,
    };
    Ok((spec, lock))
}

/// What a VF lacks, and what may help.
struct Lack {
    /// Channels that are wanted.
    wanted: u32,
    /// Why its driver does not have them, in its words.
    why: String,
    /// MSI-X vectors that it needs for them.
    vectors: u32,
}

/// None, too, where other interrupts do not help: its driver says no when it is told to have the channels.
fn lack(state: &VfState, wanted: Option<u32>) -> Result<Option<Lack>, CniError> {
    let (Some(wanted), Some(netdev)) = (wanted, &state.netdev) else { return Ok(None) };
    let vectors = online_cpus(&Sysfs::default()).ok().and_then(|cpus| state.vectors_for(wanted, cpus));
    let Some(vectors) = vectors else { return Ok(None) };
    Ok(channels::lacks(&netdev.name, wanted)?.map(|why| Lack { wanted, why, vectors }))
}

/// Gives the VF what it lacks; its state then. One that does not get it was touched all the same.
fn grow(cx: &Context, claim: &Claim, lock: VfLock, lack: Lack) -> Result<(VfState, VfLock), CniError> {
    let Lack { wanted, why, vectors } = lack;
    let refused = match channels::grow(&cx.store, claim, &lock, wanted, vectors) {
        Ok(state) => return Ok((state, lock)),
        Err(refused) => refused,
    };
    cx.store.claims().set(&claim.clone().given_back(now()))?;
    // The cleaner needs it.
    drop(lock);
    clean_in_background(cx, vec![claim.vf.pci]);
    Err(CniError::kernel(format!("{} has no {wanted} channels: {why}; {refused}", claim.vf)))
}

/// What a VF is to be, as its driver says: one that is bound to vfio-pci is meant for userspace.
fn mode(vf: &VfRef, state: &VfState, netdev: &VfNetdev) -> Result<VfMode, CniError> {
    match (netdev, state.driver.as_deref()) {
        (VfNetdev::Host { .. }, _) => Ok(VfMode::Netdev),
        (VfNetdev::Elsewhere { .. }, _) => Err(CniError::try_again(format!(
            "the interface of {vf} is not on the node: somebody else has moved it away"
        ))),
        (VfNetdev::None, Some("vfio-pci")) => Ok(VfMode::Vfio),
        (VfNetdev::None, driver) => Err(CniError::kernel(format!(
            "{vf} is bound to {}: it must be bound to its network driver or to vfio-pci",
            driver.unwrap_or("no driver")
        ))),
    }
}

/// Whether the VF will have a carrier. What cannot be found out is not waited for.
fn has_link(vf: &VfRef, state: Option<LinkState>) -> bool {
    let pf_has = || {
        let pf = Socket::open().and_then(|mut socket| link::find(&mut socket, &vf.pf));
        matches!(pf, Ok(Some(l)) if l.carrier)
    };
    match state.unwrap_or_default() {
        LinkState::Auto => pf_has(),
        LinkState::Enable => true,
        LinkState::Disable => false,
    }
}

/// Gives back VFs that nothing was done to.
pub fn unclaim(cx: &Context, record: &Record) {
    for vf in record.plan.vfs() {
        // What fails here is found by the next call that wants the VF: a claim without a record is nobody's.
        let _ = lending::unclaim(&cx.store, vf.pci, &record.attachment, now());
    }
}
