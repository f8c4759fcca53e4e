//! What kubelet serves: the registration of plugins, and pod-resources.

use super::manager::{Manager, Promise, register};
use super::proto::v1::pod_resources_lister_server::{PodResourcesLister, PodResourcesListerServer};
use super::proto::v1beta1::registration_server::{Registration, RegistrationServer};
use super::proto::{v1, v1beta1};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::net::UnixListener;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic::{Request, Response, Status};

/// On the runtime that is entered.
pub fn serve(root: &Path, manager: &Arc<Mutex<Manager>>) {
    let service = Service(manager.clone());
    let resources = Server::builder().add_service(PodResourcesListerServer::new(service.clone()));
    listen(&root.join("pod-resources/kubelet.sock"), resources);
    let registration = Server::builder().add_service(RegistrationServer::new(service));
    listen(&root.join("device-plugins/kubelet.sock"), registration);
}

fn listen(socket: &Path, router: Router) {
    let listener = UnixListener::bind(socket).unwrap();
    let incoming = futures::stream::unfold(listener, |listener| async move {
        Some((listener.accept().await.map(|(stream, _)| stream), listener))
    });
    tokio::spawn(router.serve_with_incoming(incoming));
}

#[derive(Clone)]
struct Service(Arc<Mutex<Manager>>);

#[tonic::async_trait]
impl Registration for Service {
    async fn register(
        &self,
        request: Request<v1beta1::RegisterRequest>,
    ) -> Result<Response<v1beta1::Empty>, Status> {
        let request = request.into_inner();
        if request.version != "v1beta1" {
            return Err(Status::unknown(format!("unsupported API version {}", request.version)));
        }
        register(&self.0, &request);
        Ok(Response::new(v1beta1::Empty {}))
    }
}

#[tonic::async_trait]
impl PodResourcesLister for Service {
    /// The first one after a start names no pod.
    async fn list(
        &self,
        _: Request<v1::ListPodResourcesRequest>,
    ) -> Result<Response<v1::ListPodResourcesResponse>, Status> {
        let mut manager = self.0.lock().unwrap();
        let complete = std::mem::replace(&mut manager.listed, true);
        manager.lists += 1;
        let pods = manager.promises().keys().filter(|_| complete);
        let pod_resources = pods.map(|key| resources(&manager, key)).collect();
        Ok(Response::new(v1::ListPodResourcesResponse { pod_resources }))
    }

    async fn get(
        &self,
        request: Request<v1::GetPodResourcesRequest>,
    ) -> Result<Response<v1::GetPodResourcesResponse>, Status> {
        let v1::GetPodResourcesRequest { pod_name, pod_namespace } = request.into_inner();
        let manager = self.0.lock().unwrap();
        let key = (pod_namespace, pod_name);
        if !manager.promises().contains_key(&key) {
            return Err(Status::unknown(format!("pod {} in namespace {} not found", key.1, key.0)));
        }
        Ok(Response::new(v1::GetPodResourcesResponse { pod_resources: Some(resources(&manager, &key)) }))
    }
}

/// Those of init containers are not told; the order of IDs is none.
fn resources(manager: &Manager, key: &(String, String)) -> v1::PodResources {
    let device = |promise: &Promise| v1::ContainerDevices {
        resource_name: promise.resource.clone(),
        device_ids: promise.ids.iter().rev().cloned().collect(),
        topology: Some(v1::TopologyInfo {
            nodes: manager
                .topology(&promise.resource, &promise.ids)
                .into_iter()
                .map(|id| v1::NumaNode { id })
                .collect(),
        }),
    };
    let promises = manager.promises()[key].iter().filter(|p| !p.init);
    let container = v1::ContainerResources {
        name: "c".into(),
        devices: promises.map(device).collect(),
        cpu_ids: manager.cpus(key),
    };
    v1::PodResources { namespace: key.0.clone(), name: key.1.clone(), containers: vec![container] }
}
