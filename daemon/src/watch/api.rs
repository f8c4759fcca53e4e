//! The API server: one client for all.

use crate::config::Kubernetes;
use http::HeaderValue;
use http::header::USER_AGENT;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// A server that is there answers at once; one that is not must not cost the whole of an ADD's time.
const CONNECT: Duration = Duration::from_secs(5);

/// A watch is ended by the server before that, and a list takes less.
const SILENCE: Duration = Duration::from_secs(300);
/// What is asked for by the way is answered within that, or asked again.
const ANSWER: Duration = Duration::from_secs(10);

/// The cluster's API. Threads may wait for it by [`Api::wait`], tasks use the client.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
    runtime: Handle,
}

struct Shared {
    config: kube::Config,
    client: Mutex<Client>,
    renewals: watch::Sender<()>,
}

/// Why there can be no client. That the server does not answer is no reason.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file.
    #[error("cluster.kubernetes.kubeconfig {}: {source}", path.display())]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Box<kube::config::KubeconfigError>,
    },
    /// There is no service account.
    #[error("use the pod's service account (cluster.kubernetes.kubeconfig is not set): {0}")]
    InCluster(#[from] kube::config::InClusterError),
    /// A thread of its own cannot wait for it.
    #[error("start the runtime: {0}")]
    Runtime(std::io::Error),
    /// Certificates or keys are not usable.
    #[error("make a client of the Kubernetes API: {0}")]
    Client(Box<kube::Error>),
}

/// Why the API did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It has refused, or could not be reached.
    #[error("{}", super::follow::describe(.0.as_ref()))]
    Kube(Box<kube::Error>),
    /// It has not answered in time.
    #[error("the Kubernetes API has not answered within {0:?}")]
    Late(Duration),
    /// The answer may be on its way to where the node is no longer.
    #[error("this node's addresses have changed meanwhile")]
    Moved,
}

impl Api {
    /// A client as the configuration has it. Nothing is sent yet.
    pub async fn connect(source: &Kubernetes) -> Result<Self, ConnectError> {
        let Kubernetes { kubeconfig, api_server, unavailable_after: _, node_labels: _ } = source;
        let mut config = match kubeconfig {
            None => kube::Config::incluster()?,
            Some(path) => {
                let wrong =
                    |source| ConnectError::Kubeconfig { path: path.clone(), source: Box::new(source) };
                let file = Kubeconfig::read_from(path).map_err(wrong)?;
                let options = KubeConfigOptions::default();
                kube::Config::from_custom_kubeconfig(file, &options).await.map_err(wrong)?
            }
        };
        if let Some(url) = api_server {
            config.cluster_url = url.clone();
        }
        config.connect_timeout = Some(CONNECT);
        // A connection from an address that the node has lost, or behind a firewall that forgot it, says nothing for ever.
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        let agent = concat!("offrampd/", env!("CARGO_PKG_VERSION"));
        config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
        let client = Client::try_from(config.clone()).map_err(|e| ConnectError::Client(Box::new(e)))?;
        let shared = Shared { config, client: Mutex::new(client), renewals: watch::Sender::default() };
        Ok(Self { shared: Arc::new(shared), runtime: Handle::current() })
    }

    /// For one request, or one watch: there may be another one later.
    pub(super) fn client(&self) -> Client {
        self.shared.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has all connections made anew, since those that there are may lead nowhere. Their requests are given up.
    pub(super) fn renew(&self) {
        // It was made of the same before.
        if let Ok(client) = Client::try_from(self.shared.config.clone()) {
            *self.shared.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
            self.shared.renewals.send_replace(());
        }
    }

    /// Who wants to know of each [`Api::renew`].
    pub(super) fn renewals(&self) -> watch::Receiver<()> {
        self.shared.renewals.subscribe()
    }

    /// Has a task wait for the API, not longer than a request takes that is no list.
    pub(super) async fn soon<T>(&self, work: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
        let mut renewals = self.renewals();
        tokio::select! {
            outcome = tokio::time::timeout(ANSWER, work) => match outcome {
                Ok(outcome) => outcome.map_err(|e| ApiError::Kube(Box::new(e))),
                Err(_) => Err(ApiError::Late(ANSWER)),
            },
            Ok(()) = renewals.changed() => Err(ApiError::Moved),
        }
    }

    /// Has a thread that may block wait for the API, not longer than `limit`. Never called by the runtime's own
    /// thread, which would wait for itself.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = kube::Result<T>> + Send + 'static,
    ) -> Result<T, ApiError> {
        // The work goes on on the runtime's thread, where the connection lives.
        let task = self.runtime.spawn(async move { tokio::time::timeout(limit, work).await });
        match self.runtime.block_on(task) {
            Ok(Ok(outcome)) => outcome.map_err(|e| ApiError::Kube(Box::new(e))),
            Ok(Err(_)) | Err(_) => Err(ApiError::Late(limit)),
        }
    }
}
