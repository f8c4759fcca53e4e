//! `offrampd run`: brings the daemon up and takes it down again.

use crate::config::{Config, Source, Standalone};
use crate::http::Server;
use crate::metrics::Metrics;
use crate::nics::NicEvents;
use crate::node::{Node, NodeProbe};
use crate::overlay::{Desk, Ways};
use crate::reclaim::Reclaim;
use crate::reconcile::{Due, Reconcile, Waker};
use crate::watch::{self, Api};
use crate::{devices, probe, server};
use offramp_core::cni::CniError;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A daemon that is being stopped is gone by then.
const PREDECESSOR: std::time::Duration = std::time::Duration::from_secs(3);

/// Pods wait no longer than that for the ways to the other nodes: to thousands they take seconds.
const FIRST_WAYS: std::time::Duration = std::time::Duration::from_secs(2);

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The asynchronous runtime.
    #[error("start the runtime: {0}")]
    Runtime(std::io::Error),
    /// A thread.
    #[error("start thread {0}: {1}")]
    Thread(&'static str, std::io::Error),
    /// A signal handler.
    #[error("listen for {0}: {1}")]
    Signal(&'static str, std::io::Error),
    /// The records.
    #[error("take over the state directory: {0}")]
    State(#[from] CniError),
    /// The plugin's socket.
    #[error(transparent)]
    Socket(#[from] server::ServerError),
    /// The Kubernetes API.
    #[error(transparent)]
    Api(#[from] watch::ConnectError),
    /// Health and metrics.
    #[error(transparent)]
    Bind(#[from] crate::http::BindError),
}

/// Runs the daemon until SIGTERM or SIGINT. What blocks (netlink, files, nft) has threads of its own; the
/// asynchronous runtime serves health and metrics, and kubelet, and follows the Kubernetes API.
pub fn run(config: Config) -> Result<(), RunError> {
    tracing::info!(version = crate::VERSION, node = %config.node.name, "starting");
    let metrics = Arc::new(Metrics::new(crate::VERSION));
    let node = Arc::new(Node::new(config, metrics));
    // Held until the process ends: two daemons would give the same addresses.
    let _place = node.store.lock_daemon(PREDECESSOR).map_err(|e| match e {
        offramp_ledger::Error::Locked { .. } => {
            RunError::Socket(server::ServerError::Taken { path: node.store.root().to_owned() })
        }
        other => RunError::State(other.into()),
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    if let Source::Kubernetes(source) = &node.config.source {
        let _ = node.api.set(runtime.block_on(Api::connect(source))?);
    }
    let listener = server::listen(&node.config.paths.socket)?;
    node.load()?;
    let waker = start(&node)?;
    devices::start(&node, runtime.handle(), thread)?;
    server::serve(listener, node.clone()).map_err(|e| RunError::Thread("connection", e))?;
    let offloading = node.clone();
    // Nobody waits for it.
    thread("offloads", move || offloading.offloads.run(&offloading))?;
    if let Some(cni) = node.config.cni.clone() {
        let node = node.clone();
        // When calls are served: the runtime makes some as soon as it sees the file.
        thread("conflist", move || crate::install::conflist::run(&node, &cni))?;
    }
    runtime.block_on(until_stopped(node, waker))
}

/// The loops. The first look comes before the first call is served: an ADD finds the bridge, and the ways to the peers that
/// are known, if they did not take too long.
fn start(node: &Arc<Node>) -> Result<Waker, RunError> {
    let waker = Waker::new().map_err(|e| RunError::Thread("reconcile", e))?;
    let desk = Arc::new(Desk::new().map_err(|e| RunError::Thread("overlay", e))?);
    let mut reconcile = Reconcile::new(node.clone(), waker.clone(), desk.clone());
    reconcile.pass(Due::All);
    thread("reconcile", move || reconcile.run())?;
    match Ways::new(&node.config) {
        Ok(ways) => {
            let (node, (begun, has_begun)) = (node.clone(), std::sync::mpsc::channel());
            // Of its own: thousands of peers take seconds, and pods are not to wait for their repairs.
            thread("overlay", move || {
                ways.run(&desk, &node, || {
                    // Who waits may have given up.
                    let _ = begun.send(());
                });
            })?;
            let _ = has_begun.recv_timeout(FIRST_WAYS);
        }
        Err(e) => node.ran("overlay", Err(e.to_string())),
    }
    if let Source::Standalone(Standalone { peers_file: Some(path), .. }) = &node.config.source {
        let (path, waker) = (path.clone(), waker.clone());
        thread("peers", move || watch::peers_file::run(&path, &waker))?;
    }
    probe::start(node, thread)?;
    let cleaning = node.clone();
    thread("cleaner", move || crate::cleaner::run(&cleaning))?;
    let watching = node.clone();
    let mut events = NicEvents::open();
    watching.nics.look(&watching);
    let (managing, (begun, has_begun)) = (node.clone(), std::sync::mpsc::channel());
    thread("nic-rules", move || {
        crate::nics::manage::run(&managing, || {
            // Who waits has not left.
            let _ = begun.send(());
        });
    })?;
    // Its end would be told too.
    let _ = has_begun.recv();
    thread("nics", move || {
        loop {
            events.wait(watching.config.reconcile_interval, &watching.calls);
            watching.nics.look(&watching);
        }
    })?;
    let counting = node.clone();
    thread("traffic", move || counting.traffic.run(&counting))?;
    let reclaiming = node.clone();
    thread("reclaim", move || {
        let mut reclaim = Reclaim::default();
        loop {
            reclaiming.ran("reclaim", reclaim.run(&reclaiming).map_err(|e| e.to_string()));
            std::thread::sleep(reclaiming.config.reclaim_interval);
        }
    })?;
    Ok(waker)
}

fn thread(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
    let spawned = std::thread::Builder::new().name(name.into()).stack_size(1 << 20).spawn(work);
    spawned.map(drop).map_err(|e| RunError::Thread(name, e))
}

/// The threads end with the process: whatever they are at can be taken up again.
async fn until_stopped(node: Arc<Node>, waker: Waker) -> Result<(), RunError> {
    let mut terminate = listen("SIGTERM", SignalKind::terminate())?;
    let mut interrupt = listen("SIGINT", SignalKind::interrupt())?;
    // Its default would end the process when the terminal goes; files are watched, so it has no other meaning.
    let _hangup = listen("SIGHUP", SignalKind::hangup())?;
    if let Some(address) = node.config.http {
        let server = Server::bind(address, NodeProbe(node.clone()), node.metrics.clone()).await?;
        tracing::info!(%address, "health and metrics are served");
        tokio::spawn(server.run(std::future::pending()));
    }
    watch::spawn(&node, &waker);
    tracing::info!(socket = %node.config.paths.socket.display(), "ready");
    tokio::select! {
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
    }
    Ok(())
}

fn listen(name: &'static str, kind: SignalKind) -> Result<Signal, RunError> {
    signal(kind).map_err(|e| RunError::Signal(name, e))
}
