//! Of what pods move.

use super::labels::{BytesLabel, Counters, CountersLabel, Direction, VfBytesLabel};
use super::{Metrics, gauge};
use offramp_core::plan::Path;
use offramp_core::traffic::{Bytes, Totals};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::atomic::Ordering;

/// By path and by port, not by pod: pods come and go, and kubelet has a counter of each.
pub(super) struct TrafficMetrics {
    pods: Family<BytesLabel, Counter>,
    vfs: Family<VfBytesLabel, Counter>,
    interfaces: Family<CountersLabel, Gauge>,
}

impl Default for TrafficMetrics {
    fn default() -> Self {
        let new = Self { pods: Family::default(), vfs: Family::default(), interfaces: Family::default() };
        // The first bytes are a rise from 0.
        for path in [Path::Veth, Path::Netkit, Path::NetkitL3, Path::Queues, Path::Vf, Path::VfUserspace] {
            new.set_path(path, Bytes::default());
        }
        new
    }
}

impl TrafficMetrics {
    pub(super) fn register(&self, r: &mut Registry) {
        let Self { pods, vfs, interfaces } = self;
        let help = "Bytes that pods' interfaces moved while this daemon ran, as pods see them";
        r.register("pod_bytes", help, pods.clone());
        r.register("vf_bytes", "Of them, those that VFs of a port moved", vfs.clone());
        let help = "Interfaces of pods whose bytes somebody counts, or nobody";
        r.register("pod_interfaces", help, interfaces.clone());
    }

    fn set_path(&self, path: Path, bytes: Bytes) {
        let label = |direction| BytesLabel { path: path.to_string(), direction };
        set(&self.pods, label, bytes);
    }
}

fn set<L: Clone + Eq + Hash>(family: &Family<L, Counter>, label: impl Fn(Direction) -> L, bytes: Bytes) {
    for (direction, total) in [(Direction::Received, bytes.rx), (Direction::Sent, bytes.tx)] {
        family.get_or_create(&label(direction)).inner().store(total, Ordering::Relaxed);
    }
}

impl Metrics {
    /// What was moved so far.
    pub fn set_traffic(&self, totals: &Totals) {
        let (mut paths, mut pfs) = (BTreeMap::<Path, Bytes>::new(), BTreeMap::new());
        for (label, bytes) in totals.totals() {
            let path = paths.entry(label.path).or_default();
            *path = path.plus(bytes);
            if let Some(pf) = &label.pf {
                let pf: &mut Bytes = pfs.entry(pf).or_default();
                *pf = pf.plus(bytes);
            }
        }
        for (path, bytes) in paths {
            self.traffic.set_path(path, bytes);
        }
        for (pf, bytes) in pfs {
            let label = |direction| VfBytesLabel { pf: pf.to_string(), direction };
            set(&self.traffic.vfs, label, bytes);
        }
    }

    /// How many interfaces are counted, and how many not; those that are not named are gone.
    pub fn set_counted(&self, interfaces: &BTreeMap<(Path, bool), u64>) {
        self.traffic.interfaces.clear();
        for ((path, read), count) in interfaces {
            let counters = if *read { Counters::Read } else { Counters::Unknown };
            let label = CountersLabel { path: path.to_string(), counters };
            self.traffic.interfaces.get_or_create(&label).set(gauge(*count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use offramp_core::traffic::{Key, Label};

    #[test]
    fn bytes_by_path_and_by_port() {
        let m = Metrics::new("1");
        assert!(
            m.encode().unwrap().contains("offramp_pod_bytes_total{path=\"vf\",direction=\"received\"} 0\n")
        );
        let mut totals = Totals::default();
        let key =
            |n| Key { attachment: "c@eth0".parse().unwrap(), created: n, ifname: "eth0".parse().unwrap() };
        let of = |pf: &str| Label { path: Path::Vf, pf: pf.parse().ok() };
        let bytes = |rx, tx| Bytes { rx, tx };
        totals.seen(&key(1), &of("ens1f0"), bytes(100, 1), Some(Bytes::default()));
        totals.seen(&key(2), &of("ens1f1"), bytes(200, 2), Some(Bytes::default()));
        totals.end(key(3), &Label { path: Path::Veth, pf: None }, Some(bytes(7, 8)), Some(Bytes::default()));
        m.set_traffic(&totals);
        m.set_counted(&BTreeMap::from([((Path::Vf, true), 2), ((Path::VfUserspace, false), 1)]));
        let text = m.encode().unwrap();
        for line in [
            "offramp_pod_bytes_total{path=\"vf\",direction=\"received\"} 300",
            "offramp_pod_bytes_total{path=\"vf\",direction=\"sent\"} 3",
            "offramp_pod_bytes_total{path=\"veth\",direction=\"sent\"} 8",
            "offramp_vf_bytes_total{pf=\"ens1f1\",direction=\"received\"} 200",
            "offramp_pod_interfaces{path=\"vf\",counters=\"read\"} 2",
            "offramp_pod_interfaces{path=\"vf-userspace\",counters=\"unknown\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
