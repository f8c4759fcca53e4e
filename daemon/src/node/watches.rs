//! How the watches of the API stand. What they do not tell makes no pod wait: it is told, and no more.

use super::{Node, now};
use crate::status::{Health, WatchStatus};

/// One of them.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// Why it tells nothing.
    fault: Option<String>,
    /// When it last told something, in seconds since 1970; none: not yet.
    last_event: Option<u64>,
    up: bool,
}

impl Node {
    /// It has told nothing yet.
    pub fn watch_begins(&self, name: &'static str) {
        self.view().watches.insert(name, Watch::default());
    }

    /// It has told something.
    pub fn watch_told(&self, name: &'static str) {
        self.view().watches.entry(name).or_default().last_event = Some(now());
        self.watch_fault(name, None);
    }

    /// It tells nothing, or does so again.
    pub fn watch_fault(&self, name: &'static str, fault: Option<String>) {
        let mut view = self.view();
        let watch = view.watches.entry(name).or_default();
        watch.up = fault.is_none();
        if fault.is_some() {
            self.metrics.watch_failed(name);
        }
        if watch.fault == fault {
            return;
        }
        let before = std::mem::replace(&mut watch.fault, fault.clone());
        drop(view);
        match fault {
            Some(fault) => {
                // What changes is how it fails.
                if before.is_none() {
                    tracing::warn!("{fault}");
                } else {
                    tracing::debug!("{fault}");
                }
            }
            None => tracing::info!(watch = name, "no longer: {}", before.unwrap_or_default()),
        }
    }

    /// The cluster does not have what it would tell of.
    pub fn watch_absent(&self, name: &'static str) {
        self.view().watches.remove(name);
    }

    /// All of them, for the command line and for Prometheus.
    pub(super) fn watches(&self) -> Vec<WatchStatus> {
        let view = self.view();
        let status = |(name, watch): (&&str, &Watch)| WatchStatus {
            name: (*name).to_owned(),
            up: watch.up,
            last_event: watch.last_event,
            health: watch.fault.clone().map_or(Health::Ok, |reason| Health::Failed { reason }),
        };
        view.watches.iter().map(status).collect()
    }
}
