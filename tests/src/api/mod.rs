//! A small Kubernetes API server: what Offramp asks of one, as the real one is documented to answer
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/>). Objects are JSON of any kind that
//! [`Resource`] describes; nothing is validated but what every object must have.
//!
//! ```no_run
//! # let lab = offramp_tests::Lab::new();
//! # let node = lab.node("n1");
//! use offramp_tests::api::Api;
//! let api = Api::start(&node, "10.0.0.1:8080".parse().unwrap());
//! api.put(serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}));
//! assert!(api.requests().is_empty());
//! ```

mod log;
mod object;
mod patch;
mod rbac;
mod reply;
mod request;
mod resource;
mod selector;
mod serve;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod verbs;
mod watch;

pub use log::Logged;
pub use rbac::Role;
pub use resource::Resource;

use crate::netns::Netns;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use store::Store;
use tls::Identity;

/// How a watch from a version that is no longer known is refused. The real server does both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gone {
    /// The watch starts, and its first event is an ERROR with a Status of code 410.
    #[default]
    Event,
    /// The response itself has status 410.
    Http,
}

/// A running server; it ends with its handle.
pub struct Api {
    shared: Arc<serve::Shared>,
    address: SocketAddr,
    /// The CA's certificate, in PEM; none: plain HTTP.
    authority: Option<String>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Api {
    /// Serves plain HTTP at `address` in a namespace that has it.
    pub fn start(netns: &Netns, address: SocketAddr) -> Self {
        netns.inside(|| Self::start_here(address))
    }

    /// Serves HTTPS at `address` in a namespace that has it, by a certificate of a CA made up for it.
    pub fn start_secure(netns: &Netns, address: SocketAddr) -> Self {
        netns.inside(|| Self::start_as(address, Some(Identity::new(address.ip()))))
    }

    /// Serves plain HTTP at `address` in the calling thread's namespace; port 0 is any.
    pub fn start_here(address: SocketAddr) -> Self {
        Self::start_as(address, None)
    }

    fn start_as(address: SocketAddr, identity: Option<Identity>) -> Self {
        let (authority, tls) = identity.map(|i| (i.authority, i.acceptor)).unzip();
        let shared = Arc::new(serve::Shared::default());
        let (told, tell) = std::sync::mpsc::channel();
        let serving = shared.clone();
        let thread = std::thread::spawn(move || serve::run(&serving, address, tls, &told));
        let address = tell.recv().expect("the server's thread").unwrap_or_else(|e| panic!("{address}: {e}"));
        Self { shared, address, authority, thread: Some(thread) }
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes a kubeconfig for it into `dir`.
    pub fn kubeconfig(&self, dir: &Path) -> PathBuf {
        let path = dir.join("kubeconfig");
        let cluster = match &self.authority {
            None => json!({"server": format!("http://{}", self.address)}),
            Some(pem) => {
                let ca = dir.join("ca.pem");
                std::fs::write(&ca, pem).unwrap();
                json!({"server": format!("https://{}", self.address), "certificate-authority": ca})
            }
        };
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": {}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// Makes a kind of object known, as a CustomResourceDefinition does.
    pub fn define(&self, resource: Resource) {
        self.store().define(resource);
    }

    /// Creates an object, or replaces one with all that it has, status included, as an administrator can by several
    /// calls. Returns it as it is stored.
    pub fn put(&self, object: Value) -> Value {
        self.change(|store| store.put(object))
    }

    /// An object; none if it is not there. `kind` is the plural, with its group unless that is the core's:
    /// `nodes`, `offrampnodes.offramp.dev`.
    pub fn get(&self, kind: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let key = self.key(kind, namespace, name);
        self.store().get(&key).map(|object| Value::clone(&object))
    }

    /// All objects of a kind.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let store = self.store();
        let resource = store.named(kind);
        store.all(&resource).map(|object| Value::clone(object)).collect()
    }

    /// Deletes an object at once, whatever its finalizers; whether it was there.
    pub fn delete(&self, kind: &str, namespace: Option<&str>, name: &str) -> bool {
        let key = self.key(kind, namespace, name);
        self.change(|store| store.remove(&key))
    }

    /// Forgets that there is a kind, its objects too: its CustomResourceDefinition is deleted. `define` makes it anew.
    pub fn undefine(&self, kind: &str) -> Resource {
        let resource = self.store().named(kind);
        self.change(|store| store.undefine(&resource));
        resource
    }

    /// Deletes what belongs to owners that are no more, as the garbage collector does.
    pub fn collect_garbage(&self) {
        self.change(Store::collect_garbage);
    }

    /// Forgets all events until now: a watch from an older version is refused, and so is the rest of a list that
    /// was begun before. Living watches go on, having seen all.
    pub fn compact(&self) {
        self.store().compact();
    }

    /// How a watch from a forgotten version is refused from now on.
    pub fn gone_as(&self, gone: Gone) {
        self.store().gone = gone;
    }

    /// Sends a bookmark to all watches that want some.
    pub fn bookmark(&self) {
        self.change(|store| store.bookmarks += 1);
    }

    /// Lists that allow any version (`resourceVersion=0`) answer with the state as it is now, whatever comes, as an
    /// API server does that lags behind; `false`: no longer.
    pub fn lag(&self, on: bool) {
        self.store().lag(on);
    }

    /// Closes all connections, in the middle of whatever they are at.
    pub fn disconnect(&self) {
        self.shared.disconnect();
    }

    /// Closes all connections, and each new one at once; `false`: serves again.
    pub fn outage(&self, on: bool) {
        self.shared.outage.store(on, Ordering::SeqCst);
        if on {
            self.disconnect();
        }
    }

    /// Refuses what the role does not grant. Without it all is granted.
    pub fn grant(&self, role: Role) {
        self.store().role = Some(role);
    }

    /// Refuses a verb on a resource (`patch`, `pods/status`) as RBAC does.
    pub fn forbid(&self, verb: &str, resource: &str) {
        self.store().forbidden.insert((verb.to_owned(), resource.to_owned()));
    }

    /// Allows it again.
    pub fn allow(&self, verb: &str, resource: &str) {
        self.store().forbidden.remove(&(verb.to_owned(), resource.to_owned()));
    }

    /// All requests until now, those refused too; without the administrator's own by this handle.
    pub fn requests(&self) -> Vec<Logged> {
        self.store().log.clone()
    }

    /// Forgets the requests until now.
    pub fn forget_requests(&self) {
        self.store().log.clear();
    }

    /// Bytes of all responses' bodies until now.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// How many watches there are now.
    pub fn watches(&self) -> usize {
        self.shared.watches.load(Ordering::SeqCst)
    }

    fn key(&self, kind: &str, namespace: Option<&str>, name: &str) -> store::Key {
        self.store().named(kind).key(namespace, name)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store()
    }

    /// Changes the store and wakes the watches.
    fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let outcome = change(&mut self.store());
        self.shared.changed();
        outcome
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
