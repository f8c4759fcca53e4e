//! A kubelet with its device manager and pod-resources, and a runtime that calls the plugin: small, and as honest as what
//! was recorded of a kubelet 1.36 with containerd 2.1.

pub mod cdi;
mod manager;
mod proto;
mod runtime;
mod services;

pub use manager::{Allocated, Told};
pub use runtime::{Runtime, Sandbox};

use crate::wait::wait_for;
use manager::Manager;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::runtime::{Builder, Runtime as Tokio};

/// A pod, as the API server has it.
#[derive(Debug, Clone, Default)]
pub struct PodSpec {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`; empty: one made of the name.
    pub uid: String,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
    /// Ports of the node, and those of the container that they lead to.
    pub host_ports: Vec<(u16, u16)>,
    /// CPUs that its container has to itself (the static policy of the CPU manager).
    pub cpus: Vec<i64>,
    /// The devices that its only container requests.
    pub requests: Vec<(String, usize)>,
    /// Those of its only init container.
    pub init_requests: Vec<(String, usize)>,
}

impl PodSpec {
    /// `NAMESPACE/NAME`, without wishes.
    pub fn new(name: &str) -> Self {
        let (namespace, name) = name.split_once('/').expect("NAMESPACE/NAME");
        Self { namespace: namespace.into(), name: name.into(), ..Self::default() }
    }

    /// With an annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// With so many devices of a resource.
    pub fn requests(mut self, resource: &str, count: usize) -> Self {
        self.requests.push((resource.into(), count));
        self
    }

    fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.name.clone())
    }
}

/// A kubelet. What it has promised survives its restart, as its checkpoint does.
pub struct Kubelet {
    root: PathBuf,
    manager: Arc<Mutex<Manager>>,
    /// None: it is not running.
    running: Option<Tokio>,
}

impl Kubelet {
    /// One that is not running yet, with its folders below `root` (`paths.kubelet`).
    pub fn new(root: &Path) -> Self {
        let root = root.to_owned();
        for dir in ["device-plugins", "pod-resources"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        let manager = Manager::new(root.join("device-plugins"));
        Self { root, manager: Arc::new(Mutex::new(manager)), running: None }
    }

    /// Starts it: the sockets of its folder are wiped first, and the next list of pods is not complete.
    pub fn start(&mut self) {
        self.stop();
        for entry in std::fs::read_dir(self.root.join("device-plugins")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let _ = std::fs::remove_file(self.root.join("pod-resources/kubelet.sock"));
        self.manager.lock().unwrap().started();
        let tokio = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        {
            let _inside = tokio.enter();
            services::serve(&self.root, &self.manager);
        }
        self.running = Some(tokio);
    }

    /// Kills it: the sockets stay, and nobody answers at them.
    pub fn stop(&mut self) {
        if let Some(tokio) = self.running.take() {
            tokio.shutdown_background();
        }
    }

    /// How often a resource was registered since the start.
    pub fn registrations(&self, resource: &str) -> usize {
        self.manager.lock().unwrap().registrations(resource)
    }

    /// What a plugin has told of its devices; those of one that left are unhealthy.
    pub fn devices(&self, resource: &str) -> BTreeMap<String, Told> {
        self.manager.lock().unwrap().devices(resource)
    }

    /// All that a plugin has told of its devices since kubelet's start.
    pub fn told(&self, resource: &str) -> Vec<BTreeMap<String, Told>> {
        self.manager.lock().unwrap().told(resource)
    }

    /// How often all pods were listed, since the first start.
    pub fn lists(&self) -> usize {
        self.manager.lock().unwrap().lists
    }

    /// Waits until so many devices of a resource are healthy.
    pub fn wait_for_healthy(&self, resource: &str, count: usize) {
        wait_for(&format!("{count} healthy devices of {resource}"), || {
            let healthy = self.devices(resource).values().filter(|told| told.healthy).count();
            (healthy == count).then_some(())
        });
    }

    /// Promises a pod its devices. An error: the pod is Failed, and stays so.
    pub fn admit(&self, pod: &PodSpec) -> Result<Vec<Allocated>, String> {
        let tokio = self.running.as_ref().expect("kubelet runs");
        let mut all = Vec::new();
        for (init, requests) in [(true, &pod.init_requests), (false, &pod.requests)] {
            for (resource, count) in requests {
                all.push(tokio.block_on(manager::allocate(
                    &self.manager,
                    pod.key(),
                    init,
                    resource,
                    *count,
                ))?);
            }
        }
        // A pod without devices is known too.
        self.manager.lock().unwrap().know(pod.key(), &pod.cpus);
        Ok(all)
    }

    /// After a reboot kubelet looks at a pod of its checkpoint again. An error: the pod is Failed, and stays so.
    pub fn readmit(&self, pod: &PodSpec) -> Result<(), String> {
        assert!(self.running.is_some(), "kubelet runs");
        self.manager.lock().unwrap().readmit(&pod.key())
    }

    /// The pod is gone from the API: its devices are promised to the next, whatever its sandbox holds. So it is when a pod
    /// is deleted by force while its DEL fails.
    pub fn forget(&self, pod: &PodSpec) {
        self.manager.lock().unwrap().forget(&pod.key());
    }

    /// Stops the sandbox of a pod that is deleted, and forgets the pod; while DEL fails it stays, Terminating, with its
    /// devices. A runtime calls again every 1 to 2 s.
    pub fn delete(&self, runtime: &Runtime<'_>, pod: &PodSpec, sandbox: &Sandbox) -> bool {
        let stopped = runtime.stop(sandbox).code == Some(0);
        if stopped {
            self.forget(pod);
        }
        stopped
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop();
    }
}
