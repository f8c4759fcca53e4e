//! This node's Node: its podCIDRs.

use super::api::Api;
use super::follow::{Followed, config, follow};
use super::{condition, labels};
use crate::node::{Node, Told};
use crate::reconcile::{Due, Waker};
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::runtime::watcher::Event;
use std::sync::Arc;

/// The key of its faults.
const FAULT: &str = "own node";

/// Follows it for ever.
pub async fn run(api: Api, node: Arc<Node>, waker: Waker) {
    let name = node.config.node.name.as_str();
    let followed = Followed {
        name: "node",
        what: "this node",
        api: kube::Api::<ApiNode>::all,
        config: config().fields(&format!("metadata.name={name}")),
        optional: false,
        of_all: false,
    };
    let mut listed = false;
    follow(&api, &node, followed, |event| {
        let fault = match event {
            Event::Init => {
                listed = false;
                return;
            }
            Event::InitDone if listed => return,
            Event::InitDone | Event::Delete(_) => {
                node.gone();
                node.view().said_unavailable = None;
                node.view().labels = None;
                Some(format!("Kubernetes has no Node {name}: what it last was stays in force"))
            }
            Event::Apply(object) | Event::InitApply(object) => {
                listed = true;
                take(&node, &waker, &object).err().map(|why| format!("Node {name}: {why}"))
            }
        };
        node.cluster_fault(FAULT, fault);
    })
    .await;
}

fn take(node: &Node, waker: &Waker, object: &ApiNode) -> Result<(), String> {
    let spec = object.spec.as_ref();
    let listed = spec.and_then(|s| s.pod_cidrs.clone()).unwrap_or_default();
    // Older controllers set this alone.
    let texts =
        if listed.is_empty() { spec.and_then(|s| s.pod_cidr.clone()).into_iter().collect() } else { listed };
    let parse = |text: &String| text.parse().map_err(|_| format!("podCIDR {text:?} is not a network"));
    let pod_cidrs: Vec<IpNetwork> =
        texts.iter().filter(|t| !t.is_empty()).map(parse).collect::<Result<_, _>>()?;
    let none = pod_cidrs.is_empty();
    let told = Told { uid: object.metadata.uid.clone().unwrap_or_default(), pod_cidrs, gone: false };
    node.view().said_unavailable = Some(condition::said(object));
    let ours = Some(labels::ours(object));
    if std::mem::replace(&mut node.view().labels, ours.clone()) != ours {
        node.looked();
    }
    if node.told(&told)? {
        waker.wake(Due::All);
    }
    if none { Err("it has no podCIDR (yet)".into()) } else { Ok(()) }
}
