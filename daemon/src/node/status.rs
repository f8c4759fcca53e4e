//! What the command line and the probes see of the node.

use super::lending::taken;
use super::{Node, now};
use crate::config::{OverlayMode, Source};
use crate::eswitch::PortOffload;
use crate::http::Probe;
use crate::metrics::Metrics;
use crate::overlay::Known;
use crate::status::{
    BridgeStatus, CureStatus, Health, LoopStatus, NodeStatus, OverlayStatus, RangeStatus, Status, VfStatus,
};
use offramp_core::lend::{Usage, usage};
use offramp_core::overlay::big_tcp::Allowed;
use offramp_core::overlay::decisions::TurnedOff;
use offramp_core::vf::Claim;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

impl Node {
    /// The state, for `offrampd status`.
    pub fn status(&self) -> Status {
        let (ranges, attachments, outside) = {
            let allocator = self.allocator();
            (allocator.ranges(), allocator.counts(), allocator.outside())
        };
        let outside = (outside > 0).then(|| {
            format!(
                "{outside} addresses of pods are in none of this node's podCIDRs: it was given others; these pods must \
                 be made anew"
            )
        });
        let short = ranges.iter().filter_map(RangeStatus::problem);
        let (pools, vfs) = self.vfs();
        let queue_pools = self.queues(&self.nics.inventory()).unwrap_or_default().usage();
        let (queues, stuck) = self.queue_claims();
        let problems = short.chain(outside).chain(self.problems()).chain(stuck).collect();
        let watches = self.watches();
        let (overlay, path) = (self.overlay(), self.pair_told());
        let view = self.view();
        let loops = view.loops.iter().map(|(name, run)| LoopStatus {
            name: (*name).to_owned(),
            last_run: Some(run.at),
            repairs: run.repairs,
            health: run.health.clone(),
        });
        Status {
            node: NodeStatus {
                name: self.config.node.name.clone(),
                version: crate::VERSION.to_owned(),
                started: self.started,
                now: now(),
                underlay: view.underlay.clone(),
                uplink: view.uplink.clone(),
            },
            bridge: BridgeStatus {
                name: self.config.bridge.name.clone(),
                mtu: view.pod_mtu,
                gateways: self.gateways(),
                path,
                health: view.loops.get("bridge").map_or(Health::Ok, |run| run.health.clone()),
            },
            ranges,
            overlay,
            silent: view.silent.clone(),
            attachments,
            pools,
            vfs,
            queue_pools,
            queues,
            offload: view.offload.clone(),
            probes: self.probes.found(),
            reconcile: loops.collect(),
            watches,
            problems,
        }
    }

    fn overlay(&self) -> OverlayStatus {
        let (seen, left_out, tuned, big_tcp) = {
            let view = self.view();
            (view.overlay.clone(), view.left_out.clone(), view.tuned.clone(), view.big_tcp.clone())
        };
        let mode = || format!("{:?}", self.config.overlay.mode).to_lowercase();
        let nothing =
            || OverlayStatus { mode: mode(), device: None, peers: Vec::new(), decisions: Vec::new() };
        let turned_off = |cure: CureStatus| {
            let CureStatus { device, features, why, .. } = cure;
            TurnedOff { device, features, why }
        };
        let not_looked = || Some(Allowed::neither("the uplink was not looked at yet"));
        let known = Known {
            offloads: self.offloads.last(),
            configured_mtu: self.config.bridge.mtu,
            turned_off: self.probes.found().cures.into_iter().map(turned_off).collect(),
            tuned,
            big_tcp: big_tcp.or_else(not_looked).filter(|_| self.config.offloads.big_tcp),
        };
        seen.map_or_else(nothing, |seen| seen.status(&known, &left_out))
    }

    /// Asks the API which nodes say nothing of themselves, for [`Node::status`]. If it does not answer, what it last
    /// said stays.
    pub fn look_for_silent(&self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let Some(api) = self.api.get() else { return };
        match api.node_names(PATIENCE) {
            Ok(names) => {
                let claims = self.claims().names();
                let own = &self.config.node.name;
                let silent = names.into_iter().filter(|n| n != own && !claims.contains(n.as_str())).collect();
                self.view().silent = silent;
            }
            Err(why) => tracing::debug!(why, "cannot ask for all Nodes"),
        }
    }

    /// How the pools stand, and the VFs that are not free: claims as they are now, what is wrong with them as the
    /// cleaner last found it.
    fn vfs(&self) -> (Vec<Usage>, Vec<VfStatus>) {
        let claimed = self.store.claims().list().unwrap_or_default();
        let pools = usage(&self.config.pools, &self.nics.inventory(), &taken(&claimed));
        let view = self.view();
        let problem = |claim: &Claim| {
            let known = view.vfs.iter().find(|vf| vf.claim == *claim)?;
            known.problem.clone()
        };
        let status = |claim: Claim| VfStatus { problem: problem(&claim), claim };
        (pools, claimed.claims.into_iter().map(status).collect())
    }

    /// What an operator should look at, besides ranges that run short.
    fn problems(&self) -> Vec<String> {
        let broken = self.broken_promises();
        let watches = self.watches();
        let watches = watches.into_iter().filter_map(|watch| match watch.health {
            Health::Failed { reason } => Some(reason),
            Health::Ok => None,
        });
        let view = self.view();
        let failed = view.loops.iter().filter_map(|(name, run)| match &run.health {
            Health::Failed { reason } => Some(format!("{name}: {reason}")),
            Health::Ok => None,
        });
        let left_out = view.left_out.iter().map(ToString::to_string);
        let files = view.unreadable.iter().chain(&view.unreadable_claims).cloned();
        let vfs = view.vfs.iter().filter_map(|vf| vf.problem.clone());
        let nics = view.nic_report.problems.iter().cloned();
        let unknown = view.eswitch.iter().filter_map(|(port, report)| report.problem(port));
        let slow = view.offload.iter().filter_map(PortOffload::problem);
        let peers = left_out.chain(view.peers_fault.clone()).chain(view.cluster_faults.values().cloned());
        let cut_off = view.cut_off.iter().cloned().chain(view.shadowed.clone());
        failed
            .chain(peers)
            .chain(watches)
            .chain(files)
            .chain(nics)
            .chain(vfs)
            .chain(cut_off)
            .chain(unknown)
            .chain(slow)
            .chain(broken)
            .collect()
    }

    /// Why a plain pod could not be attached now; empty: it could.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let failed = |name: &str| match &self.view().loops.get(name)?.health {
            Health::Failed { reason } => Some(format!("{name}: {reason}")),
            Health::Ok => None,
        };
        if !self.view().loops.contains_key("bridge") {
            reasons.push("the bridge is not there yet".to_owned());
        }
        reasons.extend(failed("bridge"));
        // Without the check of sources no pod is routed to.
        let is_routed = self.config.path.is_routed() && self.view().no_netkit.is_none();
        reasons.extend(failed("firewall").filter(|_| is_routed));
        if self.needs_uplink() && self.view().pod_mtu.is_none() {
            reasons.push("the pods' MTU is not known yet: no uplink to the peers was found".to_owned());
        }
        reasons.extend(self.any_pair().err().map(|e| e.msg));
        let exhausted = || self.allocator().pick(&[]).err().map(|e| e.to_string());
        // The plugin may have detached something without us: the records tell.
        let exhausted =
            exhausted().and_then(|_| self.refresh().map_or_else(|e| Some(e.to_string()), |()| exhausted()));
        reasons.extend(exhausted);
        reasons
    }
}

impl Node {
    /// Whether there are other nodes: then a pod with the kernel's MTU of 1500 would lose its large packets in the tunnel.
    fn needs_uplink(&self) -> bool {
        let peers = match &self.config.source {
            Source::Standalone(source) => source.peers_file.is_some(),
            Source::Kubernetes(_) => true,
        };
        peers && self.config.overlay.mode != OverlayMode::None
    }
}

/// For health checks and Prometheus.
pub struct NodeProbe(pub Arc<Node>);

impl Probe for NodeProbe {
    fn not_ready(&self) -> Vec<String> {
        self.0.not_ready()
    }

    fn refresh(&self) -> Option<oneshot::Receiver<()>> {
        Some(self.0.traffic.refresh())
    }

    fn observe(&self, metrics: &Metrics) {
        let status = self.0.status();
        metrics.set_attachments(&status.attachments);
        metrics.set_vfs(&status.pools);
        metrics.set_queues(&status.queue_pools);
        metrics.set_probes(&status.probes);
        metrics.set_offloads(&self.0.offloads.last());
        let report = self.0.view().nic_report.clone();
        metrics.set_nic_ports(report.as_ruled, report.otherwise);
        metrics.set_ranges(&status.ranges);
        metrics.set_watches(&status.watches, status.node.now);
        let (statuses, events) = self.0.outbox.depth();
        metrics.set_outbox(statuses, events);
        let failed = status.overlay.peers.iter().filter(|p| p.health != Health::Ok).count() as u64;
        metrics.set_eswitch(self.0.view().eswitch.iter().map(|(port, r)| (port, r.known, r.left_out.len())));
        metrics.set_peers(status.overlay.peers.len() as u64 - failed, failed);
    }
}
