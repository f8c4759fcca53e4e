//! The node's nftables tables: masquerade for its pods' subnets, and all attachments' rules.

use super::Node;
use ipnetwork::IpNetwork;
use offramp_core::IfName;
use offramp_core::cni::CniError;
use offramp_core::firewall::{NodeRules, Rules};
use offramp_core::record::State;
use offramp_kernel::nft::{self, Listing};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// What was last put into the tables, and what nft then said that they hold.
#[derive(Debug, Default)]
pub struct Applied {
    script: String,
    listing: Option<Listing>,
}

impl Node {
    /// What goes unmasqueraded: the cluster's pods, and what the operator excepts.
    fn node_rules(&self) -> NodeRules {
        let ranges = self.ranges();
        let own = || ranges.iter().map(|r| r.subnet);
        let mut no_masquerade = self.cluster_cidrs();
        no_masquerade.extend(self.config.masquerade.except.iter().copied());
        let pod_subnets = if self.config.masquerade.enabled { own().collect() } else { Vec::new() };
        // The uplink may be the bridge.
        let pod_links: BTreeSet<IfName> =
            self.vf_uplink().into_iter().chain([self.config.bridge.name.clone()]).collect();
        NodeRules { pod_subnets, no_masquerade, pod_links: pod_links.into_iter().collect() }
    }

    /// Where the cluster's pods are: this node's own networks, and the fewest that hold those of others.
    pub(super) fn cluster_cidrs(&self) -> Vec<IpNetwork> {
        match &self.config.cluster_cidrs {
            Some(cidrs) => cidrs.clone(),
            None => {
                let ranges = self.ranges();
                let own = ranges.iter().map(|r| r.subnet);
                own.chain(self.view().remote.iter().copied()).collect()
            }
        }
    }

    /// The link that leads to pods whose eth0 is a VF, where a pool allows such.
    pub(super) fn vf_uplink(&self) -> Option<IfName> {
        let allowed = self.config.pools.iter().any(|p| p.policy.eth0);
        self.view().uplink.as_ref().map(|u| u.name.clone()).filter(|_| allowed)
    }

    /// Compares the tables with what they should hold, and replaces them at once if they differ; then `heed` is called,
    /// to pass over what is told of that. Says how many were not as they were left.
    pub fn reconcile_firewall(&self, applied: &mut Applied, heed: &mut dyn FnMut()) -> Result<u64, CniError> {
        let lock = self.store.lock_firewall(PATIENCE)?;
        // Under the lock: what a plugin removes from now on, it removes after us.
        let listing = self.store.list()?;
        let live = listing.records.iter().filter(|r| r.state != State::Deleting);
        let mut live: Vec<_> = live.filter(|r| !r.plan.firewall.is_empty()).collect();
        // Who has a port keeps it: one that is being added is refused by nft, and dies.
        live.sort_by_cached_key(|r| (r.state != State::Ready, r.created, r.attachment.to_string()));
        let live: Vec<&Rules> = live.into_iter().map(|r| &r.plan.firewall).collect();
        let node = self.node_rules();
        let script = nft::script::replace(&node, &live)?;
        let unchanged = applied.script == script;
        if unchanged && applied.listing.is_some() && Listing::read().ok() == applied.listing {
            return Ok(0);
        }
        let start = Instant::now();
        nft::Tables::locked_by(&lock).replace(&node, &live)?;
        // After the rules, which keep pods from the node's own loopback services.
        nft::enable_route_localnet(&self.sysctl(), &self.config.bridge.name)?;
        self.metrics.nft(start.elapsed());
        heed();
        *applied = Applied { script, listing: Some(Listing::read()?) };
        Ok(u64::from(unchanged))
    }
}
