//! This node's `OfframpNode`: written when what is in it changes, and when somebody has changed or deleted it.

use super::api::Api;
use super::backoff::{Backoff, random};
use super::resource::{More, Nic, Offload, OfframpNode, Pool, Published, Spec};
use crate::node::Node;
use kube::api::{Patch, PatchParams};
use offramp_core::lend::{Taken, Usage, usage};
use offramp_core::nic::{Inventory, Port};
use offramp_core::offload::{Answer, Offloads};
use offramp_core::overlay::tunnel_mac;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const FAULT: &str = "publish";
/// Who writes its fields.
pub const MANAGER: &str = "offrampd";
/// What changes often is written so seldom.
const SETTLE: Duration = Duration::from_millis(200);
/// What the node can offload is known a moment after the start, unless a driver takes its time: every daemon that starts
/// would write twice.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// What was published last.
#[derive(Default)]
pub struct Said(Mutex<Option<Published>>);

impl Said {
    /// Whether the object is as it was published. What others have added to it is none of ours. As long as nothing
    /// was, nothing is off.
    pub fn is_in(&self, object: &OfframpNode) -> bool {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.as_ref().is_none_or(|said| said.is_in(object))
    }

    fn set(&self, published: Published) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(published);
    }

    fn is(&self, wanted: &Published) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(wanted)
    }
}

/// Publishes for ever.
pub async fn run(api: Api, node: Arc<Node>, said: Arc<Said>) {
    let name = node.config.node.name.to_string();
    let parameters = PatchParams::apply(MANAGER).force();
    let mut looks = node.looks();
    let (mut backoff, mut repairs) = (Backoff::default(), Backoff::default());
    let first_look = async { while node.offloads.whole().is_none() && looks.changed().await.is_ok() {} };
    let _ = tokio::time::timeout(FIRST_LOOK, first_look).await;
    // The API has taken what was said last.
    let mut confirmed = false;
    loop {
        looks.mark_unchanged();
        let wanted = wanted(&node);
        // Deleted or changed by somebody, or deleted with a Node of this name.
        let there = node.is_published();
        if let Some(wanted) = wanted.filter(|w| !there || !said.is(w)) {
            let again = confirmed && said.is(&wanted);
            let nodes = kube::Api::<OfframpNode>::all(api.client());
            // What the watch tells from now on is compared with it.
            said.set(wanted.clone());
            node.set_published(true);
            match api.soon(nodes.patch(&name, &parameters, &Patch::Apply(&wanted))).await {
                Ok(_) => {
                    confirmed = true;
                    node.cluster_fault(FAULT, None);
                }
                Err(e) => {
                    confirmed = false;
                    node.set_published(false);
                    let why = format!("Kubernetes API, publish OfframpNode {name}: {e}");
                    node.cluster_fault(FAULT, Some(why));
                    tokio::time::sleep(backoff.after_fault(Instant::now(), random())).await;
                    continue;
                }
            }
            if again {
                tracing::info!("somebody had changed or deleted OfframpNode {name}: it is published again");
                // Whoever fights us is not fought without end.
                tokio::time::sleep(repairs.after_fault(Instant::now(), random())).await;
            }
        }
        tokio::time::sleep(SETTLE).await;
        let _ = looks.changed().await;
    }
}

/// None as long as the others could do nothing with it.
fn wanted(node: &Node) -> Option<Published> {
    let own = node.own();
    // Without its Node it would be deleted at once, again and again.
    let uid = node.view().told.as_ref().filter(|told| !told.gone).map(|told| told.uid.clone())?;
    if own.addresses.is_empty() || own.pod_cidrs.is_empty() {
        return None;
    }
    let spec = Spec {
        endpoints: own.addresses.iter().map(ToString::to_string).collect(),
        mac: Some(tunnel_mac(&own.name).to_string()),
        pod_cidrs: own.pod_cidrs.iter().map(ToString::to_string).collect(),
    };
    let inventory = node.nics.inventory();
    // Claims are of no interest: how many are free changes with every pod.
    let pools = usage(&node.config.pools, &inventory, &Taken::default());
    let pool = |u: Usage| {
        let mode = u.mode.map(|mode| mode.to_string()).unwrap_or_default();
        Some(Pool { name: u.pool?.to_string(), mode, vfs: u.total })
    };
    let offloads = node.offloads.last();
    let offload = Offload {
        pools: pools.into_iter().filter_map(pool).collect(),
        nics: nics(&inventory, &offloads),
        kernel: offloads
            .kernel
            .iter()
            .filter(|(_, is)| **is == Answer::There)
            .map(|(a, _)| a.as_str())
            .collect(),
    };
    let more = More { version: crate::VERSION.to_owned(), offload };
    Some(Published::new(own.name.as_str(), &uid, spec, more))
}

/// What of the NICs does not change with their links.
fn nics(inventory: &Inventory, offloads: &Offloads) -> Vec<Nic> {
    let nic = |port: &Port| {
        let summary = offloads.devices.get(&port.netdev).map(|device| device.summary()).unwrap_or_default();
        Nic {
            name: port.netdev.to_string(),
            driver: port.driver.clone(),
            total_vfs: port.total_vfs,
            offloads: summary
                .into_iter()
                .filter(|(_, on)| *on)
                .map(|(offload, _)| offload.as_str())
                .collect(),
        }
    };
    let mut nics: Vec<Nic> = inventory.ports.iter().map(nic).collect();
    nics.sort_by(|a, b| a.name.cmp(&b.name));
    nics
}
