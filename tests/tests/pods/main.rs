//! Pods of a Kubernetes cluster: where their annotations come from, what they are told, and their networks.

mod annotations;
mod networks;
mod outage;
mod refused;
mod told;
mod user_namespace;

use offramp_tests::{Call, Cluster, Daemon, Lab, Node, Pod, until};
use serde_json::{Value, json};

/// A node that follows the API, and can serve.
fn serving<'a>(cluster: &Cluster, node: &'a Node, more: Value) -> Daemon<'a> {
    let daemon = node.daemon(cluster.conf(more));
    until("it can serve", || node.status(&node.conf(json!({}))).code == Some(0));
    until("all that is its own is there", || {
        let text = node.snapshot().text();
        text.contains("pod_subnets6") && text.contains("route dst=ff00::/8 dev=offramp-vxlan")
    });
    daemon
}

fn cluster_and_node(lab: &Lab) -> (Cluster, Node) {
    let cluster = Cluster::new(lab);
    let node = cluster.node(lab, 1);
    (cluster, node)
}

/// A pod in the API, on node `n1`; returns its UID.
fn put_pod(cluster: &Cluster, name: &str, annotations: Value) -> String {
    let pod = cluster.api.put(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "team-a", "annotations": annotations},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
    }));
    pod["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// A call for a pod of the API; the runtime passes no annotations.
fn call<'a>(node: &'a Node, verb: &str, sandbox: &Pod, (name, uid): (&str, &str), conf: &Value) -> Call<'a> {
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=team-a;K8S_POD_NAME={name};K8S_POD_UID={uid}");
    node.call_for(verb, sandbox).args(&args).config(conf)
}

/// The same, with the annotations.
fn passing(node: &Node, annotations: &Value) -> Value {
    node.conf(json!({
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
        "runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations},
    }))
}

/// `GET`s of single pods until now, by the daemon.
fn pod_gets(cluster: &Cluster) -> usize {
    cluster.api.requests().iter().filter(|r| r.verb == "get" && r.resource == "pods").count()
}

fn annotation(cluster: &Cluster, pod: &str, key: &str) -> Option<Value> {
    let pod = cluster.api.get("pods", Some("team-a"), pod)?;
    serde_json::from_str(pod["metadata"]["annotations"][key].as_str()?).ok()
}

fn events(cluster: &Cluster) -> Vec<Value> {
    cluster.api.list("events")
}
