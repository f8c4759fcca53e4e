//! Where the cluster's state comes from. Only this module names the types of the Kubernetes client; it hands plain ones
//! to the rest.

mod api;
mod backoff;
mod condition;
mod follow;
mod init_containers;
mod labels;
mod networks;
mod own_node;
mod peers;
pub mod peers_file;
mod pods;
mod publish;
mod resource;
mod tell;

pub use api::{Api, ConnectError};
pub use condition::Removal;

use crate::node::Node;
use crate::reconcile::Waker;
use std::sync::Arc;

/// Follows the cluster's state, for as long as the runtime that this is called in runs. Nothing to do without an API.
pub fn spawn(node: &Arc<Node>, waker: &Waker) {
    let Some(api) = node.api.get() else { return };
    tokio::spawn(own_node::run(api.clone(), node.clone(), waker.clone()));
    tokio::spawn(pods::run(api.clone(), node.clone()));
    tokio::spawn(tell::run(api.clone(), node.clone()));
    if node.definitions.are_in_api() {
        tokio::spawn(networks::run(api.clone(), node.clone()));
    }
    let said = Arc::<publish::Said>::default();
    tokio::spawn(peers::run(api.clone(), node.clone(), waker.clone(), said.clone()));
    tokio::spawn(publish::run(api.clone(), node.clone(), said));
    tokio::spawn(renew(api.clone(), node.clone()));
    tokio::spawn(condition::run(api.clone(), node.clone()));
    tokio::spawn(labels::run(api.clone(), node.clone()));
}

/// Has the API's connections made anew when the node's addresses change: what comes to one that it has lost is lost too,
/// and a watch would say nothing for minutes.
async fn renew(api: Api, node: Arc<Node>) {
    let mut looks = node.looks();
    let mut known = node.view().underlay.clone();
    while looks.changed().await.is_ok() {
        let addresses = node.view().underlay.clone();
        if addresses != known && !addresses.is_empty() {
            if !known.is_empty() {
                tracing::info!(
                    ?addresses,
                    "this node's addresses have changed: the Kubernetes API is connected anew"
                );
                api.renew();
            }
            known = addresses;
        }
    }
}
