//! What the API has told of this node, and what is kept of it: a restart without the API goes on where it was.

use super::Node;
use crate::config::{self, Source};
use ipnetwork::IpNetwork;
use offramp_core::ipam::{Range, check_disjoint};
use serde::{Deserialize, Serialize};

const KEPT: &str = "node";

/// This node, as the API has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Told {
    /// Of the Node object: another one of the same name has another.
    pub uid: String,
    /// Of its pods, in the API's order.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNetwork>,
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
        if let Err(e) = self.store.keep(KEPT, told) {
            tracing::warn!(error = %e, "this node's podCIDRs cannot be kept for a restart without the API");
        }
        if changed {
            tracing::info!(podCIDRs = ?told.pod_cidrs, "this node's pods get addresses of these");
        }
        Ok(changed)
    }

    /// Goes on with what was kept.
    pub(super) fn recall(&self) {
        if let Source::Standalone(_) = self.config.source {
            return;
        }
        let kept: Option<Told> = self.store.kept(KEPT).unwrap_or_else(|e| {
            tracing::warn!(error = %e, "what was kept of this node cannot be used");
            None
        });
        let Some(told) = kept else { return };
        match ranges(&told.pod_cidrs) {
            Ok(ranges) => {
                self.set_ranges(&ranges);
                self.view().told = Some(told);
            }
            Err(why) => tracing::warn!(why, "what was kept of this node cannot be used"),
        }
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
