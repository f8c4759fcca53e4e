//! NetworkUnavailable of this node: False when pods can be served, True when they cannot for a minute. Schedulers keep
//! pods from a node that has it True, so that a hiccup must not set it, and nothing clears it but us.

use super::api::Api;
use super::backoff::{Backoff, random};
use super::publish::MANAGER;
use crate::node::Node;
use k8s_openapi::api::core::v1::Node as ApiNode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FAULT: &str = "condition";
/// How long pods cannot be served before the node is called unavailable.
const PATIENCE: Duration = Duration::from_secs(60);
/// So often one looks while nothing happens.
const LOOK: Duration = Duration::from_secs(10);

/// What the condition should be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Available,
    Unavailable { why: String },
}

/// Since when pods cannot be served.
#[derive(Debug, Default)]
struct Judge {
    since: Option<Instant>,
}

impl Judge {
    /// What to say at `now`; none: nothing yet.
    fn look(&mut self, now: Instant, not_ready: &[String]) -> Option<Condition> {
        if not_ready.is_empty() {
            self.since = None;
            return Some(Condition::Available);
        }
        let since = *self.since.get_or_insert(now);
        let why = || Condition::Unavailable { why: not_ready.join("; ") };
        (now.duration_since(since) >= PATIENCE).then(why)
    }
}

/// Keeps it true for ever.
pub async fn run(api: Api, node: Arc<Node>) {
    let nodes = kube::Api::<ApiNode>::all(api.client);
    let mut looks = node.looks();
    let (mut judge, mut backoff) = (Judge::default(), Backoff::default());
    loop {
        looks.mark_unchanged();
        let not_ready = {
            let node = node.clone();
            // It may read records.
            tokio::task::spawn_blocking(move || node.not_ready()).await.unwrap_or_default()
        };
        let said = node.view().said_unavailable;
        let wanted = judge.look(Instant::now(), &not_ready);
        // The Node is not known yet, or says so already.
        let news = wanted
            .filter(|w| said.is_some_and(|said| said != Some(matches!(w, Condition::Unavailable { .. }))));
        if let Some(news) = news {
            match Api::soon(say(&nodes, node.config.node.name.as_str(), &news)).await {
                Ok(()) => node.cluster_fault(FAULT, None),
                Err(e) => {
                    let why = format!("Kubernetes API, set NetworkUnavailable of this node: {e}");
                    node.cluster_fault(FAULT, Some(why));
                    tokio::time::sleep(backoff.after_fault(Instant::now(), random())).await;
                    continue;
                }
            }
            // What the watch tells of it comes a moment later.
            node.view().said_unavailable = Some(Some(matches!(news, Condition::Unavailable { .. })));
        }
        let _ = tokio::time::timeout(LOOK, looks.changed()).await;
    }
}

async fn say(nodes: &kube::Api<ApiNode>, name: &str, condition: &Condition) -> kube::Result<()> {
    let (status, reason, message) = match condition {
        Condition::Available => ("False", "OfframpReady", "offrampd serves this node's pods".to_owned()),
        Condition::Unavailable { why } => ("True", "OfframpNotReady", why.clone()),
    };
    let now = Time(Timestamp::now());
    let condition = json!({
        "type": "NetworkUnavailable", "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    });
    // Conditions are merged by their type.
    let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    nodes.patch_status(name, &parameters, &patch).await.map(drop)
}

/// Whether the Node says that its network is unavailable; none: it says nothing.
pub fn said(object: &ApiNode) -> Option<bool> {
    let conditions = object.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|c| c.type_ == "NetworkUnavailable")?;
    Some(condition.status != "False")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_failure_is_a_fault_and_less_is_none() {
        let (start, mut judge) = (Instant::now(), Judge::default());
        let mut at = |seconds: u64, why: &[String]| judge.look(start + Duration::from_secs(seconds), why);
        let why = ["no bridge".to_owned()];
        assert_eq!(at(0, &why), None);
        assert_eq!(at(59, &why), None);
        assert_eq!(at(59, &[]), Some(Condition::Available));
        assert_eq!(at(61, &why), None);
        assert_eq!(at(121, &why), Some(Condition::Unavailable { why: "no bridge".into() }));
        assert_eq!(at(122, &[]), Some(Condition::Available));
    }
}
