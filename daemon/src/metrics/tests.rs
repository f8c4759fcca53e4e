use super::*;
use offramp_core::lend::{Reason, Why};
use offramp_core::record::State;
use offramp_core::traffic::{Bytes, Key, Label, Totals};
use std::collections::{BTreeMap, BTreeSet};

/// Every metric has a series.
fn one_of_each() -> Metrics {
    let m = Metrics::new("1.2.3");
    m.added(Path::Veth, Outcome::Ok, Some(Duration::from_micros(1500)));
    m.added(Path::Veth, Outcome::Error, None);
    m.released(Some(Path::Vf), Outcome::Ok, Duration::from_micros(300));
    m.released(None, Outcome::Ok, Duration::from_micros(300));
    m.reconciled("overlay", Outcome::Ok, 2);
    m.reconciled("bridge", Outcome::Error, 0);
    m.nft(Duration::from_millis(5));
    m.set_attachments(&[AttachmentCount { path: Path::Veth, state: State::Ready, count: 7 }]);
    m.set_ranges(&[RangeStatus { subnet: "fd00::/64".parse().unwrap(), used: 3, capacity: u64::MAX }]);
    m.set_peers(2, 1);
    let fast = Usage { total: 6, lent: 3, quarantine: 1, ..Usage::default() };
    let unusable = [("without a driver".to_owned(), 2)].into();
    m.set_vfs(&[Usage { pool: "fast".parse().ok(), unusable, ..fast }]);
    m.set_nic_ports(1, 2);
    let offloads = serde_json::json!({
        "kernel": {"netkit": {"is": "there"}, "tcx": {"is": "missing", "why": "x"}, "vlan": {"is": "unknown", "why": "y"}},
        "devices": {"nic0": {"kind": "port", "features": {"tx-udp-segmentation": {"on": true}, "hw-tc-offload": {"on": false}},
            "channels": {"combined": 2, "maxCombined": 8}}},
    });
    m.set_offloads(&serde_json::from_value(offloads).unwrap());
    let why = Why::NoVfs;
    let reason = Reason { ifname: "net1".parse().unwrap(), pool: None, pf: None, why };
    m.refused(&Refusal { reasons: vec![reason.clone(), reason], waiting_helps: false });
    m.cleaned(Outcome::Error, Duration::from_millis(80));
    m.set_eswitch([(&"nic0".parse().unwrap(), 20, 5)].into_iter());
    let watch = |name: &str, last_event: Option<u64>| WatchStatus {
        name: name.into(),
        up: last_event.is_some(),
        last_event,
        health: crate::status::Health::Ok,
    };
    m.set_watches(&[watch("pods", Some(90)), watch("nodes", None)], 100);
    m.watch_failed("nodes");
    m.set_outbox(3, 1);
    m.told(Message::Event, Fate::Limited);
    m.released(None, Outcome::Error, Duration::from_micros(300));
    m.set_counted(&BTreeMap::from([((Path::Vf, true), 1), ((Path::VfUserspace, false), 1)]));
    let mut totals = Totals::default();
    let key = Key { attachment: "c@eth0".parse().unwrap(), created: 1, ifname: "eth0".parse().unwrap() };
    let of_pf = Label { path: Path::Vf, pf: "ens1f0".parse().ok() };
    totals.seen(&key, &of_pf, Bytes { rx: 1, tx: 1 }, true);
    m.set_traffic(&totals);
    m
}

#[test]
fn the_text_has_the_documented_names() {
    let text = one_of_each().encode().unwrap();
    for line in [
        "offramp_build_info{version=\"1.2.3\"} 1",
        "offramp_attachments{state=\"ready\",path=\"veth\"} 7",
        "offramp_ipam_addresses{range=\"fd00::/64\",state=\"used\"} 3",
        "offramp_ipam_addresses{range=\"fd00::/64\",state=\"capacity\"} 9223372036854775807",
        "offramp_peers{state=\"ok\"} 2",
        "offramp_offload{device=\"nic0\",kind=\"port\",offload=\"udp-gso\"} 1",
        "offramp_offload{device=\"nic0\",kind=\"port\",offload=\"tc\"} 0",
        "offramp_nic_queues{device=\"nic0\",state=\"most\"} 8",
        "offramp_kernel_ability{ability=\"netkit\"} 1",
        "offramp_kernel_ability{ability=\"tcx\"} 0",
        "offramp_eswitch_macs{port=\"nic0\",state=\"known\"} 20",
        "offramp_eswitch_macs{port=\"nic0\",state=\"left-out\"} 5",
        "offramp_peers{state=\"failed\"} 1",
        "offramp_adds_total{path=\"veth\",outcome=\"ok\"} 1",
        "offramp_adds_total{path=\"veth\",outcome=\"error\"} 1",
        "offramp_add_seconds_bucket{le=\"0.001\",path=\"veth\"} 0",
        "offramp_add_seconds_bucket{le=\"0.002\",path=\"veth\"} 1",
        "offramp_releases_total{outcome=\"ok\",path=\"vf\"} 1",
        "offramp_releases_total{outcome=\"ok\",path=\"none\"} 1",
        "offramp_release_seconds_count{path=\"vf\"} 1",
        "offramp_reconcile_runs_total{what=\"overlay\",outcome=\"ok\"} 1",
        "offramp_repairs_total{what=\"overlay\"} 2",
        "offramp_nft_seconds_count 1",
        "offramp_vfs{pool=\"fast\",state=\"free\"} 0",
        "offramp_vfs{pool=\"fast\",state=\"lent\"} 3",
        "offramp_vfs{pool=\"fast\",state=\"quarantine\"} 1",
        "offramp_vfs{pool=\"fast\",state=\"unusable\"} 2",
        "offramp_nic_ports{state=\"failed\"} 2",
        "offramp_lend_refusals_total{reason=\"no-pool\"} 1",
        "offramp_vf_cleanings_total{outcome=\"error\"} 1",
        "offramp_vf_cleaning_seconds_count 1",
        "offramp_watch_up{watch=\"pods\"} 1",
        "offramp_watch_up{watch=\"nodes\"} 0",
        "offramp_watch_event_age_seconds{watch=\"pods\"} 10",
        "offramp_watch_faults_total{watch=\"nodes\"} 1",
        "offramp_outbox_waiting{what=\"status\"} 3",
        "offramp_outbox_messages_total{what=\"event\",outcome=\"limited\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_is_gone_is_not_told_any_more() {
    let m = Metrics::new("1");
    m.set_attachments(&[AttachmentCount { path: Path::Veth, state: State::Adding, count: 1 }]);
    m.set_attachments(&[]);
    assert!(!m.encode().unwrap().contains("offramp_attachments{"));
}

/// A metric's labels with their values, of what the daemon tells Prometheus.
fn told(text: &str) -> BTreeMap<&str, BTreeSet<(&str, &str)>> {
    let mut all: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(['{', ' ']).unwrap();
        let labels = rest.split_once('}').map_or("", |(labels, _)| labels);
        let pairs = labels.split("\",").filter_map(|pair| pair.split_once("=\""));
        all.entry(name).or_default().extend(pairs.map(|(k, v)| (k, v.trim_end_matches('"'))));
    }
    all
}

/// Prometheus adds `node`, by the PodMonitor.
fn is_label(metric: &BTreeSet<(&str, &str)>, label: &str) -> bool {
    label == "node" || metric.iter().any(|(name, _)| *name == label)
}

/// What is wrong with a query of the dashboard.
fn fault(query: &str, legend: &str, told: &BTreeMap<&str, BTreeSet<(&str, &str)>>) -> Option<String> {
    let mut labels = BTreeSet::new();
    let mut metrics = 0;
    for part in query.match_indices("offramp_").map(|(at, _)| &query[at..]) {
        let (name, rest) = part.split_once('{')?;
        let Some(metric) = told.get(name) else { return Some(format!("there is no metric {name}")) };
        metrics += 1;
        labels.extend(metric.iter().map(|(label, _)| *label).chain(["node"]));
        for matcher in rest.split_once('}')?.0.split(", ") {
            let (label, value) = matcher.split_once('=')?;
            if !is_label(metric, label) {
                return Some(format!("{name} has no label {label}"));
            }
            let exact = value.strip_prefix('"').map(|value| value.trim_end_matches('"'));
            if exact.is_some_and(|value| !metric.contains(&(label, value))) {
                return Some(format!("{name} is never {matcher}"));
            }
        }
    }
    let listed = query.match_indices("by (").flat_map(|(at, by)| query[at + by.len()..].split_once(')'));
    let grouped: BTreeSet<&str> = listed.flat_map(|(list, _)| list.split(", ")).collect();
    let shown = legend.match_indices("{{").filter_map(|(at, _)| Some(legend[at + 2..].split_once("}}")?.0));
    let unknown = grouped.iter().find(|label| !labels.contains(*label)).map(|l| format!("by {l}"));
    let hidden = shown.filter(|label| !grouped.contains(label)).map(|l| format!("legend {l}")).next();
    unknown.or(hidden).or_else(|| (metrics == 0).then(|| "no metric".into()))
}

/// A metric that is renamed would leave a panel empty, and nobody would be told.
#[test]
fn the_dashboard_asks_for_what_there_is() {
    let text = one_of_each().encode().unwrap();
    let told = told(&text);
    let file = include_str!("../../../manifests/components/grafana/offramp.json");
    let dashboard: serde_json::Value = serde_json::from_str(file).unwrap();
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let text = |key: &str| target[key].as_str().unwrap();
            assert_eq!(fault(text("expr"), text("legendFormat"), &told), None, "{}", text("expr"));
            queries += 1;
        }
    }
    assert!(queries >= 15, "{queries}");
    for (wrong, why) in [
        ("sum(offramp_pods{node=~\"$node\"})", "there is no metric offramp_pods"),
        ("sum(offramp_vfs{port=\"a\"})", "offramp_vfs has no label port"),
        ("sum(offramp_vfs{state=\"busy\"})", "offramp_vfs is never state=\"busy\""),
        ("sum by (pf) (offramp_vfs{state=\"free\"})", "by pf"),
    ] {
        assert_eq!(fault(wrong, "", &told).as_deref(), Some(why));
    }
}
