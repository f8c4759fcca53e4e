//! What Offramp puts on a node, how it keeps it there, and how it leaves: see `hack/lab`.

mod conflist;
mod migration;
mod program;
mod uninstall;

use offramp_tests::{Daemon, Node};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The runtime's folder of network configurations.
fn net_d(node: &Node) -> PathBuf {
    node.dir().join("net.d")
}

fn conflist(node: &Node) -> PathBuf {
    net_d(node).join("05-offramp.conflist")
}

/// A daemon that keeps the network configuration.
fn daemon(node: &Node) -> Daemon<'_> {
    node.daemon(json!({"cni": {"confDir": net_d(node)}}))
}

/// What a runtime of CNI 1.1 hands to the plugin, by the network configuration in its folder.
fn as_a_runtime_reads_it(node: &Node) -> Value {
    let list: Value = serde_json::from_slice(&std::fs::read(conflist(node)).unwrap()).unwrap();
    let mut conf = list["plugins"][0].clone();
    conf["name"] = list["name"].clone();
    conf["cniVersion"] = list["cniVersions"].as_array().unwrap().last().unwrap().clone();
    conf
}

/// Another plugin's network configuration.
fn put_other(node: &Node, file: &str, plugin: &str) {
    let list = json!({"cniVersion": "1.0.0", "name": "cbr0", "plugins": [{"type": plugin}]});
    std::fs::write(net_d(node).join(file), list.to_string()).unwrap();
}
