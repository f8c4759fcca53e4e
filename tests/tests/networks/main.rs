//! Further networks of pods: by the reference plugins, by our own in inline mode, and by one that does what a test wants.

mod attach;
mod fake;
mod leftovers;
mod native;
mod refused;

use offramp_tests::{Lab, Node, Pod, over};
use serde_json::{Value, json};

/// What macvlan needs.
fn with_wire(lab: &Lab) -> Node {
    let node = lab.node("node");
    node.ip("link add ext0 address 02:00:00:00:ee:01 type veth peer name ext1");
    node.ip("link set ext0 addrgenmode none");
    node.run("sysctl -qw net.ipv6.conf.ext1.disable_ipv6=1");
    node.ip("link set ext0 up");
    node.ip("link set ext1 up");
    node
}

/// What the daemon's configuration needs for these definitions.
fn define(node: &Node, definitions: &[(&str, Value)]) -> Value {
    over(node.networks(definitions), json!({"overlay": {"mode": "none"}, "reclaim": {"interval": "200ms"}}))
}

/// A configuration as the runtime passes it for a pod with this annotation.
fn asks(node: &Node, networks: &Value) -> Value {
    let text = networks.as_str().map_or_else(|| networks.to_string(), str::to_owned);
    node.conf(json!({
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
        "runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"k8s.v1.cni.cncf.io/networks": text}},
    }))
}

/// A call for a pod of namespace `team-a`.
fn call<'a>(node: &'a Node, verb: &str, pod: &Pod, conf: &Value) -> offramp_tests::Call<'a> {
    let args = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=team-a;K8S_POD_NAME={0};K8S_POD_UID=uid-{0}",
        pod.container
    );
    node.call_for(verb, pod).args(&args).config(conf)
}

fn host_local(node: &Node, ranges: Value) -> Value {
    json!({"type": "host-local", "dataDir": node.state().join("host-local"), "ranges": ranges})
}

fn macvlan(node: &Node, more: Value) -> Value {
    let base = json!({"cniVersion": "1.0.0", "type": "macvlan", "master": "ext0", "mode": "bridge",
        "ipam": host_local(node, json!([[{"subnet": "10.99.0.0/24"}], [{"subnet": "fd99::/64"}]]))});
    over(base, more)
}

fn record(node: &Node, pod: &Pod) -> Value {
    serde_json::from_slice(&std::fs::read(node.record(pod)).unwrap()).unwrap()
}
