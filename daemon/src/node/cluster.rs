//! What the API has told, and what is kept of it: a restart without the API goes on where it was.

use super::{Claim, Claims, Node};
use crate::config::{self, Source};
use ipnetwork::IpNetwork;
use offramp_core::ipam::{Range, check_disjoint};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use tokio::sync::watch;

/// What is kept of this node, and of the others.
const OWN: &str = "node";
const PEERS: &str = "peers";

/// This node, as the API has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Told {
    /// Of the Node object: another one of the same name has another.
    pub uid: String,
    /// Of its pods, in the API's order.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNetwork>,
    /// It was deleted.
    #[serde(skip)]
    pub gone: bool,
}

impl Node {
    /// Takes over what the API tells of this node; whether its pods' networks are others now. The error says why they
    /// cannot be used: those that it had stay in force.
    pub fn told(&self, told: &Told) -> Result<bool, String> {
        let kept = self.view().told.clone();
        if kept.as_ref() == Some(told) {
            return Ok(false);
        }
        // Its controller is about to give it some. A new Node's are not those of the old one, which others may get.
        if told.pod_cidrs.is_empty() && kept.as_ref().is_some_and(|k| k.uid == told.uid) {
            return Ok(false);
        }
        let changed = self.set_ranges(&ranges(&told.pod_cidrs)?);
        self.view().told = Some(told.clone());
        if kept.is_some_and(|kept| kept.uid == told.uid && kept.pod_cidrs == told.pod_cidrs) {
            return Ok(changed);
        }
        if let Err(e) = self.store.keep(OWN, told) {
            tracing::warn!(error = %e, "this node's podCIDRs cannot be kept for a restart without the API");
        }
        if changed {
            let pod_cidrs: Vec<String> = told.pod_cidrs.iter().map(ToString::to_string).collect();
            tracing::info!(podCIDRs = pod_cidrs.join(", "), "this node's pods get addresses of these");
        }
        Ok(changed)
    }

    /// The Node was deleted: what it last was stays in force.
    pub fn gone(&self) {
        if let Some(told) = &mut self.view().told {
            told.gone = true;
        }
    }

    /// What the other nodes say of themselves.
    pub fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps it for a restart.
    pub fn keep_claims(&self) {
        let claims = self.claims().all();
        if let Err(e) = self.store.keep(PEERS, &claims) {
            tracing::warn!(error = %e, "the peers cannot be kept for a restart without the API");
        }
    }

    /// Who wants to know of each look of the reconcile loop.
    pub fn looks(&self) -> watch::Receiver<()> {
        self.looks.subscribe()
    }

    /// The reconcile loop has looked.
    pub fn looked(&self) {
        self.looks.send_replace(());
    }

    /// Whether what this node says of itself is where the others find it.
    pub fn is_published(&self) -> bool {
        self.published.load(Ordering::SeqCst)
    }

    /// It is there, or has been deleted.
    pub fn set_published(&self, there: bool) {
        if self.published.swap(there, Ordering::SeqCst) && !there {
            self.looked();
        }
    }

    /// Notes what is wrong with the API, or no longer; says each once.
    pub fn cluster_fault(&self, what: &'static str, fault: Option<String>) {
        let mut view = self.view();
        if view.cluster_faults.get(what) == fault.as_ref() {
            return;
        }
        match fault {
            Some(fault) => {
                tracing::warn!("{fault}");
                view.cluster_faults.insert(what, fault);
            }
            None => {
                tracing::info!(what, "no longer: {}", view.cluster_faults.remove(what).unwrap_or_default());
            }
        }
    }

    /// Goes on with what was kept.
    pub(super) fn recall(&self) {
        if let Source::Standalone(_) = self.config.source {
            return;
        }
        if let Some(claims) = self.kept::<Vec<Claim>>(PEERS) {
            *self.claims() = Claims::kept(claims);
        }
        let Some(told) = self.kept::<Told>(OWN) else { return };
        match ranges(&told.pod_cidrs) {
            Ok(ranges) => {
                self.set_ranges(&ranges);
                self.view().told = Some(told);
            }
            Err(why) => tracing::warn!(why, "what was kept of this node cannot be used"),
        }
    }

    fn kept<T: DeserializeOwned>(&self, what: &str) -> Option<T> {
        self.store.kept(what).unwrap_or_else(|e| {
            tracing::warn!(error = %e, "what was kept of the cluster cannot be used");
            None
        })
    }
}

fn ranges(pod_cidrs: &[IpNetwork]) -> Result<Vec<Range>, String> {
    let ranges = pod_cidrs.iter().map(|net| config::range(*net));
    let ranges: Vec<Range> = ranges.collect::<Result<_, _>>().map_err(|why| format!("podCIDR {why}"))?;
    // Each in a set of its own: two of one family are used one after the other.
    let sets: Vec<Vec<Range>> = ranges.iter().map(|r| vec![*r]).collect();
    check_disjoint(&sets).map_err(|e| format!("podCIDRs: {e}"))?;
    Ok(ranges)
}
