//! Labels of this node's Node that say what it can offload, for whoever schedules pods by them. The Node itself need not be
//! writable for it: they are set as kubelet sets its own, by the Node's status.

use super::api::Api;
use super::backoff::{Backoff, random};
use super::publish::MANAGER;
use crate::config::{Kubernetes, Source};
use crate::node::Node;
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::api::{Patch, PatchParams};
use offramp_core::nic::Inventory;
use offramp_core::offload::{Answer, Offloads};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

const FAULT: &str = "labels";
/// Of all of them. manifests/base/policy.yaml allows these and no others.
const PREFIX: &str = "offload.offramp.dev/";
/// The value of all of them; what a node does not have is no label.
const TRUE: &str = "true";

type Labels = BTreeMap<String, String>;

/// Those of a Node that are ours.
pub fn ours(object: &ApiNode) -> Labels {
    let all = object.metadata.labels.iter().flatten();
    all.filter(|(key, _)| key.starts_with(PREFIX)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Keeps them as they should be for ever; takes them away where the configuration wants none.
pub async fn run(api: Api, node: Arc<Node>) {
    let Source::Kubernetes(Kubernetes { node_labels, .. }) = node.config.source else { return };
    let mut looks = node.looks();
    let mut backoff = Backoff::default();
    loop {
        looks.mark_unchanged();
        if let Some(change) = due(&node, node_labels) {
            let name = node.config.node.name.as_str();
            let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
            let patch = Patch::Strategic(json!({"metadata": {"labels": change}}));
            let nodes = kube::Api::<ApiNode>::all(api.client());
            match api.soon(nodes.patch_status(name, &parameters, &patch)).await {
                Ok(object) => {
                    node.view().labels = Some(ours(&object));
                    node.cluster_fault(FAULT, None);
                }
                Err(e) => {
                    let why = format!("Kubernetes API, set the labels of this node: {e}");
                    node.cluster_fault(FAULT, Some(why));
                    tokio::time::sleep(backoff.after_fault(Instant::now(), random())).await;
                    continue;
                }
            }
        }
        let _ = looks.changed().await;
    }
}

/// What is to be changed; none: nothing, or the Node or what it can do is not known yet.
fn due(node: &Node, wanted: bool) -> Option<Value> {
    let there = node.view().labels.clone()?;
    if !wanted {
        return change(&there, &Labels::new());
    }
    let offloads = node.offloads.whole()?;
    let mut wanted = labels(&node.nics.inventory(), &offloads);
    wanted.extend(undecided(&there, &offloads));
    change(&there, &wanted)
}

/// A null removes (RFC 7386).
fn change(there: &Labels, wanted: &Labels) -> Option<Value> {
    let gone = there.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let news = wanted.iter().filter(|(key, value)| there.get(*key) != Some(value));
    let all: serde_json::Map<String, Value> =
        gone.chain(news.map(|(key, value)| (key.clone(), json!(value)))).collect();
    (!all.is_empty()).then_some(Value::Object(all))
}

/// An offload that any NIC has at work, an ability that the kernel has, `sriov` if a NIC can have VFs.
fn labels(inventory: &Inventory, offloads: &Offloads) -> Labels {
    let ports = inventory.ports.iter().filter_map(|port| offloads.devices.get(&port.netdev));
    let at_work = ports.flat_map(|device| device.summary()).filter(|(_, on)| *on);
    let nics = at_work.map(|(offload, _)| offload.to_string());
    let there = offloads.kernel.iter().filter(|(_, answer)| **answer == Answer::There);
    let kernel = there.map(|(ability, _)| format!("kernel.{ability}"));
    let sriov = inventory.ports.iter().any(|port| port.total_vfs > 0).then(|| "sriov".to_owned());
    let all = nics.chain(kernel).chain(sriov);
    all.map(|name| (format!("{PREFIX}{name}"), TRUE.to_owned())).collect()
}

/// Labels for abilities that nobody knows of just now: a former look did.
fn undecided(there: &Labels, offloads: &Offloads) -> Labels {
    let unknown = offloads.kernel.iter().filter(|(_, answer)| matches!(answer, Answer::Unknown { .. }));
    let keys = unknown.map(|(ability, _)| format!("{PREFIX}kernel.{ability}"));
    keys.filter(|key| there.get(key).is_some_and(|value| value == TRUE))
        .map(|key| (key, TRUE.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels_of(keys: &[&str]) -> Labels {
        keys.iter().map(|key| (format!("{PREFIX}{key}"), TRUE.to_owned())).collect()
    }

    #[test]
    fn what_is_there_and_at_work_is_a_label() {
        let inventory = serde_json::from_value(json!({"ports": [{
            "key": {"device": "0000:01:00.0"}, "netdev": "ens1f0", "ifindex": 2, "mac": null, "driver": "igb",
            "id": null, "speedMbps": null, "numa": null, "up": true, "carrier": true, "mtu": 1500, "controller": null,
            "totalVfs": 7, "numVfs": 0, "eswitch": "legacy", "switchId": null, "vfs": [],
        }]}))
        .unwrap();
        let tso = |on: bool| json!({"features": {"tx-tcp-segmentation": {"on": on}, "hw-tc-offload": {"on": false}}});
        let offloads = serde_json::from_value(json!({
            "kernel": {"netkit": {"is": "there"}, "tcx": {"is": "missing", "why": "x"}},
            "devices": {"ens1f0": tso(true), "offramp-vxlan": {"features": {"tx-udp-segmentation": {"on": true}}}},
        }))
        .unwrap();
        assert_eq!(labels(&inventory, &offloads), labels_of(&["kernel.netkit", "sriov", "tso"]));
        assert_eq!(labels(&Inventory::default(), &Offloads::default()), Labels::new());
    }

    #[test]
    fn what_is_unknown_just_now_keeps_its_label() {
        let offloads = serde_json::from_value(json!({
            "kernel": {"netkit": {"is": "unknown", "why": "x"}, "tcx": {"is": "missing", "why": "x"},
                "vlan": {"is": "unknown", "why": "x"}},
        }))
        .unwrap();
        let there = labels_of(&["kernel.netkit", "kernel.tcx", "tso"]);
        assert_eq!(undecided(&there, &offloads), labels_of(&["kernel.netkit"]));
    }

    #[test]
    fn what_is_as_it_should_be_is_not_written() {
        let there = labels_of(&["tso", "sriov"]);
        assert_eq!(change(&there, &there), None);
        let change = change(&there, &labels_of(&["tso", "ntuple"])).unwrap();
        assert_eq!(change, json!({"offload.offramp.dev/sriov": null, "offload.offramp.dev/ntuple": "true"}));
    }
}
