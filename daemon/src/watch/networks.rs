//! NetworkAttachmentDefinitions, of all namespaces.

use super::api::{Api, ApiError};
use super::follow::{Followed, config, follow};
use crate::networks::Written;
use crate::node::Node;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::Event;
use offramp_core::networks::{NadRef, RESOURCE};
use std::sync::Arc;
use std::time::Duration;

/// For one GET: the runtime tries again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Follows them for ever. In a cluster that does not have the kind there is nothing to follow, yet: that is no fault.
pub async fn run(api: Api, node: Arc<Node>) {
    let followed = Followed {
        name: "networks",
        what: "NetworkAttachmentDefinitions",
        api: |client| kube::Api::<DynamicObject>::all_with(client, &kind()),
        config: config(),
        optional: true,
        of_all: true,
    };
    follow(&api, &node, followed, |event| {
        let known = &node.definitions;
        match event {
            Event::Init => known.list_begins(),
            Event::InitDone => known.list_ends(),
            Event::InitApply(object) => {
                if let Some((nad, written)) = plain(&object) {
                    known.list_has(nad, written);
                }
            }
            Event::Apply(object) => {
                if let Some((nad, written)) = plain(&object) {
                    known.set(nad, written);
                }
            }
            Event::Delete(object) => {
                if let Some((nad, _)) = plain(&object) {
                    known.remove(&nad);
                }
            }
        }
    })
    .await;
}

fn kind() -> ApiResource {
    let kind = GroupVersionKind::gvk("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition");
    ApiResource::from_gvk_with_plural(&kind, "network-attachment-definitions")
}

/// None if its name is none that a pod could say.
fn plain(object: &DynamicObject) -> Option<(NadRef, Written)> {
    let metadata = &object.metadata;
    let nad = NadRef {
        namespace: metadata.namespace.as_deref()?.parse().ok()?,
        name: metadata.name.as_deref()?.parse().ok()?,
    };
    let config = object.data["spec"]["config"].as_str().unwrap_or_default().to_owned();
    let resource = metadata.annotations.as_ref().and_then(|a| a.get(RESOURCE)).cloned();
    Some((nad, Written { config, resource }))
}

impl Api {
    /// One definition, asked for now; none if there is none.
    pub fn definition(&self, nad: &NadRef) -> Result<Option<Written>, ApiError> {
        let (client, name) = (self.client(), nad.name.to_string());
        let all = kube::Api::<DynamicObject>::namespaced_with(client, nad.namespace.as_str(), &kind());
        let found = self.wait(PATIENCE, async move { all.get_opt(&name).await })?;
        Ok(found.and_then(|object| plain(&object)).map(|(_, written)| written))
    }
}
