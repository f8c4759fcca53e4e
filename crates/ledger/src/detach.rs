//! Taking an attachment back, from its record alone: no daemon, no netns, no prevResult. What was never done or is
//! undone already is passed over, so that it can be repeated at any point; errors are collected, and while there
//! are any the record stays.

use crate::addresses::Addresses;
use crate::delegate::Delegate;
use crate::files::Written;
use crate::{Error, Lock, Store, device_info};
use offramp_core::cni::CniError;
use offramp_core::firewall::Rules;
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::nic::PciAddr;
use offramp_core::queue::QueueClaim;
use offramp_core::record::{IpamHold, Record, State};
use offramp_core::step::{MoveVf, PlugRepresentor, Step};
use offramp_core::vf::Claim;
use offramp_kernel::delete::Patience;
use offramp_kernel::{Executor, Netns, crash, link, netlink, nft};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FIREWALL_PATIENCE: Duration = Duration::from_secs(20);
/// An ADD that uses the bridge has its port in milliseconds, or waits for a slow link: then the bridge is in use.
const BRIDGE_PATIENCE: Duration = Duration::from_secs(2);

/// Undoes what the record plans, hands its VFs to the cleaner, frees its addresses, and removes it. The caller holds the
/// attachment's lock. A VF's link that is in a namespace which nobody can find is ended by the cleaner: no process is
/// there that could use its addresses.
pub fn detach(store: &Store, record: &mut Record, patience: Patience) -> Result<(), CniError> {
    let mut errors: Vec<CniError> = Vec::new();
    let marked = mark(store, record);
    errors.extend(networks(record).err());
    crash::point("detach.marked");
    errors.extend(remove_rules(store, record).err());
    crash::point("detach.rules-removed");
    if needs_link(record) {
        errors.extend(free_addresses(record).err());
    }
    match claims(store, record).and_then(|vfs| Ok((vfs, queues(store, record)?))) {
        Ok((claims, queues)) => {
            errors.extend(undo(store, record, patience));
            crash::point("detach.undone");
            let untouched = marked.is_some_and(|marked| store.has(&record.attachment, &marked));
            if !untouched && !is_current(store, record) {
                return Ok(());
            }
            if errors.is_empty() {
                errors.extend(give_back(store, claims).err());
                errors.extend(store.queue_claims().give_back(queues, now()).err().map(Into::into));
            }
        }
        Err(e) => errors.push(e),
    }
    if errors.is_empty() {
        errors.extend(remove_device_info(record).err());
        if !needs_link(record) {
            errors.extend(free_addresses(record).err());
        }
        errors.extend(free_networks(record).err());
        crash::point("detach.addresses-free");
    }
    match joined(errors) {
        Some(error) => Err(error.context(format!("detach {}", record.attachment))),
        None => {
            store.remove(&record.attachment)?;
            crash::point("detach.forgotten");
            Ok(())
        }
    }
}

/// Whether the record on disk is still this one. A daemon that hung in the middle may have been done without: what it
/// was asked to take back is gone, and what is there is a later ADD's. The host end's MAC, or its name, is random for each; a VF has no
/// host end, but what hung has hung for seconds.
fn is_current(store: &Store, record: &Record) -> bool {
    match store.read(&record.attachment) {
        Ok(Some(now)) => now.plan.host_link() == record.plan.host_link() && now.created == record.created,
        Ok(None) => false,
        Err(_) => true,
    }
}

/// Further networks are taken back by their plugins, which only our own plugin can start: it is in the node's mount
/// namespace. Until then the record stays.
fn networks(record: &Record) -> Result<(), CniError> {
    let begun: Vec<&str> =
        record.networks.iter().filter(|d| d.is_begun()).map(|d| d.network.as_str()).collect();
    if begun.is_empty() {
        return Ok(());
    }
    let list = begun.join(", ");
    Err(CniError::try_again(format!(
        "networks {list} are for the plugin to take back, by the pod's DEL or GC"
    )))
}

/// Whoever replaces all rules by the records' must not bring back this one's; and a daemon can finish what dies
/// half way, though the pod lives. Returns the record's file, if it was written here.
pub fn mark(store: &Store, record: &mut Record) -> Option<Written> {
    if record.state == State::Deleting {
        return None;
    }
    record.state = State::Deleting;
    note(store, record)
}

/// Notes progress. On a full disk without: detaching is what makes room again.
fn note(store: &Store, record: &Record) -> Option<Written> {
    store.write_kept(record).ok()
}

/// Rules are known by addresses. Once the addresses are free they are another's, with rules that look the same:
/// what was removed is struck out before, so that no second attempt removes it again.
fn remove_rules(store: &Store, record: &mut Record) -> Result<(), CniError> {
    if record.plan.firewall.is_empty() {
        return Ok(());
    }
    let lock = store.lock_firewall(FIREWALL_PATIENCE)?;
    if !is_current(store, record) {
        return Ok(());
    }
    nft::Tables::locked_by(&lock).remove(&record.plan.firewall)?;
    crash::point("detach.rules-gone");
    record.plan.firewall = Rules::default();
    if is_current(store, record) {
        note(store, record);
    }
    Ok(())
}

/// The claims that are this attachment's own. A VF that it had once, and that was cleaned since, may be another's.
fn claims(store: &Store, record: &Record) -> Result<Vec<Claim>, CniError> {
    let claims = store.claims();
    let mut own = Vec::new();
    for vf in record.plan.vfs() {
        own.extend(claims.read(vf.pci)?.filter(|c| c.holder == record.attachment));
    }
    Ok(own)
}

/// Likewise on queues.
fn queues(store: &Store, record: &Record) -> Result<Vec<QueueClaim>, CniError> {
    Ok(store.queue_claims().own(&record.plan, &record.attachment)?)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Has VFs cleaned: from here on they are the cleaner's.
fn give_back(store: &Store, own: Vec<Claim>) -> Result<(), CniError> {
    let now = now();
    for claim in own.into_iter().filter(|c| !c.in_quarantine()) {
        store.claims().set(&claim.given_back(now))?;
        crash::point("detach.vf-given-back");
    }
    Ok(())
}

fn undo(store: &Store, record: &Record, patience: Patience) -> Vec<CniError> {
    let mut steps = record.plan.steps.clone();
    // Whose address was given to another has the same MAC as that one: its neighbour entry is no longer this one's.
    if has_successor(record) {
        steps.retain(|s| !matches!(s, Step::Neighbours(_)));
    }
    let bridge = match lock_own_bridge(store, record) {
        Ok(lock) => lock,
        Err(e) => return vec![e],
    };
    if bridge.is_none() {
        steps.retain(|s| !matches!(s, Step::EnsureBridge(_)));
    }
    let _flow_rules = match store.lock_flow_rules_of(&record.plan) {
        Ok(lock) => lock,
        Err(e) => return vec![e.into()],
    };
    let mut executor = match executor(store, record, patience) {
        Ok(executor) => executor,
        Err(e) => return vec![e],
    };
    let still = |step: &Step| is_still_its_own(store, record, step);
    let mut errors: Vec<CniError> = executor.undo_while(&steps, still).into_iter().map(Into::into).collect();
    if patience == Patience::Notification && errors.is_empty() {
        errors.extend(still_there(record).err());
    }
    errors
}

fn executor(store: &Store, record: &Record, patience: Patience) -> Result<Executor<'static>, CniError> {
    let executor = Executor::new(None)?.with_vfs(store.host()).with_patience(patience);
    Ok(executor.with_record_netns(record.netns.clone()))
}

/// Asked at its turn: whoever hung before may have been done without, and the VF be another's.
fn is_still_its_own(store: &Store, record: &Record, step: &Step) -> bool {
    match step {
        Step::MoveVf(MoveVf { vf, .. }) | Step::PlugRepresentor(PlugRepresentor { vf, .. }) => {
            is_lent(store, vf.pci, record)
        }
        _ => true,
    }
}

/// The bridge that this attachment made, until all is undone: nobody adds to it meanwhile. None: it made none, or
/// somebody adds to it at this moment and needs it.
fn lock_own_bridge(store: &Store, record: &Record) -> Result<Option<Lock>, CniError> {
    let Some((name, mac)) = record.plan.own_bridge() else { return Ok(None) };
    let found = netlink::Socket::open().and_then(|mut socket| link::find(&mut socket, name))?;
    if !found.is_some_and(|bridge| bridge.has_mac(mac)) {
        return Ok(None);
    }
    match store.lock_bridge(name, BRIDGE_PATIENCE) {
        Ok(lock) => Ok(Some(lock)),
        Err(Error::Locked { .. }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// One whose claim cannot be read is left: the record stays, since giving it back fails too.
fn is_lent(store: &Store, pci: PciAddr, record: &Record) -> bool {
    let claim = store.claims().read(pci);
    matches!(claim, Ok(Some(c)) if c.holder == record.attachment && !c.in_quarantine())
}

fn has_successor(record: &Record) -> bool {
    match &record.ipam {
        IpamHold::Files { dir } => {
            Addresses::of_dir(dir, &record.network).held_by_another(&record.attachment, record.plan.ips())
        }
        // The record itself is the hold, or the MAC is a random one.
        IpamHold::None | IpamHold::Daemon | IpamHold::Delegate { .. } => false,
    }
}

/// A notification precedes the kernel's last work on a link: before the address is anybody else's, it must not be
/// found in the pod's namespace any more.
fn still_there(record: &Record) -> Result<(), CniError> {
    const LOOKS: u32 = 50;
    let Ok(netns) = Netns::open(&record.netns.path) else { return Ok(()) };
    if netns.inode() != record.netns.inode {
        return Ok(());
    }
    if netns.inside(|| link::index_of(&record.attachment.ifname))?.is_none() {
        return Ok(());
    }
    let name = record.attachment.ifname.as_str();
    let own = record.plan.result.interfaces.iter().find(|i| i.sandbox.is_some() && i.name == name);
    // Of one without a MAC the kind must do: the lock keeps us from making another of this name.
    let ours = own.and_then(|i| i.mac.as_deref()).and_then(|mac| mac.parse().ok());
    let has_none = matches!(record.plan.host_link(), Some((_, None)));
    let mut socket = netlink::Socket::open_in(&netns)?;
    for _ in 0..LOOKS {
        let found = link::find(&mut socket, &record.attachment.ifname)?;
        let is_ours = |l: &link::Link| (ours.is_some() || has_none) && l.is_host_end(ours);
        if !found.is_some_and(|l| is_ours(&l)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(CniError::kernel(format!(
        "interface {} is still in {}",
        record.attachment.ifname,
        record.netns.path.display()
    )))
}

fn remove_device_info(record: &Record) -> Result<(), CniError> {
    record.device_info.as_deref().map_or(Ok(()), device_info::remove).map_err(Into::into)
}

/// DHCP gives a lease back by the link that has it. All other addresses are free only once nobody uses them any more.
fn needs_link(record: &Record) -> bool {
    matches!(&record.ipam, IpamHold::Delegate { plugin, .. } if plugin == "dhcp")
}

fn free_addresses(record: &Record) -> Result<(), CniError> {
    match &record.ipam {
        IpamHold::None | IpamHold::Daemon => Ok(()),
        IpamHold::Files { dir } => {
            Ok(Addresses::of_dir(dir, &record.network).release(&record.attachment, record.plan.ips())?)
        }
        IpamHold::Delegate { plugin, config, path, args } => {
            let netns = record.netns.path.to_string_lossy();
            let netns = if record.netns.path.exists() { netns.as_ref() } else { "" };
            Delegate::ipam(plugin, config, path, args).del(&record.attachment, netns)
        }
    }
}

/// Addresses that networks have by files. Those that a plugin gave were its own to take back, before.
fn free_networks(record: &Record) -> Result<(), CniError> {
    for network in &record.networks {
        let IpamHold::Files { dir } = &network.hold else { continue };
        Addresses::of_dir(dir, &record.network).release(&record.attachment, network.ips())?;
    }
    Ok(())
}

/// Takes the link of one of its interfaces out of the pod, if it is a VF: who gives its address to another must know that
/// it is not used any more. The caller holds the attachment's lock.
pub fn take_out(store: &Store, record: &Record, ifname: &IfName) -> Result<(), CniError> {
    let its = |step: &&Step| matches!(step, Step::MoveVf(vf) if vf.name == *ifname);
    let steps: Vec<Step> = record.plan.steps.iter().filter(its).cloned().collect();
    let mut executor = executor(store, record, Patience::Ack)?;
    let errors = executor.undo_while(&steps, |step| is_still_its_own(store, record, step));
    joined(errors.into_iter().map(Into::into).collect()).map_or(Ok(()), Err)
}

/// Whether the record's link is there: a namespace's inode can be used again, a link's MAC is not.
pub fn lives(record: &Record) -> bool {
    if let Some((name, _)) = record.plan.host_link() {
        return matches!(link::index_of(name), Ok(Some(_)));
    }
    let moved = record.plan.steps.iter().find_map(|s| match s {
        Step::MoveVf(m) => Some((&m.name, m.mac)),
        _ => None,
    });
    match moved {
        Some((name, mac)) => has_link(record, name, mac),
        // A VF for userspace has no link: it lives with its namespace.
        None => record.plan.vfs().next().is_some() && pod(record).is_some(),
    }
}

fn has_link(record: &Record, name: &IfName, mac: MacAddr) -> bool {
    let Some(netns) = pod(record) else { return false };
    let found = netlink::Socket::open_in(&netns).and_then(|mut socket| link::find(&mut socket, name));
    matches!(found, Ok(Some(l)) if l.has_mac(mac))
}

/// The pod's namespace, if it is still the one.
fn pod(record: &Record) -> Option<Netns> {
    Netns::open(&record.netns.path).ok().filter(|netns| netns.inode() == record.netns.inode)
}

/// One error that tells of all.
pub fn joined(errors: Vec<CniError>) -> Option<CniError> {
    let mut errors = errors.into_iter();
    let first = errors.next()?;
    Some(errors.fold(first, |all, e| CniError { msg: format!("{}; {}", all.msg, e.msg), ..all }))
}
