//! A device plugin's socket, and its registration with kubelet, which wipes the sockets when it starts.

use super::connect::{connect, identity};
use super::plugin::{Plugin, options};
use super::plugins_dir;
use super::proto::v1beta1 as api;
use super::proto::v1beta1::device_plugin_server::DevicePluginServer;
use super::proto::v1beta1::registration_client::RegistrationClient;
use crate::node::Node;
use offramp_core::ids::ResourceName;
use offramp_core::pool::Pool;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// Kubelet lists the devices as soon as they are registered; one that does not has lost the plugin.
const UNHEARD: Duration = Duration::from_secs(10);
/// Leaves room in `sun_path` for kubelet's folder.
const MAX_NAME: usize = 16;

/// One pool's.
pub struct Endpoint {
    pool: Pool,
    node: Arc<Node>,
    dir: PathBuf,
    name: String,
    served: Option<Served>,
    registered: Option<(u128, Instant)>,
}

struct Served {
    plugin: Plugin,
    socket: u128,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Endpoint {
    pub fn new(node: &Arc<Node>, pool: Pool) -> Self {
        let dir = plugins_dir(&node.config.paths.kubelet);
        let name = socket_name(pool.name.as_str());
        Self { pool, node: node.clone(), dir, name, served: None, registered: None }
    }

    /// Serves and registers where that is not so.
    pub async fn look(&mut self) -> Result<(), String> {
        let Some(resource) = self.pool.resource.clone() else { return Ok(()) };
        if !self.dir.is_dir() {
            return Err(format!("kubelet's {} is not there (paths.kubelet)", self.dir.display()));
        }
        let (own, kubelet) = (self.dir.join(&self.name), self.dir.join("kubelet.sock"));
        let serves = |s: &Served| !s.task.is_finished() && identity(&own).is_ok_and(|id| id == s.socket);
        if !self.served.as_ref().is_some_and(serves) {
            self.registered = None;
            self.served = None;
            let served = self.serve(&own, &resource);
            self.served = Some(served.map_err(|e| format!("serve {}: {e}", own.display()))?);
        }
        let id = identity(&kubelet).map_err(|e| format!("{}: {e}", kubelet.display()))?;
        if !self.is_registered(id) {
            self.register(&kubelet, &resource).await?;
            self.registered = Some((id, Instant::now()));
            tracing::info!(pool = %self.pool.name, %resource, "registered with kubelet");
        }
        Ok(())
    }

    fn serve(&self, path: &Path, resource: &ResourceName) -> std::io::Result<Served> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        let plugin = Plugin {
            node: self.node.clone(),
            pool: self.pool.clone(),
            resource: resource.clone(),
            listeners: Arc::default(),
        };
        let incoming = futures::stream::unfold(listener, |listener| async move {
            Some((listener.accept().await.map(|(stream, _)| stream), listener))
        });
        let server = tonic::transport::Server::builder().add_service(DevicePluginServer::new(plugin.clone()));
        let pool = self.pool.name.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = server.serve_with_incoming(incoming).await {
                tracing::warn!(%pool, %error, "its device plugin ended");
            }
        });
        Ok(Served { plugin, socket: identity(path)?, task })
    }

    fn is_registered(&self, kubelet: u128) -> bool {
        let heard = self.served.as_ref().is_some_and(|s| s.plugin.listeners.load(Ordering::Relaxed) > 0);
        self.registered.is_some_and(|(with, at)| with == kubelet && (heard || at.elapsed() < UNHEARD))
    }

    async fn register(&self, kubelet: &Path, resource: &ResourceName) -> Result<(), String> {
        let request = api::RegisterRequest {
            version: "v1beta1".into(),
            endpoint: self.name.clone(),
            resource_name: resource.to_string(),
            options: Some(options()),
        };
        let mut client = RegistrationClient::new(connect(kubelet).await?);
        let answer = client.register(request).await;
        answer.map(drop).map_err(|e| format!("register {resource} with kubelet: {}", e.message()))
    }
}

/// A socket's name for a pool: the pool's own, or a hash of a long one.
fn socket_name(pool: &str) -> String {
    if pool.len() <= MAX_NAME {
        return format!("offramp-{pool}.sock");
    }
    let fnv = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    format!("offramp-{:016x}.sock", pool.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
}

#[cfg(test)]
mod tests {
    use super::socket_name;

    #[test]
    fn every_pool_has_a_socket_that_kubelet_can_reach() {
        let long = "p".repeat(63);
        assert_eq!(socket_name("fast"), "offramp-fast.sock");
        let name = socket_name(&long);
        assert!(name.len() <= 31 && name != socket_name(&long[1..]), "{name}");
    }
}
