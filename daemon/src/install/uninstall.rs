//! `offrampd uninstall`: takes Offramp from a node whose daemon was stopped, in an order in which no pod gets stuck. The
//! network configuration goes when another one is there, or when nobody needs one: without any, a runtime can delete no
//! pod. All else goes when the last pod has left that was attached.

use super::{InstallError, PLUGIN, conflist, files};
use crate::config::{Cni, Config, OverlayMode};
use crate::eswitch::Eswitch;
use crate::metrics::Metrics;
use crate::node::{Node, OURSELVES};
use crate::overlay::{Order, Ways};
use crate::reclaim::Reclaim;
use crate::watch::Removal;
use nix::sys::signal::{SigSet, Signal};
use offramp_core::cni::CniError;
use offramp_core::ids::AttachmentId;
use offramp_core::overlay;
use offramp_core::peer::Peers;
use offramp_core::record::Record;
use offramp_kernel::delete::{self, Patience};
use offramp_kernel::netlink::Socket;
use offramp_kernel::{link, nft};
use offramp_ledger::clean;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A daemon that is being stopped is gone by then.
const PREDECESSOR: Duration = Duration::from_secs(3);
/// Between two looks: what is dead at two of them is taken back.
const PAUSE: Duration = Duration::from_secs(2);
const VF_PATIENCE: Duration = Duration::from_secs(10);
/// A call of the plugin that is at work on an attachment has ended by then.
const CALL_PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of those that are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// They are named, and what they need stays.
    Refuse,
    /// They are waited for.
    Wait,
    /// They lose their network.
    CutOff,
}

/// Why Offramp is still there.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// The daemon runs.
    #[error("offrampd runs here, and would put all back: stop it first (state directory {0})")]
    DaemonRuns(String),
    /// A thread.
    #[error("listen for signals: {0}")]
    Signals(std::io::Error),
    /// Somebody needs it.
    #[error("still needed:\n  {}", .0.join("\n  "))]
    Needed(Vec<String>),
    /// By force, but for these.
    #[error("all else is removed, but these could not be taken back, and stay until a reboot:\n  {}", .0.join("\n  "))]
    Left(Vec<String>),
    /// A file.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Records, or what they name.
    #[error(transparent)]
    State(#[from] CniError),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] offramp_kernel::Error),
    /// Rules.
    #[error("remove the nftables tables: {0}")]
    Nft(#[from] nft::NftError),
}

/// SIGTERM and SIGINT end the process by this. Without it the first process of a container would pass over them.
pub struct Ended(Arc<AtomicBool>);

impl Ended {
    /// All is done: waits to be told to end.
    pub fn stay(self) -> ! {
        self.0.store(true, Ordering::Relaxed);
        loop {
            std::thread::park();
        }
    }
}

/// Ends the process at SIGTERM or SIGINT, wherever it is: what it does can be repeated. The exit code is 0 if all was done.
pub fn end_when_told() -> Result<Ended, UninstallError> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    signals.thread_block().map_err(|e| UninstallError::Signals(e.into()))?;
    let done = Arc::new(AtomicBool::new(false));
    let ended = Ended(done.clone());
    let wait = move || {
        let _ = signals.wait();
        std::process::exit(i32::from(!done.load(Ordering::Relaxed)));
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(UninstallError::Signals)?;
    Ok(ended)
}

/// Takes all of Offramp away; `tell` hears what was done. It may be repeated, and killed at any point.
pub fn run(
    config: Config,
    bin_dir: &Path,
    attached: Attached,
    tell: &mut dyn FnMut(&str),
) -> Result<(), UninstallError> {
    let cni = config.cni.clone();
    let node = Node::new(config, Arc::new(Metrics::new(crate::VERSION)));
    let root = node.store.root().display().to_string();
    let _place = node.store.lock_daemon(PREDECESSOR).map_err(|e| match e {
        offramp_ledger::Error::Locked { .. } => UninstallError::DaemonRuns(root),
        other => UninstallError::State(other.into()),
    })?;
    node.load()?;
    let left = match attached {
        Attached::Refuse | Attached::Wait => {
            leave(&node, cni.as_ref(), attached == Attached::Wait, tell)?;
            Vec::new()
        }
        Attached::CutOff => cut_off(&node, cni.as_ref(), tell)?,
    };
    node.devices.withdraw().map_err(CniError::internal)?;
    remove_from_kernel(&node, tell)?;
    remove_plugin(cni.as_ref(), bin_dir, tell)?;
    if !left.is_empty() {
        return Err(UninstallError::Left(left));
    }
    tell("Offramp is removed from this node");
    Ok(())
}

/// Until nobody is attached.
fn leave(
    node: &Node,
    cni: Option<&Cni>,
    wait: bool,
    tell: &mut dyn FnMut(&str),
) -> Result<(), UninstallError> {
    let mut reclaim = Reclaim::default();
    let mut told = Vec::new();
    let mut condition = Condition::new(&node.config, tell);
    for look in 1.. {
        condition.tell(cni, tell)?;
        let reclaimed = reclaim.run(node);
        let mut needed = attached(node)?;
        if let Some(cni) = cni {
            needed.extend(remove_conflist(cni, !needed.is_empty(), tell)?);
        }
        needed.extend(reclaimed.err().map(|e| e.to_string()));
        needed.extend(quarantined(node)?);
        if needed.is_empty() {
            return Ok(());
        }
        if !wait && look > 1 {
            return Err(UninstallError::Needed(needed));
        }
        if wait && told != needed {
            tell(&format!("waits:\n  {}", needed.join("\n  ")));
            told = needed;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The Node's NetworkUnavailable. That the API is away keeps nothing from being removed.
struct Condition {
    removal: Option<Removal>,
    /// What it was told last, by whom pods are served; none: nothing, or in vain.
    told: Option<Option<PathBuf>>,
    fault: Option<String>,
}

impl Condition {
    fn new(config: &Config, tell: &mut dyn FnMut(&str)) -> Self {
        let removal = Removal::new(config).unwrap_or_else(|e| {
            tell(&format!("NetworkUnavailable of this node stays as it is: {e}"));
            None
        });
        Self { removal, told: None, fault: None }
    }

    /// Tells it who serves pods now, if that is news.
    fn tell(&mut self, cni: Option<&Cni>, tell: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
        let Some(removal) = &self.removal else { return Ok(()) };
        let served_by = cni.map(conflist::others).transpose()?.unwrap_or_default().into_iter().next();
        if self.told.as_ref() == Some(&served_by) {
            return Ok(());
        }
        match removal.tell(served_by.as_deref()) {
            Ok(said) => {
                if said {
                    tell(&format!("set NetworkUnavailable of this node to {}", served_by.is_none()));
                }
                self.told = Some(served_by);
            }
            Err(e) => {
                let fault = format!("cannot set NetworkUnavailable of this node: {e}");
                if self.fault.as_ref() != Some(&fault) {
                    tell(&fault);
                    self.fault = Some(fault);
                }
            }
        }
        Ok(())
    }
}

/// Nobody is waited for: the network configuration goes first, so that no pod is added meanwhile, then each attachment.
/// Answers what could not be taken back.
fn cut_off(
    node: &Node,
    cni: Option<&Cni>,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<String>, UninstallError> {
    Condition::new(&node.config, tell).tell(cni, tell)?;
    if let Some(cni) = cni {
        remove_conflist(cni, false, tell)?;
    }
    let mut left: BTreeMap<AttachmentId, String> = BTreeMap::new();
    // A call that was under way may have left its record since.
    loop {
        let listing = node.store.list().map_err(CniError::from)?;
        let fresh: Vec<_> = listing.records.iter().filter(|r| !left.contains_key(&r.attachment)).collect();
        if fresh.is_empty() {
            let unreadable = listing.unreadable.iter().map(ToString::to_string);
            return Ok(left.into_values().chain(unreadable).chain(quarantined(node)?).collect());
        }
        for record in fresh {
            let id = &record.attachment;
            let taken_back = node.store.lock(id, CALL_PATIENCE).map_err(CniError::from);
            match taken_back.and_then(|_lock| node.release(id, OURSELVES)) {
                Ok(()) => tell(&format!("cut off: {}", who(record))),
                Err(e) => drop(left.insert(id.clone(), format!("{}: {e}", who(record)))),
            }
        }
    }
}

/// Pods and containers that have an interface of ours.
fn attached(node: &Node) -> Result<Vec<String>, CniError> {
    let listing = node.store.list()?;
    let unreadable = listing.unreadable.iter().map(ToString::to_string);
    Ok(listing.records.iter().map(who).chain(unreadable).collect())
}

fn who(record: &Record) -> String {
    match &record.pod {
        Some(pod) => format!("pod {pod} has {}", record.attachment.ifname),
        None => format!("{} is attached", record.attachment),
    }
}

/// Takes the network configuration away, if the deletion of those who are attached is then another's affair; says why
/// not.
fn remove_conflist(
    cni: &Cni,
    anybody_attached: bool,
    tell: &mut dyn FnMut(&str),
) -> Result<Option<String>, InstallError> {
    let path = cni.path();
    if anybody_attached && path.exists() && conflist::others(cni)?.is_empty() {
        return Ok(Some(format!(
            "{} stays: there is no other network configuration, and without any the runtime can delete no pod",
            path.display()
        )));
    }
    if conflist::remove(cni)? {
        tell(&format!("removed {}", path.display()));
    }
    Ok(None)
}

/// Cleans the VFs that nobody has any more; names the others.
fn quarantined(node: &Node) -> Result<Vec<String>, CniError> {
    let claims = node.store.claims();
    let mut left = Vec::new();
    for claim in claims.list()?.claims {
        match clean::attempt(&claims, claim.vf.pci, VF_PATIENCE)? {
            clean::Outcome::Free | clean::Outcome::Gone => {}
            clean::Outcome::Nothing if claims.read(claim.vf.pci)?.is_none() => {}
            clean::Outcome::Nothing => left.push(format!("VF {} is lent", claim.vf.pci)),
            clean::Outcome::Busy => left.push(format!("VF {} is being cleaned", claim.vf.pci)),
            clean::Outcome::Quarantined { reason, .. } => {
                left.push(format!("VF {} is not clean: {reason}", claim.vf.pci));
            }
        }
    }
    Ok(left)
}

/// Ways to other nodes, rules, and the bridge, unless somebody else has a port of it.
fn remove_from_kernel(node: &Node, tell: &mut dyn FnMut(&str)) -> Result<(), UninstallError> {
    let mut config = node.config.clone();
    config.overlay.mode = OverlayMode::None;
    let name = node.config.node.name.clone();
    let nobody = overlay::Node { name, mac: None, gateways: Vec::new(), pod_mtu: None };
    let mut order = Order { node: nobody, peers: Peers::default(), look: true };
    let outcome = Ways::new(&config)?.execute(&mut order);
    outcome.repairs.map_err(CniError::internal)?;
    put_back(node, tell);
    nft::drop_tables()?;
    tell("removed the ways to other nodes and the nftables tables");
    let bridge = &node.config.bridge.name;
    let mut socket = Socket::open()?;
    if let Some(found) = link::find(&mut socket, bridge)? {
        let links = link::list(&mut socket)?;
        let ports: Vec<&str> =
            links.iter().filter(|l| l.controller == Some(found.index)).map(|l| l.name.as_str()).collect();
        if ports.is_empty() {
            delete::link(&mut socket, bridge, found.index, Patience::Ack)?;
            tell(&format!("removed bridge {bridge}"));
        } else {
            tell(&format!("left bridge {bridge}, which has the ports {}", ports.join(", ")));
        }
    }
    // What NICs were told of the bridge.
    Eswitch::new(&node.config.paths.sysfs)?.reconcile(node)?;
    Ok(())
}

/// What was set on devices, and what was turned off of the uplink's features. That one of them cannot be put back keeps
/// nothing else from being removed.
fn put_back(node: &Node, tell: &mut dyn FnMut(&str)) {
    let (told, outcome) = crate::tuning::put_back(node);
    told.iter().for_each(|what| tell(what));
    if let Err(e) = outcome {
        tell(&format!("not all that was set on devices is as it was; this stays until a reboot: {e}"));
    }
    let put_back = crate::probe::put_back(node);
    for rung in put_back.on {
        tell(&format!("turned on {} of {} again", rung.features.join(", "), rung.device));
    }
    if let Err(e) = put_back.outcome {
        tell(&format!(
            "not all features that were turned off are on again; these stay off until a reboot: {e}"
        ));
    }
}

/// The plugin, unless another network is made by it.
fn remove_plugin(
    cni: Option<&Cni>,
    bin_dir: &Path,
    tell: &mut dyn FnMut(&str),
) -> Result<(), UninstallError> {
    let path = bin_dir.join(PLUGIN);
    let users = cni.map(conflist::others).transpose()?.unwrap_or_default();
    if let Some(user) = users.iter().find(|conf| conflist::calls_us(conf)) {
        tell(&format!("left {}, which {} calls", path.display(), user.display()));
    } else if files::remove(&path).map_err(InstallError::io("remove", &path))? {
        tell(&format!("removed {}", path.display()));
    }
    Ok(())
}
