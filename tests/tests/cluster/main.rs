//! Daemons that follow a Kubernetes API, on a real kernel: see `hack/lab`. One file a topic; `netkit` runs in the VM.

mod condition;
mod kept;
mod netkit;
mod own_node;
mod peers;
mod watches;

use offramp_tests::{Answer, Daemon, Node, Pod};
use serde_json::json;

/// What the operator is told.
fn problems(daemon: &Daemon) -> String {
    daemon.ask("status")["problems"].to_string()
}

fn add(node: &Node, pod: &Pod) -> Answer {
    node.add(pod, &node.conf(json!({})))
}
