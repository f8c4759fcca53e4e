//! Health and metrics over HTTP. Nothing here changes anything, and nothing here names a pod.

use crate::metrics::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// OpenMetrics, which is what `prometheus-client` writes.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long an answer waits for counters: reading those of 250 pods takes milliseconds.
const FRESH: Duration = Duration::from_secs(2);

/// What the server asks of the daemon, on threads that may be blocked.
pub trait Probe: Send + Sync + 'static {
    /// Why no pod could be attached now; empty: it could.
    fn not_ready(&self) -> Vec<String>;

    /// Has counters read that take a while; told when they are. None: there are none.
    fn refresh(&self) -> Option<oneshot::Receiver<()>> {
        None
    }

    /// Sets the gauges, just before they are read.
    fn observe(&self, metrics: &Metrics);
}

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("serve health and metrics on {address} (http.address): {source}")]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// A server that has its address and waits to be run.
pub struct Server {
    listener: TcpListener,
    app: Router,
}

struct App<P> {
    probe: P,
    metrics: Arc<Metrics>,
    /// Held from setting the gauges to reading them: who scrapes meanwhile would find some of them missing.
    scraping: Mutex<()>,
}

impl<P: Probe> App<P> {
    /// Files and the kernel are asked for it.
    fn observe(&self) -> Result<String, String> {
        let _one = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        self.probe.observe(&self.metrics);
        self.metrics.encode().map_err(|e| format!("write the metrics: {e}\n"))
    }
}

impl Server {
    /// Takes the address, so that an address in use is known at start.
    pub async fn bind<P: Probe>(
        address: SocketAddr,
        probe: P,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BindError> {
        let listener = TcpListener::bind(address).await.map_err(|source| BindError { address, source })?;
        let app = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz::<P>))
            .route("/metrics", get(metrics_text::<P>))
            .with_state(Arc::new(App { probe, metrics, scraping: Mutex::default() }));
        Ok(Self { listener, app })
    }

    /// The address, with the port that the kernel chose if it was 0.
    #[cfg(test)]
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is done.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        axum::serve(self.listener, self.app).with_graceful_shutdown(stop).await
    }
}

async fn readyz<P: Probe>(State(app): State<Arc<App<P>>>) -> Response {
    let not_ready = tokio::task::spawn_blocking(move || app.probe.not_ready()).await;
    match not_ready.unwrap_or_else(|e| vec![e.to_string()]) {
        reasons if reasons.is_empty() => "ok\n".into_response(),
        reasons => {
            let text: String = reasons.iter().map(|r| format!("{r}\n")).collect();
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn metrics_text<P: Probe>(State(app): State<Arc<App<P>>>) -> Response {
    if let Some(read) = app.probe.refresh() {
        // What comes too late is in the next answer.
        let _ = tokio::time::timeout(FRESH, read).await;
    }
    let observed = tokio::task::spawn_blocking(move || app.observe()).await;
    match observed.unwrap_or_else(|e| Err(e.to_string())) {
        Ok(text) => ([(CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, why).into_response(),
    }
}

#[cfg(test)]
mod tests;
