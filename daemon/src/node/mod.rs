//! This node: what the daemon decides with. The records and the index over them change together, under one lock;
//! what waits for the kernel happens outside of it.

mod attach;
mod bridge;
mod claims;
mod cluster;
mod cut_off;
mod firewall;
mod lending;
mod pair;
mod ports;
mod promised;
mod queues;
mod status;
mod steering;
mod vf_routes;
mod watches;
mod wishes;

pub use claims::{Claim, Claims};
pub use cluster::Told;
pub use firewall::Applied;
pub use queues::Asked;
pub use status::NodeProbe;

use crate::allocator::Allocator;
use crate::calls::Calls;
use crate::cleaner::Bench;
use crate::config::{Config, Source};
use crate::devices::Devices;
use crate::metrics::Metrics;
use crate::networks::Definitions;
use crate::nics::NicWatch;
use crate::offloads::OffloadWatch;
use crate::pods::{Outbox, Pods};
use crate::status::Health;
use crate::traffic::{Metering, Sampler};
use crate::watch::Api;
use ipnetwork::IpNetwork;
use offramp_core::cni::CniError;
use offramp_core::ids::{AttachmentId, IfName, Mtu};
use offramp_core::ipam::Range;
use offramp_core::net::{Family, aggregate};
use offramp_core::peer::{Own, Peer, Peers, Problem};
use offramp_kernel::sysctl::Sysctl;
use offramp_kernel::sysfs::Sysfs;
use offramp_ledger::Store;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Attachments share these locks by hash; a node works on a few at once.
const WORKING: usize = 64;

/// Shared by all parts of the daemon.
pub struct Node {
    /// The configuration.
    pub config: Config,
    /// The records.
    pub store: Store,
    /// For Prometheus.
    pub metrics: Arc<Metrics>,
    /// What pods have moved.
    pub traffic: Sampler,
    /// What is being served.
    pub calls: Calls,
    /// Where VFs are cleaned.
    pub bench: Bench,
    /// The NICs.
    pub nics: NicWatch,
    /// What they can offload.
    pub offloads: OffloadWatch,
    /// The cluster's API, where the cluster's state comes from there; set before the first request is served.
    pub api: OnceLock<Api>,
    ranges: Mutex<Arc<[Range]>>,
    /// The pods of this node, as the API has them.
    pub pods: Pods,
    /// What pods are told.
    pub outbox: Outbox,
    /// Networks that pods can ask for.
    pub definitions: Definitions,
    /// The pools that kubelet lends.
    pub devices: Devices,
    /// What is known of what NICs promise.
    pub probes: crate::probe::Probes,
    claims: Mutex<Claims>,
    looks: tokio::sync::watch::Sender<()>,
    published: AtomicBool,
    started: u64,
    working: [Mutex<()>; WORKING],
    allocator: Mutex<Allocator>,
    /// What drivers have answered whether they lease queues.
    pub asked: Asked,
    steerers: steering::Answers,
    queues_due: Mutex<queues::Due>,
    /// Held while VFs and queues are chosen and claimed.
    lending: Mutex<()>,
    /// Interrupts that ports have refused to VFs.
    refusals: lending::Refusals,
    view: Mutex<View>,
}

/// What the loops have found out, for planning and for the command line.
#[derive(Default)]
pub struct View {
    /// Of new pods; none: the kernel's default.
    pub pod_mtu: Option<Mtu>,
    /// Why pods cannot have netkit pairs; none: they can, or need not.
    pub no_netkit: Option<String>,
    /// The last run of each loop.
    pub loops: BTreeMap<&'static str, Run>,
    /// The other nodes.
    pub peers: Peers,
    /// Where their pods are, in the fewest networks.
    pub remote: Arc<[IpNetwork]>,
    /// Those left out, and why.
    pub left_out: Vec<Problem>,
    /// Attachments that are dead, but for networks that only a plugin can take back.
    pub leftovers: Vec<AttachmentId>,
    /// Why the peers' file cannot be read.
    pub peers_fault: Option<String>,
    /// What the API last told of this node.
    pub told: Option<Told>,
    /// Whether its Node says that its network is unavailable, if it says anything; none: the Node is not known.
    pub said_unavailable: Option<Option<bool>>,
    /// Its labels of ours; none: the Node is not known.
    pub labels: Option<BTreeMap<String, String>>,
    /// Nodes that do not say how their pods are reached, as far as was asked for.
    pub silent: Vec<offramp_core::ids::NodeName>,
    /// What is wrong with what the API tells of this node, or why it does not answer.
    pub cluster_faults: BTreeMap<&'static str, String>,
    /// How the watches of the API stand.
    pub watches: BTreeMap<&'static str, watches::Watch>,
    /// What the overlay last said.
    pub overlay: Option<Arc<crate::overlay::Seen>>,
    /// What was set on devices.
    pub tuned: crate::tuning::Tuned,
    /// How large packets may be; none: that is left alone.
    pub big_tcp: Option<offramp_core::overlay::big_tcp::Allowed>,
    /// The underlay, as it was last found.
    pub uplink: Option<crate::status::LinkStatus>,
    /// This node's addresses on it.
    pub underlay: Vec<std::net::IpAddr>,
    /// What the embedded switches of PFs behind bridges know.
    pub eswitch: BTreeMap<IfName, crate::eswitch::Report>,
    /// What of bridges those in switchdev mode have taken over.
    pub offload: Vec<crate::eswitch::PortOffload>,
    /// Another network configuration that the runtime goes by.
    pub shadowed: Option<String>,
    /// Record files that are none.
    pub unreadable: Vec<String>,
    /// The VFs that are not free.
    pub vfs: Vec<crate::status::VfStatus>,
    /// Pods whose VF does not lead to the uplink any more.
    pub cut_off: Vec<String>,
    /// Pods whose packets are not led to their queues, or whose queues others' packets have too, and why.
    pub unsteered: Vec<String>,
    /// Claim files that are none.
    pub unreadable_claims: Vec<String>,
    /// Whether ports are as the configuration wants them, and pools as they should be.
    pub nic_report: crate::nics::manage::Report,
}

impl View {
    /// The other nodes are these.
    pub fn set_peers(&mut self, peers: Vec<Arc<Peer>>, left_out: Vec<Problem>) {
        self.remote = aggregate(peers.iter().flat_map(|p| p.pod_cidrs.iter().copied())).into();
        self.peers = peers.into();
        self.left_out = left_out;
    }
}

/// Whether whoever asks still waits for the answer.
pub type Caller<'a> = &'a dyn Fn() -> bool;

/// The daemon itself asks: it does not hang up.
pub const OURSELVES: Caller<'static> = &|| true;

/// How a loop's last run ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// In seconds since 1970.
    pub at: u64,
    /// Since the daemon started.
    pub repairs: u64,
    /// Whether it did what it should.
    pub health: Health,
}

impl Node {
    /// A node whose index is empty until [`Node::load`].
    pub fn new(config: Config, metrics: Arc<Metrics>) -> Self {
        let ranges: Arc<[Range]> = match &config.source {
            Source::Standalone(source) => source.ranges.clone().into(),
            Source::Kubernetes(_) => Arc::default(),
        };
        Self {
            store: Store::of_daemon(&config.paths.state_dir).with_sysfs(Sysfs::at(&config.paths.sysfs)),
            allocator: Mutex::new(Allocator::new(by_family(&ranges))),
            api: OnceLock::new(),
            ranges: Mutex::new(ranges),
            claims: Mutex::default(),
            looks: tokio::sync::watch::Sender::default(),
            published: AtomicBool::new(false),
            calls: Calls::default(),
            bench: Bench::default(),
            nics: NicWatch::new(Sysfs::at(&config.paths.sysfs)),
            offloads: OffloadWatch::default(),
            devices: Devices::new(&config),
            probes: crate::probe::Probes::default(),
            pods: Pods::default(),
            outbox: Outbox::new(matches!(config.source, Source::Kubernetes(_)), metrics.clone()),
            metrics,
            traffic: Sampler::default(),
            definitions: Definitions::new(&config.networks),
            started: now(),
            working: [const { Mutex::new(()) }; WORKING],
            asked: Asked::default(),
            steerers: steering::Answers::default(),
            queues_due: Mutex::default(),
            lending: Mutex::default(),
            refusals: lending::Refusals::default(),
            view: Mutex::default(),
            config,
        }
    }

    /// Reads the records into the index. Called before the first request is served.
    pub fn load(&self) -> Result<(), CniError> {
        self.store.create_dirs()?;
        self.recall();
        self.refresh()?;
        let mut records = self.store.list()?.records;
        records.sort_by_key(|r| r.created);
        let mut allocator = self.allocator();
        records.iter().for_each(|r| allocator.given(r));
        Ok(())
    }

    /// Brings the index up to what is on disk: a plugin may have detached without us.
    pub fn refresh(&self) -> Result<(), CniError> {
        let mut allocator = self.allocator();
        let (there, listing): (HashSet<_>, _) = (self.store.ids()?.into_iter().collect(), self.store.list()?);
        for id in allocator.ids() {
            // What is there and cannot be read keeps what it held.
            if !there.contains(&id) {
                allocator.forget(&id);
            }
        }
        listing.records.iter().for_each(|r| allocator.hold(r));
        drop(allocator);
        self.view().unreadable = listing.unreadable.iter().map(ToString::to_string).collect();
        Ok(())
    }

    /// The ranges of this node's pods; none: it has not been told them yet.
    pub fn ranges(&self) -> Arc<[Range]> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on pods get addresses of these; whether it had others. Who has an address keeps it.
    fn set_ranges(&self, ranges: &[Range]) -> bool {
        let mut allocator = self.allocator();
        let mut ours = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        if **ours == *ranges {
            return false;
        }
        *ours = ranges.into();
        allocator.set_ranges(by_family(ranges));
        true
    }

    /// What no peer may claim.
    pub fn own(&self) -> Own {
        let configured = &self.config.node.addresses;
        Own {
            name: self.config.node.name.clone(),
            addresses: if configured.is_empty() { self.view().underlay.clone() } else { configured.clone() },
            pod_cidrs: self.ranges().iter().map(|r| r.subnet).collect(),
        }
    }

    /// What a plugin is asked to take back, a few at a time.
    pub fn leftovers(&self) -> Vec<AttachmentId> {
        const AT_ONCE: usize = 8;
        self.view().leftovers.iter().take(AT_ONCE).cloned().collect()
    }

    /// Where NICs are looked for.
    pub fn sysfs(&self) -> Sysfs {
        Sysfs::at(&self.config.paths.sysfs)
    }

    /// The settings under `/proc/sys/net`, wherever they are mounted.
    pub fn sysctl(&self) -> Sysctl {
        Sysctl::at(&self.config.paths.sysctl)
    }

    /// What the loops know.
    pub fn view(&self) -> MutexGuard<'_, View> {
        // A panic elsewhere leaves plain values, which are still true.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A loop has run.
    pub fn ran(&self, name: &'static str, outcome: Result<u64, String>) {
        use crate::metrics::Outcome;
        let (repairs, health) = match outcome {
            Ok(repairs) => {
                if repairs > 0 {
                    tracing::info!(what = name, repairs, "repaired");
                }
                (repairs, Health::Ok)
            }
            Err(reason) => {
                tracing::warn!(what = name, %reason, "reconcile failed");
                (0, Health::Failed { reason })
            }
        };
        let kind = if health == Health::Ok { Outcome::Ok } else { Outcome::Error };
        self.metrics.reconciled(name, kind, repairs);
        let mut view = self.view();
        let before = view.loops.get(name).map_or(0, |r| r.repairs);
        view.loops.insert(name, Run { at: now(), repairs: before + repairs, health });
    }

    /// One thread at a time works on an attachment. Its lock does not see to that: it is its plugin's, and may be
    /// another's by the time that a thread notices the plugin's death.
    fn exclusively(&self, id: &AttachmentId, caller: Caller) -> Result<MutexGuard<'_, ()>, CniError> {
        let shard = (id.hash64() % WORKING as u64) as usize;
        let working = self.working[shard].lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been a long wait, and the attachment may be somebody else's by now.
        if caller() { Ok(working) } else { Err(CniError::try_again(format!("{id}: its caller has left"))) }
    }

    /// Tells of ranges that run short, once until an address is given while they do not.
    fn warn_of_short_ranges(&self, allocator: &mut Allocator) {
        for range in allocator.newly_short() {
            tracing::warn!(
                range = %range.subnet,
                used = range.used,
                capacity = range.capacity,
                "addresses run short: more than {} % are used",
                crate::status::RangeStatus::WARN_PERCENT
            );
        }
    }

    /// Brings the index up to what is on disk of one attachment. What cannot be read keeps what it held.
    fn index(&self, id: &AttachmentId) {
        let mut allocator = self.allocator();
        match self.store.read(id) {
            Ok(Some(record)) => allocator.hold(&record),
            Ok(None) => allocator.forget(id),
            Err(_) => {}
        }
    }

    /// Where the counters of an attachment's interfaces are.
    pub fn metering(&self, id: &AttachmentId) -> Option<Arc<Metering>> {
        self.allocator().metering(id)
    }

    /// Where the counters of all pods' interfaces are.
    pub fn meterings(&self) -> Vec<Arc<Metering>> {
        self.allocator().meterings()
    }

    /// Whether an attachment was made since the daemon began: all that it moved was moved since then.
    pub fn has_seen_begin(&self, created: u64) -> bool {
        created >= self.started
    }

    /// Nobody chooses or claims VFs for pods of node mode while it is held.
    pub fn lending(&self) -> MutexGuard<'_, ()> {
        self.lending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocator(&self) -> MutexGuard<'_, Allocator> {
        self.allocator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod gets one address of each set.
fn by_family(ranges: &[Range]) -> Vec<Vec<Range>> {
    let of = |family| ranges.iter().filter(move |r| Family::of(r.gateway) == family).copied();
    Family::ALL.into_iter().map(|f| of(f).collect::<Vec<_>>()).filter(|set| !set.is_empty()).collect()
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
