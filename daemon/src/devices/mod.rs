//! Pools that kubelet lends: a device plugin for each, and what kubelet has promised to whom.
//!
//! Here alone the types of its gRPC are named. The inventory and the claims are looked at by a thread; the asynchronous
//! runtime serves what it last found.

mod cdi;
mod connect;
mod endpoint;
mod plugin;
mod pod_resources;
mod proto;
mod table;
mod watch;

use crate::config::Config;
use crate::nics::bell::Bell;
use crate::node::Node;
use cdi::Cdi;
use endpoint::Endpoint;
use offramp_core::kubelet::{PodDevices, Strangers};
use offramp_core::pool::Pool;
use offramp_core::record::PodRef;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use table::Table;
use tokio::runtime::Handle;
use tokio::sync::watch as channel;

/// An answer takes 2 ms on a quiet node. Who gives up too early pays with the runtime's retry, 11 to 15 s later.
const PATIENCE: Duration = Duration::from_secs(2);
/// For a list of all pods.
const LIST_PATIENCE: Duration = Duration::from_secs(10);
/// While all is well, kubelet's folder is looked at this often, besides when something in it changes.
const IDLE: Duration = Duration::from_secs(10);
/// After a failure, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What kubelet is told, and asked.
pub struct Devices {
    told: channel::Sender<Table>,
    /// Something in kubelet's folder changed.
    sockets: channel::Sender<()>,
    /// Rung when VFs, ports or claims may have changed.
    pub bell: Bell,
    strangers: Mutex<Strangers>,
    cdi: Cdi,
    runtime: OnceLock<Handle>,
}

/// Where device plugins and kubelet have their sockets.
fn plugins_dir(kubelet: &Path) -> PathBuf {
    kubelet.join("device-plugins")
}

impl Devices {
    /// Nothing is told or asked yet.
    pub fn new(config: &Config) -> Self {
        Self {
            told: channel::Sender::default(),
            sockets: channel::Sender::default(),
            bell: Bell::default(),
            strangers: Mutex::new(Strangers::new(config.kubelet.settling)),
            cdi: Cdi::new(&config.paths.cdi),
            runtime: OnceLock::new(),
        }
    }

    /// What the runtime knows of VFs is of no more use.
    pub fn withdraw(&self) -> Result<(), String> {
        self.cdi.publish(BTreeMap::new())
    }

    /// What kubelet has promised to a pod. Within half a second; must not be called on the runtime's thread.
    pub fn of_pod(&self, kubelet: &Path, pod: &PodRef) -> Result<PodDevices, String> {
        let Some(runtime) = self.runtime.get() else { return Err("offrampd is starting".into()) };
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let (socket, pod) = (pod_resources::socket(kubelet), pod.clone());
        let late = || format!("{} did not answer within {PATIENCE:?}", socket.display());
        let asked = socket.clone();
        runtime.spawn(async move {
            // Who asked may have given up.
            let _ = answer.try_send(pod_resources::of_pod(&asked, &pod).await);
        });
        answered.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(late()))
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins: kubelet's API is not waited for, nor Kubernetes'. `spawn` makes a thread of a name.
pub fn start<E>(
    node: &Arc<Node>,
    runtime: &Handle,
    mut spawn: impl FnMut(&'static str, Box<dyn FnOnce() + Send>) -> Result<(), E>,
) -> Result<(), E> {
    let _ = node.devices.runtime.set(runtime.clone());
    let pools: Vec<Pool> = node.config.pools.iter().filter(|p| p.resource.is_some()).cloned().collect();
    node.devices.look(node);
    if pools.is_empty() {
        return Ok(());
    }
    let (looking, watching) = (node.clone(), node.clone());
    spawn("devices", Box::new(move || table::run(&looking)))?;
    spawn("device-watch", Box::new(move || watch::run(&watching)))?;
    runtime.spawn(keep_registered(node.clone(), pools));
    runtime.spawn(find_strangers(node.clone()));
    Ok(())
}

/// Level-triggered: whatever became of the sockets, after a look all is served and registered, or it is said why not.
async fn keep_registered(node: Arc<Node>, pools: Vec<Pool>) {
    let mut sockets = node.devices.sockets.subscribe();
    let mut endpoints: Vec<Endpoint> = pools.into_iter().map(|p| Endpoint::new(&node, p)).collect();
    let mut retry = RETRY.0;
    loop {
        sockets.mark_unchanged();
        let looks = futures::future::join_all(endpoints.iter_mut().map(Endpoint::look)).await;
        let faults: Vec<String> = looks.into_iter().filter_map(Result::err).collect();
        let pause = if faults.is_empty() { IDLE } else { retry };
        retry = if faults.is_empty() { RETRY.0 } else { (retry * 2).min(RETRY.1) };
        node.ran("device-plugin", if faults.is_empty() { Ok(0) } else { Err(faults.join("; ")) });
        let _ = tokio::time::timeout(pause, sockets.changed()).await;
    }
}

/// Compares claims with what kubelet lists.
async fn find_strangers(node: Arc<Node>) {
    let (socket, interval) =
        (pod_resources::socket(&node.config.paths.kubelet), node.config.kubelet.interval);
    loop {
        tokio::time::sleep(interval).await;
        let Ok(kubelet) = connect::identity(&socket) else { continue };
        let list = match tokio::time::timeout(LIST_PATIENCE, pod_resources::list(&socket)).await {
            Ok(Ok(list)) => list,
            Ok(Err(error)) => {
                tracing::debug!(%error, "kubelet lists no pods");
                continue;
            }
            Err(_) => continue,
        };
        match node.store.claims().list() {
            Ok(listing) => {
                node.devices.strangers().listed(Instant::now(), kubelet, &list, &listing.claims);
                node.devices.bell.ring();
            }
            Err(error) => tracing::warn!(%error, "claims cannot be compared with kubelet's list"),
        }
    }
}
