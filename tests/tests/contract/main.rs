//! The contract with runtimes and users, on a real kernel: see `hack/lab`. One file a topic.

mod bridge;
mod capabilities;
mod chain;
mod check;
mod daemon_away;
mod del;
mod delegate;
mod dhcp;
mod firewall_lock;
mod first_packet;
mod gc;
mod input;
mod ipam;
mod moved;
mod netns;
mod node_mode;
mod path;
mod redirects;
mod replay;
mod result;
mod routers;
mod skew;
mod socket;
mod state;

use offramp_tests::{Lab, Node, Pod};
use serde_json::{Value, json};

/// A node and a pod.
fn node_and_pod(lab: &Lab) -> (Node, Pod) {
    (lab.node("node"), lab.pod("pod"))
}

/// Inline mode with the fewest fields: IPv4 only, no gateway.
fn plain(node: &Node) -> Value {
    node.inline(json!({"isDefaultGateway": null, "ipam": {"ranges": [[{"subnet": "10.88.0.0/24"}]]}}))
}
