//! Writes what pods are told: their annotations by `pods/status`, and events.

use super::api::Api;
use super::backoff::{Backoff, random};
use super::follow::describe;
use super::init_containers;
use crate::metrics::{Fate, Message};
use crate::node::Node;
use crate::pods::{Event, Kind, Status, cut};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event as ApiEvent, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use offramp_core::ids::ResourceName;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What comes within it is written together: a pod with several interfaces, or many pods on one connection.
const GATHER: Duration = Duration::from_millis(100);
/// Requests at a time.
const AT_ONCE: usize = 4;
/// For one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes for ever. What the API does not take for now waits; what it refuses is dropped, and logged.
pub async fn run(api: Api, node: Arc<Node>) {
    let mut backoff = Backoff::default();
    loop {
        node.outbox.wait().await;
        tokio::time::sleep(GATHER).await;
        let (statuses, events) = node.outbox.take();
        let (api, this) = (&api, &node);
        let statuses = futures::stream::iter(statuses).map(|status| async move {
            let outcome = write_status(api, &status).await;
            settled(this, Message::Status, &status.pod, outcome).map_err(|()| this.outbox.put_back(status))
        });
        let failed =
            statuses.buffer_unordered(AT_ONCE).filter(|r| std::future::ready(r.is_err())).count().await;
        let events = futures::stream::iter(events).map(|event| async move {
            let outcome = write_event(api, this, &event).await;
            settled(this, Message::Event, &event.pod, outcome).map_err(|()| this.outbox.put_event_back(event))
        });
        let more = events.buffer_unordered(AT_ONCE).filter(|r| std::future::ready(r.is_err())).count().await;
        if failed + more > 0 {
            tokio::time::sleep(backoff.after_fault(Instant::now(), random())).await;
        }
    }
}

/// An error: it is to be tried again.
fn settled(
    node: &Node,
    what: Message,
    pod: &dyn std::fmt::Display,
    outcome: Option<kube::Result<()>>,
) -> Result<(), ()> {
    match outcome {
        Some(Ok(())) => {
            node.metrics.told(what, Fate::Sent);
            Ok(())
        }
        // The pod is gone, or is another one; or we may not, or it is wrong.
        Some(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
            node.metrics.told(what, Fate::Refused);
            tracing::debug!(%pod, ?what, reason = %status.message, "its pod is no more");
            Ok(())
        }
        Some(Err(kube::Error::Api(status))) if (400..500).contains(&status.code) && status.code != 429 => {
            node.metrics.told(what, Fate::Refused);
            tracing::warn!(%pod, ?what, code = status.code, reason = %status.message, "the Kubernetes API refuses it");
            Ok(())
        }
        Some(Err(e)) => {
            tracing::debug!(%pod, ?what, error = %describe(&e), "it waits for the Kubernetes API");
            Err(())
        }
        None => Err(()),
    }
}

async fn write_status(api: &Api, status: &Status) -> Option<kube::Result<()>> {
    let pods = kube::Api::<Pod>::namespaced(api.client(), &status.pod.namespace);
    let mut metadata = json!({"annotations": status.annotations});
    // Another pod of that name must not get it: the API refuses another UID.
    if !status.pod.uid.is_empty() {
        metadata["uid"] = json!(status.pod.uid);
    }
    let (patch, params) = (Patch::Merge(json!({"metadata": metadata})), PatchParams::default());
    let request = pods.patch_status(&status.pod.name, &params, &patch);
    tokio::time::timeout(PATIENCE, request).await.ok().map(|outcome| outcome.map(drop))
}

/// What the event says; an API that does not answer takes no event either, and is asked again.
async fn message(api: &Api, node: &Node, event: &Event) -> kube::Result<String> {
    let resources: Vec<ResourceName> = node.config.pools.iter().filter_map(|p| p.resource.clone()).collect();
    if event.kind != Kind::NoDevice || resources.is_empty() {
        return Ok(event.message.clone());
    }
    let hint = init_containers::hint(api, &event.pod, &resources).await?;
    Ok(hint.map_or_else(|| event.message.clone(), |hint| cut(&format!("{hint}; {}", event.message))))
}

async fn write_event(api: &Api, node: &Node, event: &Event) -> Option<kube::Result<()>> {
    let message = match tokio::time::timeout(PATIENCE, message(api, node, event)).await.ok()? {
        Ok(message) => message,
        Err(e) => return Some(Err(e)),
    };
    let now = Some(Time(k8s_openapi::jiff::Timestamp::now()));
    let Event { pod, kind, message: _ } = event;
    let of_node = *kind == Kind::TurnedOff;
    let object = ApiEvent {
        metadata: ObjectMeta {
            name: Some(format!("{:.200}.{:016x}", pod.name, random())),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some(if of_node { "Node" } else { "Pod" }.into()),
            namespace: Some(pod.namespace.clone()).filter(|_| !of_node),
            name: Some(pod.name.clone()),
            uid: Some(pod.uid.clone()).filter(|uid| !uid.is_empty()),
            ..ObjectReference::default()
        },
        type_: Some(match kind {
            Kind::Refused | Kind::NoDevice | Kind::TurnedOff => "Warning".into(),
            Kind::Fallback => "Normal".into(),
        }),
        reason: Some(kind.reason().into()),
        message: Some(message),
        source: Some(EventSource {
            component: Some("offrampd".into()),
            host: Some(node.config.node.name.to_string()),
        }),
        first_timestamp: now.clone(),
        last_timestamp: now,
        count: Some(1),
        ..ApiEvent::default()
    };
    let events = kube::Api::<ApiEvent>::namespaced(api.client(), &pod.namespace);
    let params = PostParams::default();
    let request = events.create(&params, &object);
    tokio::time::timeout(PATIENCE, request).await.ok().map(|outcome| outcome.map(drop))
}
