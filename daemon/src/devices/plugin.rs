//! The device plugin of one pool.

use super::proto::v1beta1 as api;
use super::proto::v1beta1::device_plugin_server::DevicePlugin;
use crate::node::Node;
use futures::stream::{BoxStream, StreamExt, unfold};
use offramp_core::ids::ResourceName;
use offramp_core::kubelet::{Allocation, preferred};
use offramp_core::lend::Device;
use offramp_core::nic::PciAddr;
use offramp_core::pool::Pool;
use offramp_kernel::sysfs::read_vf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tonic::{Request, Response, Status};

/// Serves kubelet.
#[derive(Clone)]
pub struct Plugin {
    pub node: Arc<Node>,
    pub pool: Pool,
    pub resource: ResourceName,
    /// How many listen to the pool's devices: kubelet, or nobody.
    pub listeners: Arc<AtomicUsize>,
}

/// Counts a listener until it leaves.
struct Listener(Arc<AtomicUsize>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What kubelet is told of itself.
pub fn options() -> api::DevicePluginOptions {
    api::DevicePluginOptions { pre_start_required: false, get_preferred_allocation_available: true }
}

#[tonic::async_trait]
impl DevicePlugin for Plugin {
    type ListAndWatchStream = BoxStream<'static, Result<api::ListAndWatchResponse, Status>>;

    async fn get_device_plugin_options(
        &self,
        _: Request<api::Empty>,
    ) -> Result<Response<api::DevicePluginOptions>, Status> {
        Ok(Response::new(options()))
    }

    /// The devices now, and whenever one of them changes.
    async fn list_and_watch(
        &self,
        _: Request<api::Empty>,
    ) -> Result<Response<Self::ListAndWatchStream>, Status> {
        self.listeners.fetch_add(1, Ordering::Relaxed);
        let listener = Listener(self.listeners.clone());
        let mut told = self.node.devices.told.subscribe();
        told.mark_changed();
        let pool = self.pool.name.clone();
        let state = (told, None::<Vec<Device>>, pool, listener);
        let stream = unfold(state, |(mut told, before, pool, listener)| async move {
            loop {
                told.changed().await.ok()?;
                let now = told.borrow_and_update().get(&pool).cloned().unwrap_or_default();
                // Another pool's may have changed.
                if before.as_ref() != Some(&now) {
                    let devices = now.iter().map(device).collect();
                    let answer = api::ListAndWatchResponse { devices };
                    return Some((Ok(answer), (told, Some(now), pool, listener)));
                }
            }
        });
        Ok(Response::new(stream.boxed()))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<api::PreferredAllocationRequest>,
    ) -> Result<Response<api::PreferredAllocationResponse>, Status> {
        let inventory = self.node.nics.inventory();
        let of = |container: api::ContainerPreferredAllocationRequest| {
            let (available, must) =
                (pcis(&container.available_device_ids), pcis(&container.must_include_device_ids));
            let count = usize::try_from(container.allocation_size).unwrap_or(0);
            let chosen = preferred(&inventory, &available, &must, count);
            let device_ids = chosen.iter().map(ToString::to_string).collect();
            api::ContainerPreferredAllocationResponse { device_ids }
        };
        let container_responses = request.into_inner().container_requests.into_iter().map(of).collect();
        Ok(Response::new(api::PreferredAllocationResponse { container_responses }))
    }

    /// An error makes the pod Failed for ever, so the only one is that a VF is gone: who holds it is ADD's affair.
    async fn allocate(
        &self,
        request: Request<api::AllocateRequest>,
    ) -> Result<Response<api::AllocateResponse>, Status> {
        let mut container_responses = Vec::new();
        for container in request.into_inner().container_requests {
            let vfs: Vec<_> =
                container.device_ids.iter().map(|id| self.look_up(id)).collect::<Result<_, _>>()?;
            let allocation = self.allocation(&vfs);
            tracing::info!(pool = %self.pool.name, devices = %container.device_ids.join(","), "kubelet allocates");
            container_responses.push(api::ContainerAllocateResponse {
                envs: allocation.env.into_iter().collect(),
                devices: allocation.nodes.into_iter().map(node).collect(),
                cdi_devices: allocation.cdi.into_iter().map(|name| api::CdiDevice { name }).collect(),
            });
        }
        Ok(Response::new(api::AllocateResponse { container_responses }))
    }

    async fn pre_start_container(
        &self,
        _: Request<api::PreStartContainerRequest>,
    ) -> Result<Response<api::PreStartContainerResponse>, Status> {
        Ok(Response::new(api::PreStartContainerResponse {}))
    }
}

impl Plugin {
    /// By names where the pool asks for it and the runtime knows them: one that it does not know would never start.
    fn allocation(&self, vfs: &[(PciAddr, Option<u32>)]) -> Allocation {
        let allocation = Allocation::of(&self.resource, self.pool.mode, vfs);
        let known = |(pci, group): &(PciAddr, Option<u32>)| {
            group.is_some_and(|group| self.node.devices.cdi.has(*pci, group))
        };
        if !self.pool.cdi {
            return allocation;
        }
        if vfs.iter().all(known) {
            return allocation.by_cdi(vfs);
        }
        let dir = self.node.config.paths.cdi.display();
        // Somebody may have removed the file.
        self.node.devices.bell.ring();
        tracing::warn!(pool = %self.pool.name, "not all of its devices are known by {dir}: kubelet gets device nodes");
        allocation
    }

    /// A VF with its IOMMU group, as they are now.
    fn look_up(&self, id: &str) -> Result<(PciAddr, Option<u32>), Status> {
        let gone = |why: String| Status::not_found(format!("device {id} of {}: {why}", self.resource));
        let pci: PciAddr = id.parse().map_err(|e| gone(format!("{e}")))?;
        match read_vf(&self.node.sysfs(), pci) {
            Ok((_, vf)) => Ok((pci, vf.iommu_group)),
            Err(e @ offramp_kernel::Error::Missing { .. }) => Err(gone(e.to_string())),
            Err(error) => {
                tracing::warn!(device = id, %error, "kubelet allocates a device that is not as it should be");
                Ok((pci, self.node.nics.inventory().vf(pci).and_then(|(_, vf)| vf.iommu_group)))
            }
        }
    }
}

/// Those that are none are nobody's.
fn pcis(ids: &[String]) -> Vec<PciAddr> {
    ids.iter().filter_map(|id| id.parse().ok()).collect()
}

fn device(device: &Device) -> api::Device {
    let Device { pci, numa, fault } = device;
    let health = if fault.is_none() { "Healthy" } else { "Unhealthy" };
    let topology = numa.map(|id| api::TopologyInfo { nodes: vec![api::NumaNode { id: id.into() }] });
    api::Device { id: pci.to_string(), health: health.into(), topology }
}

fn node(path: String) -> api::DeviceSpec {
    api::DeviceSpec { container_path: path.clone(), host_path: path, permissions: "rw".into() }
}
