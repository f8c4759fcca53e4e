//! The pods of this node: their annotations.

use super::api::{Api, ApiError};
use super::follow::{Followed, config, follow};
use crate::node::Node;
use crate::pods::{Place, Pod};
use k8s_openapi::api::core::v1::Pod as ApiPod;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use std::sync::Arc;
use std::time::Duration;

/// kubelet's annotation of the mirror of a static pod: the static pod's UID.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// For one GET: the runtime tries again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The rest of a pod is passed over when it is read.
type Meta = PartialObjectMeta<ApiPod>;

/// Follows them for ever.
pub async fn run(api: Api, node: Arc<Node>) {
    let followed = Followed {
        name: "pods",
        what: "this node's pods",
        api: kube::Api::<Meta>::all,
        config: config().fields(&format!("spec.nodeName={}", node.config.node.name)),
        optional: false,
        of_all: false,
    };
    follow(&api, &node, followed, |event| {
        let pods = &node.pods;
        match event {
            Event::Init => pods.list_begins(),
            Event::InitDone => pods.list_ends(),
            Event::InitApply(object) => {
                let (place, pod) = plain(object);
                pods.list_has(place, pod);
            }
            Event::Apply(object) => {
                let (place, pod) = plain(object);
                pods.set(place, pod);
            }
            Event::Delete(object) => pods.remove(&plain(object).0),
        }
    })
    .await;
}

fn plain(object: Meta) -> (Place, Pod) {
    let metadata = object.metadata;
    let annotations = metadata.annotations.unwrap_or_default();
    let pod = Pod {
        uid: metadata.uid.unwrap_or_default(),
        mirror_of: annotations.get(CONFIG_HASH).cloned(),
        annotations: Pod::relevant(annotations),
    };
    ((metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default()), pod)
}

impl Api {
    /// One pod, asked for now; none if there is none of that name.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, ApiError> {
        let (pods, name) = (kube::Api::<Meta>::namespaced(self.client(), namespace), name.to_owned());
        let found = self.wait(PATIENCE, async move { pods.get_opt(&name).await })?;
        Ok(found.map(|object| plain(object).1))
    }
}
