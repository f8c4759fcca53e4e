//! The other nodes.

use offramp_core::peer::Peer;
use serde_json::{Value, json};

/// Where node `n` is; at another address in each version.
pub fn endpoint(n: u32, version: u32) -> String {
    let [_, _, high, low] = n.to_be_bytes();
    format!("10.{}.{high}.{low}", 200 + version % 2)
}

fn pod_cidrs(n: u32) -> [String; 2] {
    let [_, _, high, low] = n.to_be_bytes();
    [format!("10.{}.{low}.0/24", 101 + high), format!("fd45:{n:x}::/64")]
}

fn name(n: u32) -> String {
    format!("node-{n:05}")
}

/// A node as it says of itself; with what a real server adds.
pub fn object(n: u32, version: u32) -> Value {
    let name = name(n);
    json!({
        "apiVersion": "offramp.dev/v1alpha1", "kind": "OfframpNode",
        "metadata": {
            "name": name,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": format!("00000000-0000-4000-8000-{n:012}")}],
            "managedFields": [{"manager": "offrampd", "operation": "Apply", "apiVersion": "offramp.dev/v1alpha1",
                "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {
                    "f:metadata": {"f:ownerReferences": {}},
                    "f:spec": {"f:endpoints": {}, "f:mac": {}, "f:podCIDRs": {},
                        "f:offload": {"f:pools": {}}, "f:version": {}}}}],
        },
        "spec": {
            "endpoints": [endpoint(n, version)], "podCIDRs": pod_cidrs(n), "version": "0.1.0",
            "offload": {"pools": [{"name": "fast", "mode": "netdev", "vfs": 8}]},
        },
    })
}

/// The same as a peer, at its first address.
pub fn peer(n: u32) -> Peer {
    Peer {
        name: name(n).parse().unwrap(),
        endpoints: vec![endpoint(n, 0).parse().unwrap()],
        pod_cidrs: pod_cidrs(n).iter().map(|net| net.parse().unwrap()).collect(),
        mac: None,
    }
}
