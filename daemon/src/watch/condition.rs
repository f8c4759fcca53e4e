//! NetworkUnavailable of this node: False when pods can be served, True when they cannot for a minute, and when Offramp
//! is taken from the node. Schedulers keep pods from a node that has it True (the node lifecycle controller makes a
//! taint of it), so that a hiccup must not set it, and nothing clears it but us.

use super::api::{Api, ApiError, ConnectError};
use super::backoff::{Backoff, random};
use super::publish::MANAGER;
use crate::config::{Config, Kubernetes, Source};
use crate::node::Node;
use k8s_openapi::api::core::v1::{Node as ApiNode, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FAULT: &str = "condition";
/// The reason once Offramp is taken from the node.
const REMOVED: &str = "OfframpRemoved";
/// So often one looks while nothing happens.
const LOOK: Duration = Duration::from_secs(10);

/// What the condition should be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Available,
    Unavailable {
        why: String,
    },
    /// Offramp is taken from the node, and nobody else serves its pods.
    Removed,
    /// Offramp is taken from the node, and this network configuration serves its pods.
    Succeeded {
        by: String,
    },
}

impl Condition {
    fn is_true(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Removed)
    }
}

/// Since when pods cannot be served.
#[derive(Debug)]
struct Judge {
    patience: Duration,
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
        (now.duration_since(since) >= self.patience).then(why)
    }

    /// In how long there may be something to say though nothing has happened.
    fn next(&self, now: Instant) -> Duration {
        let due = self.since.map(|since| self.patience.saturating_sub(now.duration_since(since)));
        due.filter(|due| !due.is_zero()).map_or(LOOK, |due| due.min(LOOK))
    }
}

/// Keeps it true for ever.
pub async fn run(api: Api, node: Arc<Node>) {
    let Source::Kubernetes(Kubernetes { unavailable_after, .. }) = node.config.source else { return };
    let mut looks = node.looks();
    let mut judge = Judge { patience: unavailable_after, since: None };
    let mut backoff = Backoff::default();
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
        let news = wanted.filter(|w| said.is_some_and(|said| said != Some(w.is_true())));
        if let Some(news) = news {
            let nodes = kube::Api::<ApiNode>::all(api.client());
            match api.soon(say(&nodes, node.config.node.name.as_str(), &news)).await {
                Ok(()) => node.cluster_fault(FAULT, None),
                Err(e) => {
                    let why = format!("Kubernetes API, set NetworkUnavailable of this node: {e}");
                    node.cluster_fault(FAULT, Some(why));
                    tokio::time::sleep(backoff.after_fault(Instant::now(), random())).await;
                    continue;
                }
            }
            // What the watch tells of it comes a moment later.
            node.view().said_unavailable = Some(Some(news.is_true()));
        }
        let _ = tokio::time::timeout(judge.next(Instant::now()), looks.changed()).await;
    }
}

async fn say(nodes: &kube::Api<ApiNode>, name: &str, condition: &Condition) -> kube::Result<()> {
    let (reason, message) = match condition {
        Condition::Available => ("OfframpReady", "offrampd serves this node's pods".to_owned()),
        Condition::Unavailable { why } => ("OfframpNotReady", why.clone()),
        Condition::Removed => (REMOVED, "Offramp is taken from this node".to_owned()),
        Condition::Succeeded { by } => {
            (REMOVED, format!("Offramp is taken from this node: {by} is for its pods"))
        }
    };
    let status = if condition.is_true() { "True" } else { "False" };
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
    Some(find(object)?.status != "False")
}

fn find(object: &ApiNode) -> Option<&NodeCondition> {
    let conditions = object.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == "NetworkUnavailable")
}

/// What the Node of a node says from which Offramp is being taken.
pub struct Removal {
    runtime: tokio::runtime::Runtime,
    api: Api,
    name: String,
}

impl Removal {
    /// None without an API.
    pub fn new(config: &Config) -> Result<Option<Self>, ConnectError> {
        let Source::Kubernetes(source) = &config.source else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ConnectError::Runtime)?;
        let api = runtime.block_on(Api::connect(source))?;
        Ok(Some(Self { runtime, api, name: config.node.name.to_string() }))
    }

    /// True, so that no pods come, unless another network configuration is there: then pods can be served, and a True of
    /// ours is taken back, since other plugins say False only when they start. Whether anything was said.
    pub fn tell(&self, served_by: Option<&Path>) -> Result<bool, ApiError> {
        let nodes = kube::Api::<ApiNode>::all(self.api.client());
        self.runtime.block_on(self.api.soon(async {
            let Some(object) = nodes.get_opt(&self.name).await? else { return Ok(false) };
            let Some(condition) = removal(find(&object), served_by) else { return Ok(false) };
            say(&nodes, &self.name, &condition).await.map(|()| true)
        }))
    }
}

/// What is to be said; none: nothing.
fn removal(said: Option<&NodeCondition>, served_by: Option<&Path>) -> Option<Condition> {
    let is_true = said.is_some_and(|c| c.status != "False");
    let reason = said.and_then(|c| c.reason.as_deref()).unwrap_or_default();
    match served_by {
        None => (!is_true || reason != REMOVED).then_some(Condition::Removed),
        Some(by) => {
            let ours = is_true && reason.starts_with("Offramp");
            ours.then(|| Condition::Succeeded { by: by.display().to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_failure_is_a_fault_and_less_is_none() {
        let (start, mut judge) = (Instant::now(), Judge { patience: Duration::from_secs(60), since: None });
        let mut at = |seconds: u64, why: &[String]| judge.look(start + Duration::from_secs(seconds), why);
        let why = ["no bridge".to_owned()];
        assert_eq!(at(0, &why), None);
        assert_eq!(at(59, &why), None);
        assert_eq!(at(59, &[]), Some(Condition::Available));
        assert_eq!(at(61, &why), None);
        assert_eq!(at(121, &why), Some(Condition::Unavailable { why: "no bridge".into() }));
        assert_eq!(at(122, &[]), Some(Condition::Available));
        judge.look(start, &why);
        let next = |seconds: u64| judge.next(start + Duration::from_secs(seconds));
        assert_eq!((next(0), next(55), next(61)), (LOOK, Duration::from_secs(5), LOOK));
    }

    #[test]
    fn of_a_removal_only_what_is_ours_is_taken_back() {
        let said = |status: &str, reason: &str| NodeCondition {
            status: status.into(),
            reason: Some(reason.into()),
            ..NodeCondition::default()
        };
        let next = Path::new("/etc/cni/net.d/10-next.conflist");
        let succeeded = Some(Condition::Succeeded { by: next.display().to_string() });
        for (condition, alone, succeeded) in [
            (None, Some(Condition::Removed), None),
            (Some(said("False", "OfframpReady")), Some(Condition::Removed), None),
            (Some(said("True", "OfframpNotReady")), Some(Condition::Removed), succeeded.clone()),
            (Some(said("True", "OfframpRemoved")), None, succeeded),
            (Some(said("True", "NextIsNotReady")), Some(Condition::Removed), None),
        ] {
            assert_eq!(removal(condition.as_ref(), None), alone, "{condition:?}");
            assert_eq!(removal(condition.as_ref(), Some(next)), succeeded, "{condition:?}");
        }
    }
}
