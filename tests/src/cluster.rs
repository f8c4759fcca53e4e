//! A Kubernetes cluster: an API server, and nodes on one subnet with it.

use crate::api::{Api, Role};
use crate::lab::Lab;
use crate::netns::Netns;
use crate::node::{Node, over};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// The wire between the nodes is a bridge in a namespace of its own, where the API server is too, at `10.99.0.254`.
pub struct Cluster {
    /// The API server.
    pub api: Api,
    wire: Netns,
    kubeconfig: tempfile::TempDir,
}

impl Cluster {
    /// Without nodes.
    pub fn new(lab: &Lab) -> Self {
        Self::with(lab, Api::start)
    }

    /// Without nodes, and with an API server that speaks TLS as real ones do.
    pub fn secure(lab: &Lab) -> Self {
        Self::with(lab, Api::start_secure)
    }

    fn with(lab: &Lab, start: fn(&Netns, SocketAddr) -> Api) -> Self {
        let wire = lab.netns("wire");
        wire.ip("link add br0 type bridge mcast_snooping 0");
        wire.ip("addr add 10.99.0.254/16 dev br0");
        wire.ip("link set br0 up");
        let api = start(&wire, "10.99.0.254:8080".parse().unwrap());
        let kubeconfig = tempfile::Builder::new().prefix("kubeconfig").tempdir_in("/run").unwrap();
        api.kubeconfig(kubeconfig.path());
        // No test passes by what the manifests do not allow.
        api.grant(Role::of_the_daemon());
        Self { api, wire, kubeconfig }
    }

    /// A machine `n`NUMBER with `eth0` on the wire, at `10.99.0.`NUMBER and `fd99::`NUMBER. The API does not know it.
    pub fn machine(&self, lab: &Lab, number: u8) -> Node {
        let node = lab.node(&format!("n{number}"));
        self.connect(&node, number, "eth0");
        node
    }

    /// Gives a machine a link on the wire, with the addresses of machine NUMBER.
    pub fn connect(&self, node: &Node, number: u8, link: &str) {
        self.wire.ip(&format!("link add port{number} type veth peer name {link} netns {}", node.name()));
        self.wire.ip(&format!("link set port{number} master br0 up"));
        node.ip(&format!("link set {link} up"));
        node.ip(&format!("addr add 10.99.0.{number}/16 dev {link}"));
        node.ip(&format!("addr add fd99::{number}/64 dev {link} nodad"));
    }

    /// A machine whose Node has `10.244.`NUMBER`.0/24` and `fd44:`NUMBER`::/64`.
    pub fn node(&self, lab: &Lab, number: u8) -> Node {
        let node = self.machine(lab, number);
        self.put_node(number, &[&format!("10.244.{number}.0/24"), &format!("fd44:{number}::/64")]);
        node
    }

    /// Creates or changes the Node of a machine, as kubelet and the controllers make it.
    pub fn put_node(&self, number: u8, pod_cidrs: &[&str]) -> Value {
        let spec = match pod_cidrs.first() {
            Some(first) => json!({"podCIDR": first, "podCIDRs": pod_cidrs}),
            None => json!({}),
        };
        self.api.put(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": format!("n{number}"), "labels": {"kubernetes.io/hostname": format!("n{number}")}},
            "spec": spec,
            "status": {"addresses": [{"type": "InternalIP", "address": format!("10.99.0.{number}")}]},
        }))
    }

    /// What a daemon's configuration must have for this cluster, for [`Node::daemon`]; `more` is laid over it.
    pub fn conf(&self, more: Value) -> Value {
        let kubeconfig = self.kubeconfig.path().join("kubeconfig");
        let base = json!({
            "node": {"uplink": "eth0"},
            "cluster": {"source": "kubernetes", "podCIDRs": null, "kubernetes": {"kubeconfig": kubeconfig}},
        });
        over(base, more)
    }
}
