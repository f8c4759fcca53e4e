//! `offrampd run`: brings the daemon up and takes it down again.

use crate::config::Config;
use crate::http::{Probe, Server};
use crate::metrics::Metrics;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The asynchronous runtime.
    #[error("start the runtime: {0}")]
    Runtime(std::io::Error),
    /// A signal handler.
    #[error("listen for {0}: {1}")]
    Signal(&'static str, std::io::Error),
    /// Health and metrics.
    #[error(transparent)]
    Bind(#[from] crate::http::BindError),
}

/// Runs the daemon until SIGTERM or SIGINT. Few threads with small stacks: a node has better uses for its memory.
pub fn run(config: Config) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .thread_stack_size(512 << 10)
        .thread_name("offrampd")
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    runtime.block_on(serve(Arc::new(config)))
}

async fn serve(config: Arc<Config>) -> Result<(), RunError> {
    let mut terminate = listen("SIGTERM", SignalKind::terminate())?;
    let mut interrupt = listen("SIGINT", SignalKind::interrupt())?;
    // Its default would end the process when the terminal goes; files are watched, so it has no other meaning.
    let _hangup = listen("SIGHUP", SignalKind::hangup())?;
    let (stop, stopped) = watch::channel(false);
    let metrics = Arc::new(Metrics::new(crate::VERSION));
    tracing::info!(version = crate::VERSION, node = %config.node.name, "starting");

    // PLUG-IN POINT: bridge, firewall, ledger, allocator, overlay, socket server and reclaim start here, each
    // with a clone of `stopped`; the probe below is theirs.
    let mut http = None;
    if let Some(address) = config.http {
        let server = Server::bind(address, Nothing, metrics.clone()).await?;
        tracing::info!(%address, "health and metrics are served");
        http = Some(tokio::spawn(server.run(until(stopped.clone()))));
    }

    tokio::select! {
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
    }
    let _ = stop.send(true);
    if let Some(task) = http {
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), task).await;
    }
    Ok(())
}

fn listen(name: &'static str, kind: SignalKind) -> Result<Signal, RunError> {
    signal(kind).map_err(|e| RunError::Signal(name, e))
}

/// Done when the daemon is told to stop.
async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Nothing that could be unready runs yet.
struct Nothing;

impl Probe for Nothing {
    fn not_ready(&self) -> Vec<String> {
        vec!["the daemon has no parts yet".into()]
    }
    fn observe(&self, _: &Metrics) {}
}
