//! The other nodes: their `OfframpNode`s.

use super::api::Api;
use super::backoff::{jittered, random};
use super::follow::{Followed, config, follow};
use super::publish::Said;
use super::resource::OfframpNode;
use crate::node::{Claims, Node};
use crate::reconcile::{Due, Waker};
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::runtime::watcher::Event;
use offramp_core::ids::NodeName;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Peers that change often are written to disk so seldom.
const KEEP: Duration = Duration::from_secs(5);
/// Claims to the same are rare, but all nodes see them at once.
const JUDGE: Duration = Duration::from_secs(2);

/// Follows them for ever.
pub async fn run(api: Api, node: Arc<Node>, waker: Waker, said: Arc<Said>) {
    tokio::spawn(keep(node.clone()));
    tokio::spawn(judge(api.clone(), node.clone(), waker.clone()));
    let followed = Followed {
        name: "nodes",
        what: "the other nodes",
        api: kube::Api::<OfframpNode>::all,
        config: config(),
        optional: false,
        of_all: true,
    };
    let mut list = HashSet::new();
    follow(&api, &node, followed, |event| {
        if own_is_off(node.config.node.name.as_str(), &said, &list, &event) {
            node.set_published(false);
        }
        if take(&mut node.claims(), &mut list, event) {
            waker.wake(Due::Peers);
        }
    })
    .await;
}

/// Whether somebody has deleted or changed what this node says of itself.
fn own_is_off(name: &str, said: &Said, list: &HashSet<String>, event: &Event<OfframpNode>) -> bool {
    match event {
        Event::Init => false,
        Event::InitDone => !list.contains(name),
        Event::Delete(object) => object.name() == name,
        Event::InitApply(object) | Event::Apply(object) => object.name() == name && !said.is_in(object),
    }
}

/// Whether it changes anything.
fn take(claims: &mut Claims, list: &mut HashSet<String>, event: Event<OfframpNode>) -> bool {
    match event {
        Event::Init => {
            list.clear();
            false
        }
        // Nobody goes before the list is complete, but who is new may come.
        Event::InitApply(object) => {
            list.insert(object.name().to_owned());
            claims.set(object.name(), object.claim())
        }
        Event::InitDone => claims.listed(&std::mem::take(list)),
        Event::Apply(object) => claims.set(object.name(), object.claim()),
        Event::Delete(object) => claims.remove(object.name()),
    }
}

/// Keeps them for a restart without the API.
async fn keep(node: Arc<Node>) {
    let mut kept = node.claims().generation();
    loop {
        tokio::time::sleep(KEEP).await;
        let now = node.claims().generation();
        if now != kept && node.claims().known() {
            kept = now;
            let node = node.clone();
            let _ = tokio::task::spawn_blocking(move || node.keep_claims()).await;
        }
    }
}

/// Asks for the Nodes of those that claim the same podCIDR. To ask for every node's would be as many requests as
/// there are pairs of nodes.
async fn judge(api: Api, node: Arc<Node>, waker: Waker) {
    loop {
        tokio::time::sleep(jittered(JUDGE, random())).await;
        let left_out = node.view().left_out.clone();
        let parties = node.claims().to_be_judged(&left_out);
        for name in parties {
            let nodes = kube::Api::<ApiNode>::all(api.client());
            match api.soon(nodes.get_opt(name.as_str())).await {
                Ok(object) => {
                    let has = object.as_ref().map(pod_cidrs);
                    node.claims().judge(&name, has.as_deref());
                    waker.wake(Due::Peers);
                }
                Err(e) => {
                    tracing::warn!(node = %name, error = %e, "cannot ask for the podCIDRs of a Node");
                    break;
                }
            }
        }
    }
}

/// Those of a Node that are networks.
fn pod_cidrs(object: &ApiNode) -> Vec<IpNetwork> {
    let listed = object.spec.as_ref().and_then(|spec| spec.pod_cidrs.as_deref()).unwrap_or_default();
    listed.iter().filter_map(|text| text.parse().ok()).collect()
}

impl Api {
    /// The names of all Nodes: some 2 KB are received for each.
    pub fn node_names(&self, limit: Duration) -> Result<Vec<NodeName>, String> {
        const PAGE: u32 = 500;
        let nodes = kube::Api::<ApiNode>::all(self.client());
        let list = async move {
            // Any state of the API server's cache will do.
            let mut parameters = kube::api::ListParams::default().limit(PAGE).match_any();
            let mut names = Vec::new();
            loop {
                let page = nodes.list_metadata(&parameters).await?;
                names.extend(page.items.iter().filter_map(|n| n.metadata.name.as_deref()?.parse().ok()));
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => parameters = parameters.continue_token(&token),
                    None => return Ok(names),
                }
            }
        };
        self.wait(limit, list).map_err(|e| e.to_string())
    }
}
