//! The node's nftables table: masquerade for its pods' subnets, and all attachments' rules.

use super::Node;
use crate::config::Source;
use offramp_core::cni::CniError;
use offramp_core::firewall::{NodeRules, Rules};
use offramp_core::record::State;
use offramp_kernel::nft;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

impl Node {
    /// What goes unmasqueraded: the cluster's pods, and what the operator excepts.
    fn node_rules(&self) -> NodeRules {
        let Source::Standalone(source) = &self.config.source;
        let own = || self.ranges().iter().map(|r| r.subnet);
        let mut no_masquerade = match &source.cluster_cidrs {
            Some(cidrs) => cidrs.clone(),
            None => own().chain(self.view().peers.iter().flat_map(|p| p.pod_cidrs.clone())).collect(),
        };
        no_masquerade.extend(self.config.masquerade.except.iter().copied());
        let pod_subnets = if self.config.masquerade.enabled { own().collect() } else { Vec::new() };
        NodeRules { pod_subnets, no_masquerade }
    }

    /// Compares the table with what it should hold, and replaces it at once if it differs.
    pub fn reconcile_firewall(&self) -> Result<u64, CniError> {
        let _lock = self.store.lock_firewall(PATIENCE)?;
        // Under the lock: what a plugin removes from now on, it removes after us.
        let listing = self.store.list()?;
        let live: Vec<&Rules> = listing
            .records
            .iter()
            .filter(|r| r.state != State::Deleting)
            .map(|r| &r.plan.firewall)
            .filter(|rules| !rules.is_empty())
            .collect();
        let start = Instant::now();
        let replaced = nft::reconcile(&self.node_rules(), &live)?;
        if replaced {
            self.metrics.nft(start.elapsed());
        }
        Ok(u64::from(replaced))
    }
}
