//! Kubelet's pod-resources: which devices it has promised to which pod.

use super::connect::connect;
use super::proto::v1;
use super::proto::v1::pod_resources_lister_client::PodResourcesListerClient;
use offramp_core::kubelet::{PodDevices, Promised};
use offramp_core::record::PodRef;
use std::path::{Path, PathBuf};
use tonic::transport::Channel;

/// As kubelet's own client has it: a node has some hundred pods.
const MAX_ANSWER: usize = 16 << 20;

/// Its socket.
pub fn socket(kubelet: &Path) -> PathBuf {
    kubelet.join("pod-resources/kubelet.sock")
}

/// Of one pod, by name: kubelet tells no UIDs. What `Get` does not tell, `List` may: kubelets before 1.34 have `Get` only
/// behind a feature gate.
pub async fn of_pod(socket: &Path, pod: &PodRef) -> Result<PodDevices, String> {
    let mut client = client(socket).await?;
    let request =
        v1::GetPodResourcesRequest { pod_name: pod.name.clone(), pod_namespace: pod.namespace.clone() };
    if let Ok(answer) = client.get(request).await
        && let Some(found) = answer.into_inner().pod_resources
    {
        return Ok(devices(found));
    }
    let all = list_by(&mut client).await?;
    let of_pod = |found: &PodDevices| found.namespace == pod.namespace && found.name == pod.name;
    all.into_iter().find(of_pod).ok_or_else(|| format!("kubelet does not know pod {pod}"))
}

/// Of all pods.
pub async fn list(socket: &Path) -> Result<Vec<PodDevices>, String> {
    list_by(&mut client(socket).await?).await
}

async fn client(socket: &Path) -> Result<PodResourcesListerClient<Channel>, String> {
    let channel = connect(socket).await?;
    Ok(PodResourcesListerClient::new(channel).max_decoding_message_size(MAX_ANSWER))
}

async fn list_by(client: &mut PodResourcesListerClient<Channel>) -> Result<Vec<PodDevices>, String> {
    let answer = client.list(v1::ListPodResourcesRequest {}).await;
    let answer = answer.map_err(|e| format!("list kubelet's pod-resources: {}", e.message()))?;
    Ok(answer.into_inner().pod_resources.into_iter().map(devices).collect())
}

fn devices(pod: v1::PodResources) -> PodDevices {
    let v1::PodResources { name, namespace, containers } = pod;
    let cpus =
        containers.iter().flat_map(|c| &c.cpu_ids).filter_map(|cpu| u32::try_from(*cpu).ok()).collect();
    let promised = |of: v1::ContainerDevices| {
        let nodes = of.topology.into_iter().flat_map(|t| t.nodes);
        let numa: std::collections::BTreeSet<u32> = nodes.filter_map(|n| u32::try_from(n.id).ok()).collect();
        let one = move |id| Promised { resource: of.resource_name.clone(), id, numa: numa.clone() };
        of.device_ids.into_iter().map(one)
    };
    let devices = containers.into_iter().flat_map(|c| c.devices).flat_map(promised).collect();
    PodDevices { namespace, name, devices, cpus }
}
