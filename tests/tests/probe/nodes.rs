//! Two nodes, `10.99.0.1` and `10.99.0.2`, and a namespace between them in which their wire ends: at `p1` and `p2`.

use offramp_tests::{Daemon, Lab, Netns, Node, over};
use serde_json::{Value, json};

pub struct Nodes {
    pub all: [Node; 2],
    pub wire: Netns,
}

impl Nodes {
    pub fn new(lab: &Lab) -> Self {
        let wire = lab.netns("wire");
        let all = [1, 2].map(|n| {
            let node = lab.node(&format!("n{n}"));
            uplink(&wire, &node, n);
            node
        });
        Self { all, wire }
    }

    /// A wire that leaves packets as they are.
    pub fn bridge(&self) {
        self.wire.ip("link add br0 type bridge mcast_snooping 0");
        self.wire.ip("link set br0 up");
        [1, 2].iter().for_each(|n| drop(self.wire.ip(&format!("link set p{n} master br0"))));
    }

    /// Another uplink of the same name; after `bridge`.
    pub fn replace_uplink(&self, n: usize) {
        self.all[n - 1].ip("link del eth0");
        uplink(&self.wire, &self.all[n - 1], n);
        self.wire.ip(&format!("link set p{n} master br0"));
    }

    /// Packets of so many bytes on the wire; after `bridge`.
    pub fn mtu(&self, bytes: u32) {
        for n in [1, 2] {
            self.all[n - 1].ip(&format!("link set eth0 mtu {bytes}"));
            self.wire.ip(&format!("link set p{n} mtu {bytes}"));
        }
        self.wire.ip(&format!("link set br0 mtu {bytes}"));
    }

    /// The daemon of node 1 or 2; `more` is laid over its configuration.
    pub fn daemon(&self, n: usize, more: Value) -> Daemon<'_> {
        self.all[n - 1].daemon(self.conf(n, more))
    }

    /// Its configuration.
    pub fn conf(&self, n: usize, more: Value) -> Value {
        let node = &self.all[n - 1];
        let pod_cidrs = |n: usize| json!([format!("10.244.{n}.0/24"), format!("fd00:244:{n}::/64")]);
        let peer = |n: usize| {
            let endpoints = [format!("10.99.0.{n}"), format!("fd99::{n}")];
            json!({"name": self.all[n - 1].node_name(), "endpoints": endpoints, "podCIDRs": pod_cidrs(n)})
        };
        let peers = node.dir().join("peers.yaml");
        std::fs::write(&peers, json!([peer(1), peer(2)]).to_string()).unwrap();
        let base = json!({
            "node": {"uplink": "eth0"},
            "cluster": {"podCIDRs": pod_cidrs(n), "peersFile": peers},
            "overlay": {"mode": "vxlan"},
        });
        over(base, more)
    }
}

/// Between a node and the wire.
fn uplink(wire: &Netns, node: &Node, n: usize) {
    wire.ip(&format!("link add p{n} type veth peer name eth0 netns {}", node.name()));
    wire.ip(&format!("link set p{n} up"));
    node.ip("link set eth0 up");
    node.ip(&format!("addr add 10.99.0.{n}/24 dev eth0"));
    node.ip(&format!("addr add fd99::{n}/64 dev eth0 nodad"));
}

/// `vxlan ipv4: works works works`, one line for each kind of path.
pub fn verdicts(probes: &Value) -> String {
    let kind = |k: &Value| {
        let words = k["stages"].as_array().unwrap().iter().map(|s| s["is"].as_str().unwrap().to_owned());
        let words: Vec<_> = words.collect();
        format!("{} {}: {}", k["way"].as_str().unwrap(), k["family"].as_str().unwrap(), words.join(" "))
    };
    let all: Vec<_> = probes["kinds"].as_array().unwrap().iter().map(kind).collect();
    all.join("\n")
}

/// What a daemon knows by now.
pub fn found(daemon: &Daemon<'_>) -> String {
    verdicts(&daemon.ask("status")["probes"])
}

pub const VXLAN_WORKS: &str = "vxlan ipv4: works works works\nvxlan ipv6: works works works";

/// Whether a node's tunnel leaves checksums to the uplink.
pub fn offloads(node: &Node) -> bool {
    let features = node.run("ethtool -k offramp-vxlan");
    let checksum = features.lines().find(|l| l.contains("tx-checksum-ip-generic")).unwrap();
    checksum.contains(": on")
}
