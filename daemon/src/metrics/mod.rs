//! What Prometheus is told. Names follow <https://prometheus.io/docs/practices/naming/>.

mod labels;
mod offloads;
mod probe;
mod traffic;

pub use labels::{Fate, Message, Outcome, PeerState};

use crate::status::{AttachmentCount, RangeStatus, WatchStatus};
use labels::{
    AttachmentLabels, Build, Known, LoopOutcome, MessageFate, MessageLabel, OutcomeLabel, PathLabel,
    PathOutcome, PeerLabel, PortLabel, Range, Reason, ReleaseLabel, Ruled, RuledLabel, Use, VfLabel, VfState,
    WatchLabel, What,
};
use offloads::OffloadMetrics;
use offramp_core::IfName;
use offramp_core::lend::{Refusal, Usage};
use offramp_core::offload::Offloads;
use offramp_core::plan::Path;
use probe::ProbeMetrics;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;
use traffic::TrafficMetrics;

/// Upper bounds in seconds: an ADD takes about 2 ms, a DEL less; a runtime gives up after minutes.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2.0, 10.0];

/// All metrics of the daemon. Counters are counted where things happen; gauges are set by whoever knows them,
/// just before they are read ([`crate::http::Probe::observe`]).
pub struct Metrics {
    registry: Registry,
    attachments: Family<AttachmentLabels, Gauge>,
    addresses: Family<Range, Gauge>,
    peers: Family<PeerLabel, Gauge>,
    eswitch: Family<PortLabel, Gauge>,
    adds: Family<PathOutcome, Counter>,
    add_time: Family<PathLabel, Histogram, fn() -> Histogram>,
    releases: Family<ReleaseLabel, Counter>,
    release_time: Family<PathLabel, Histogram, fn() -> Histogram>,
    runs: Family<LoopOutcome, Counter>,
    repairs: Family<What, Counter>,
    nft_time: Histogram,
    vfs: Family<VfLabel, Gauge>,
    queues: Family<VfLabel, Gauge>,
    nic_ports: Family<RuledLabel, Gauge>,
    refusals: Family<Reason, Counter>,
    cleanings: Family<OutcomeLabel, Counter>,
    cleaning_time: Histogram,
    offloads: OffloadMetrics,
    api: ApiMetrics,
    probes: ProbeMetrics,
    traffic: TrafficMetrics,
}

/// Of what the Kubernetes API tells, and is told.
#[derive(Default)]
struct ApiMetrics {
    watch_up: Family<WatchLabel, Gauge>,
    watch_age: Family<WatchLabel, Gauge>,
    watch_faults: Family<WatchLabel, Counter>,
    waiting: Family<MessageLabel, Gauge>,
    told: Family<MessageFate, Counter>,
}

impl ApiMetrics {
    fn register(&self, r: &mut Registry) {
        let Self { watch_up, watch_age, watch_faults, waiting, told } = self;
        r.register("watch_up", "Whether a watch of the Kubernetes API tells what changes", watch_up.clone());
        let help = "Time since a watch last told something";
        r.register_with_unit("watch_event_age", help, Unit::Seconds, watch_age.clone());
        let help = "Lists and watches that the Kubernetes API has not answered, or has broken off";
        r.register("watch_faults", help, watch_faults.clone());
        let help = "What pods are to be told and the Kubernetes API does not have yet";
        r.register("outbox_waiting", help, waiting.clone());
        r.register("outbox_messages", "What pods were told, or not", told.clone());
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Metrics {
    /// Metrics at zero.
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::with_prefix("offramp");
        let build = Build { version: version.to_owned() };
        registry.register("build", "The daemon's version", Info::new(build));
        let mut metrics = Self {
            registry,
            attachments: Family::default(),
            addresses: Family::default(),
            peers: Family::default(),
            eswitch: Family::default(),
            adds: Family::default(),
            add_time: Family::new_with_constructor(seconds),
            releases: Family::default(),
            release_time: Family::new_with_constructor(seconds),
            runs: Family::default(),
            repairs: Family::default(),
            nft_time: seconds(),
            vfs: Family::default(),
            queues: Family::default(),
            nic_ports: Family::default(),
            refusals: Family::default(),
            cleanings: Family::default(),
            cleaning_time: seconds(),
            offloads: OffloadMetrics::default(),
            api: ApiMetrics::default(),
            probes: ProbeMetrics::default(),
            traffic: TrafficMetrics::default(),
        };
        metrics.register_all();
        metrics
    }

    /// The library adds `_total` to counters and the unit to the others.
    fn register_all(&mut self) {
        let Self {
            registry: r,
            attachments,
            addresses,
            peers,
            eswitch,
            adds,
            add_time,
            releases,
            release_time,
            runs,
            repairs,
            nft_time,
            vfs,
            queues,
            nic_ports,
            refusals,
            cleanings,
            cleaning_time,
            offloads,
            api,
            probes,
            traffic,
        } = self;
        r.register("attachments", "Attachments on this node", attachments.clone());
        r.register("ipam_addresses", "Addresses of a range, used and in all", addresses.clone());
        r.register("peers", "Other nodes that are reachable, or not", peers.clone());
        let help = "MACs behind a bridge that a PF's embedded switch knows, or has no room for";
        r.register("eswitch_macs", help, eswitch.clone());
        r.register("adds", "Attachments that were asked for", adds.clone());
        r.register_with_unit(
            "add",
            "Time of an ADD, from the plugin's start",
            Unit::Seconds,
            add_time.clone(),
        );
        r.register("releases", "Attachments that were taken back", releases.clone());
        let help = "Time to take an attachment back";
        r.register_with_unit("release", help, Unit::Seconds, release_time.clone());
        r.register("reconcile_runs", "Comparisons of what is with what should be", runs.clone());
        r.register("repairs", "Things that were found missing or wrong, and mended", repairs.clone());
        r.register_with_unit("nft", "Time of one nftables transaction", Unit::Seconds, nft_time.clone());
        r.register("vfs", "VFs by pool", vfs.clone());
        r.register("queues", "Queues by pool", queues.clone());
        r.register("nic_ports", "Ports that are as nics wants them, or not", nic_ports.clone());
        let help = "Pods that got no VF, by each kind of reason that there was";
        r.register("lend_refusals", help, refusals.clone());
        r.register("vf_cleanings", "Attempts to clean a VF", cleanings.clone());
        let help = "Time of one attempt to clean a VF";
        r.register_with_unit("vf_cleaning", help, Unit::Seconds, cleaning_time.clone());
        offloads.register(r);
        api.register(r);
        probes.register(r);
        traffic.register(r);
    }

    /// An ADD ended; `time` from the plugin's start, for those that succeeded.
    pub fn added(&self, path: Path, outcome: Outcome, time: Option<Duration>) {
        self.adds.get_or_create(&PathOutcome { path: path.to_string(), outcome }).inc();
        if let Some(time) = time {
            self.add_time.get_or_create(&PathLabel { path: path.to_string() }).observe(time.as_secs_f64());
        }
    }

    /// An attachment was taken back, or not; none: nothing was left of it.
    pub fn released(&self, path: Option<Path>, outcome: Outcome, time: Duration) {
        let path = path.map_or_else(|| "none".to_owned(), |path| path.to_string());
        self.releases.get_or_create(&ReleaseLabel { outcome, path: path.clone() }).inc();
        self.release_time.get_or_create(&PathLabel { path }).observe(time.as_secs_f64());
    }

    /// A run of something regular ended; `repairs` is what it mended.
    pub fn reconciled(&self, what: &'static str, outcome: Outcome, repairs: u64) {
        self.runs.get_or_create(&LoopOutcome { what, outcome }).inc();
        self.repairs.get_or_create(&What { what }).inc_by(repairs);
    }

    /// An nftables transaction took `time`.
    pub fn nft(&self, time: Duration) {
        self.nft_time.observe(time.as_secs_f64());
    }

    /// An attempt to clean a VF ended.
    pub fn cleaned(&self, outcome: Outcome, time: Duration) {
        self.cleanings.get_or_create(&OutcomeLabel { outcome }).inc();
        self.cleaning_time.observe(time.as_secs_f64());
    }

    /// A pod got no VF.
    pub fn refused(&self, refusal: &Refusal) {
        for reason in refusal.kinds() {
            self.refusals.get_or_create(&Reason { reason }).inc();
        }
    }

    /// A list or a watch of the API has failed.
    pub fn watch_failed(&self, watch: &str) {
        self.api.watch_faults.get_or_create(&WatchLabel { watch: watch.to_owned() }).inc();
    }

    /// What became of something that a pod was to be told.
    pub fn told(&self, what: Message, outcome: Fate) {
        self.api.told.get_or_create(&MessageFate { what, outcome }).inc();
    }

    /// How the watches stand at `now`, in seconds since 1970; those that are not named are not there.
    pub fn set_watches(&self, watches: &[WatchStatus], now: u64) {
        let ApiMetrics { watch_up, watch_age, .. } = &self.api;
        watch_up.clear();
        watch_age.clear();
        for watch in watches {
            let label = WatchLabel { watch: watch.name.clone() };
            watch_up.get_or_create(&label).set(i64::from(watch.up));
            if let Some(at) = watch.last_event {
                watch_age.get_or_create(&label).set(gauge(now.saturating_sub(at)));
            }
        }
    }

    /// How much waits for the API.
    pub fn set_outbox(&self, statuses: usize, events: usize) {
        for (what, count) in [(Message::Status, statuses), (Message::Event, events)] {
            self.api.waiting.get_or_create(&MessageLabel { what }).set(gauge(count as u64));
        }
    }

    /// How the pools stand; those that are not named are gone.
    pub fn set_vfs(&self, pools: &[Usage]) {
        set_usage(&self.vfs, pools);
    }

    /// Likewise the pools of queues.
    pub fn set_queues(&self, pools: &[Usage]) {
        set_usage(&self.queues, pools);
    }

    /// How many ports are as the configuration wants them, and how many not.
    pub fn set_nic_ports(&self, as_ruled: u64, otherwise: u64) {
        for (state, count) in [(Ruled::Ok, as_ruled), (Ruled::Failed, otherwise)] {
            self.nic_ports.get_or_create(&RuledLabel { state }).set(gauge(count));
        }
    }

    /// What NICs and kernel can take off the CPU; what is not named is not there.
    pub fn set_offloads(&self, offloads: &Offloads) {
        self.offloads.set(offloads);
    }

    /// How many attachments there are; kinds that are not named have none.
    pub fn set_attachments(&self, counts: &[AttachmentCount]) {
        self.attachments.clear();
        for AttachmentCount { path, state, count } in counts {
            let labels = AttachmentLabels { state: state.as_str(), path: path.to_string() };
            self.attachments.get_or_create(&labels).set(gauge(*count));
        }
    }

    /// How full the ranges are; ranges that are not named are gone.
    pub fn set_ranges(&self, ranges: &[RangeStatus]) {
        self.addresses.clear();
        for RangeStatus { subnet, used, capacity } in ranges {
            for (state, value) in [(Use::Used, used), (Use::Capacity, capacity)] {
                let labels = Range { range: subnet.to_string(), state };
                self.addresses.get_or_create(&labels).set(gauge(*value));
            }
        }
    }

    /// How many peers are reachable and how many are not.
    pub fn set_peers(&self, ok: u64, failed: u64) {
        for (state, count) in [(PeerState::Ok, ok), (PeerState::Failed, failed)] {
            self.peers.get_or_create(&PeerLabel { state }).set(gauge(count));
        }
    }

    /// How many MACs behind bridges each PF knows, and how many not; PFs that are not named have none.
    pub fn set_eswitch<'a>(&self, ports: impl Iterator<Item = (&'a IfName, usize, usize)>) {
        self.eswitch.clear();
        for (port, known, left_out) in ports {
            for (state, count) in [(Known::Known, known), (Known::LeftOut, left_out)] {
                let labels = PortLabel { port: port.to_string(), state };
                self.eswitch.get_or_create(&labels).set(gauge(count as u64));
            }
        }
    }

    /// All as text, for Prometheus.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn set_usage(family: &Family<VfLabel, Gauge>, pools: &[Usage]) {
    family.clear();
    for usage in pools {
        let pool = usage.pool.as_ref().map(ToString::to_string).unwrap_or_default();
        for (state, count) in [
            (VfState::Free, usage.free),
            (VfState::Lent, usage.lent),
            (VfState::Quarantine, usage.quarantine),
            (VfState::Unusable, usage.unusable.values().sum()),
        ] {
            family.get_or_create(&VfLabel { pool: pool.clone(), state }).set(gauge(count));
        }
    }
}

fn gauge(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
