//! The device manager (k8s.io/kubernetes, pkg/kubelet/cm/devicemanager), as far as a plugin can tell.

use super::proto::v1beta1 as api;
use super::proto::v1beta1::device_plugin_client::DevicePluginClient;
use futures::StreamExt;
use hyper_util::rt::TokioIo;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tonic::transport::{Channel, Endpoint};

/// A pod's namespace and name.
pub type Key = (String, String);

/// A device, as its plugin tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `Healthy`
    pub healthy: bool,
    /// The NUMA nodes of its topology.
    pub numa: Vec<i64>,
}

/// What a container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocated {
    /// Of which resource.
    pub resource: String,
    /// Which devices, in kubelet's order.
    pub ids: Vec<String>,
    /// Its environment.
    pub envs: BTreeMap<String, String>,
    /// Its device nodes.
    pub nodes: Vec<String>,
    /// What the runtime is to look up ([`super::cdi`]).
    pub cdi: Vec<String>,
}

/// What was promised.
#[derive(Clone)]
pub struct Promise {
    pub init: bool,
    pub resource: String,
    pub ids: Vec<String>,
}

#[derive(Default)]
struct Plugin {
    endpoint: String,
    registrations: usize,
    devices: BTreeMap<String, Told>,
    history: Vec<BTreeMap<String, Told>>,
}

pub struct Manager {
    dir: PathBuf,
    plugins: BTreeMap<String, Plugin>,
    promised: BTreeMap<Key, Vec<Promise>>,
    cpus: BTreeMap<Key, Vec<i64>>,
    /// The first list after a start lacks pods.
    pub listed: bool,
    pub lists: usize,
}

impl Manager {
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            plugins: BTreeMap::new(),
            promised: BTreeMap::new(),
            cpus: BTreeMap::new(),
            listed: true,
            lists: 0,
        }
    }

    /// Only the checkpoint outlives a kubelet.
    pub fn started(&mut self) {
        self.plugins.clear();
        self.listed = false;
    }

    pub fn registrations(&self, resource: &str) -> usize {
        self.plugins.get(resource).map_or(0, |p| p.registrations)
    }

    pub fn devices(&self, resource: &str) -> BTreeMap<String, Told> {
        self.plugins.get(resource).map(|p| p.devices.clone()).unwrap_or_default()
    }

    pub fn told(&self, resource: &str) -> Vec<BTreeMap<String, Told>> {
        self.plugins.get(resource).map(|p| p.history.clone()).unwrap_or_default()
    }

    /// As `devicesToAllocate` goes by the checkpoint of a pod whose containers do not run.
    pub fn readmit(&self, pod: &Key) -> Result<(), String> {
        for Promise { resource, ids, .. } in self.promised.get(pod).into_iter().flatten() {
            let told = &self
                .plugins
                .get(resource)
                .ok_or(format!("cannot allocate unregistered device {resource}"))?
                .devices;
            if let Some(id) = ids.iter().find(|id| !told.get(*id).is_some_and(|t| t.healthy)) {
                return Err(format!(
                    "previously allocated devices are no longer healthy: {id} of {resource}"
                ));
            }
        }
        Ok(())
    }

    pub fn know(&mut self, pod: Key, cpus: &[i64]) {
        self.promised.entry(pod.clone()).or_default();
        self.cpus.insert(pod, cpus.to_vec());
    }

    pub fn cpus(&self, pod: &Key) -> Vec<i64> {
        self.cpus.get(pod).cloned().unwrap_or_default()
    }

    pub fn forget(&mut self, pod: &Key) {
        self.promised.remove(pod);
        self.cpus.remove(pod);
    }

    pub fn promises(&self) -> &BTreeMap<Key, Vec<Promise>> {
        &self.promised
    }

    /// What tells a device of the resource.
    pub fn topology(&self, resource: &str, ids: &[String]) -> BTreeSet<i64> {
        let devices = self.devices(resource);
        ids.iter().filter_map(|id| devices.get(id)).flat_map(|told| told.numa.clone()).collect()
    }

    fn available(&self, resource: &str) -> Vec<String> {
        let of = |p: &&Promise| p.resource == resource;
        let used: BTreeSet<&String> =
            self.promised.values().flatten().filter(of).flat_map(|p| &p.ids).collect();
        let devices = self.plugins.get(resource).map(|p| &p.devices).into_iter().flatten();
        devices.filter(|(id, told)| told.healthy && !used.contains(id)).map(|(id, _)| id.clone()).collect()
    }
}

/// Takes a plugin in: connects back to it, and follows its list until it ends.
pub fn register(manager: &Arc<Mutex<Manager>>, request: &api::RegisterRequest) {
    let socket = {
        let mut manager = manager.lock().unwrap();
        let plugin = manager.plugins.entry(request.resource_name.clone()).or_default();
        plugin.endpoint = request.endpoint.clone();
        plugin.registrations += 1;
        manager.dir.join(&request.endpoint)
    };
    let (manager, resource) = (manager.clone(), request.resource_name.clone());
    tokio::spawn(async move {
        let change = |f: &dyn Fn(&mut Plugin)| {
            f(manager.lock().unwrap().plugins.entry(resource.clone()).or_default());
        };
        if let Ok(channel) = connect(&socket).await
            && let Ok(answer) = DevicePluginClient::new(channel).list_and_watch(api::Empty {}).await
        {
            let mut lists = answer.into_inner();
            while let Some(Ok(list)) = lists.next().await {
                let devices: BTreeMap<String, Told> = list.devices.into_iter().map(told).collect();
                change(&|plugin| {
                    plugin.devices = devices.clone();
                    plugin.history.push(devices.clone());
                });
            }
        }
        change(&|plugin| plugin.devices.values_mut().for_each(|told| told.healthy = false));
    });
}

fn told(device: api::Device) -> (String, Told) {
    let numa = device.topology.into_iter().flat_map(|t| t.nodes).map(|n| n.id).collect();
    (device.id, Told { healthy: device.health == "Healthy", numa })
}

/// What the plugin prefers of what is healthy and promised to nobody.
pub async fn allocate(
    manager: &Arc<Mutex<Manager>>,
    pod: Key,
    init: bool,
    resource: &str,
    count: usize,
) -> Result<Allocated, String> {
    let (available, socket) = {
        let manager = manager.lock().unwrap();
        let plugin = manager.plugins.get(resource).ok_or(format!("no plugin has {resource}"))?;
        (manager.available(resource), manager.dir.join(&plugin.endpoint))
    };
    if available.len() < count {
        return Err(format!("requested {count} of {resource}, available {}", available.len()));
    }
    let mut client = DevicePluginClient::new(connect(&socket).await?);
    let preferred = client.get_preferred_allocation(api::PreferredAllocationRequest {
        container_requests: vec![api::ContainerPreferredAllocationRequest {
            available_device_ids: available.clone(),
            must_include_device_ids: Vec::new(),
            allocation_size: i32::try_from(count).unwrap(),
        }],
    });
    let preferred = preferred.await.map_err(|e| e.to_string())?.into_inner().container_responses;
    let ids: Vec<String> = preferred.into_iter().flat_map(|c| c.device_ids).collect();
    assert!(ids.len() == count && ids.iter().all(|id| available.contains(id)), "the plugin prefers {ids:?}");
    let request = api::ContainerAllocateRequest { device_ids: ids.clone() };
    let answer = client.allocate(api::AllocateRequest { container_requests: vec![request] }).await;
    let mut answer = answer.map_err(|e| e.to_string())?.into_inner().container_responses;
    let answer = answer.pop().ok_or("no answer for the container")?;
    let promise = Promise { init, resource: resource.to_owned(), ids: ids.clone() };
    manager.lock().unwrap().promised.entry(pod).or_default().push(promise);
    Ok(Allocated {
        resource: resource.to_owned(),
        ids,
        envs: answer.envs.into_iter().collect(),
        nodes: answer.devices.into_iter().map(|d| d.host_path).collect(),
        cdi: answer.cdi_devices.into_iter().map(|d| d.name).collect(),
    })
}

async fn connect(socket: &Path) -> Result<Channel, String> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://plugin");
    endpoint.connect_with_connector(connector).await.map_err(|e| format!("{}: {e}", socket.display()))
}
