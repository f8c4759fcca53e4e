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
    totals.seen(&key, &of_pf, Bytes { rx: 1, tx: 1 }, Some(Bytes::default()));
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
fn told(text: &str) -> Told<'_> {
    let mut all = Told::new();
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

type Told<'a> = BTreeMap<&'a str, BTreeSet<(&'a str, &'a str)>>;

/// What is wrong with a query of the dashboard. One that is not understood is wrong.
fn fault(query: &str, legend: &str, told: &Told<'_>) -> Option<String> {
    check(query, legend, told).err()
}

fn check(query: &str, legend: &str, told: &Told<'_>) -> Result<(), String> {
    let mut labels = BTreeSet::new();
    for part in query.match_indices("offramp_").map(|(at, _)| &query[at..]) {
        labels.extend(selected(part, told)?);
    }
    if labels.is_empty() {
        return Err("no metric".into());
    }
    let mut grouped = BTreeSet::new();
    for (at, by) in query.match_indices("by (") {
        let (list, _) = query[at + by.len()..].split_once(')').ok_or("by ( without an end")?;
        grouped.extend(list.split(", "));
    }
    if let Some(label) = grouped.iter().find(|label| !labels.contains(*label)) {
        return Err(format!("by {label}"));
    }
    for (at, _) in legend.match_indices("{{") {
        let (label, _) = legend[at + 2..].split_once("}}").ok_or("{{ without an end")?;
        if !grouped.contains(label) {
            return Err(format!("legend {label}"));
        }
    }
    Ok(())
}

/// The labels of what a query selects, which begins with a metric's name.
fn selected<'a>(part: &str, told: &Told<'a>) -> Result<BTreeSet<&'a str>, String> {
    let (name, rest) = part.split_once('{').ok_or_else(|| format!("no matchers: {part}"))?;
    let metric = told.get(name).ok_or_else(|| format!("there is no metric {name}"))?;
    let (matchers, _) = rest.split_once('}').ok_or_else(|| format!("no end of the matchers: {part}"))?;
    for matcher in matchers.split(", ") {
        let (label, value) = matcher.split_once('=').ok_or_else(|| format!("no matcher: {matcher}"))?;
        if !is_label(metric, label) {
            return Err(format!("{name} has no label {label}"));
        }
        // By a pattern, or by this value alone.
        let quoted = value.strip_prefix('~').unwrap_or(value);
        let text = quoted.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        let text = text.ok_or_else(|| format!("no value: {matcher}"))?;
        if quoted == value && !metric.contains(&(label, text)) {
            return Err(format!("{name} is never {matcher}"));
        }
    }
    Ok(metric.iter().map(|(label, _)| *label).chain(["node"]).collect())
}

/// What is wrong with the query of a variable: `label_values(METRIC, LABEL)`.
fn variable_fault(query: &str, told: &Told<'_>) -> Option<String> {
    let inner = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')'));
    let Some((metric, label)) = inner.and_then(|inner| inner.split_once(", ")) else {
        return Some(format!("not understood: {query}"));
    };
    match told.get(metric) {
        None => Some(format!("there is no metric {metric}")),
        Some(metric) => (!is_label(metric, label)).then(|| format!("it has no label {label}")),
    }
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
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let asked: Vec<&str> = variables.filter_map(|v| v["query"]["query"].as_str()).collect();
    assert_eq!(asked.iter().map(|q| variable_fault(q, &told)).collect::<Vec<_>>(), [None]);
    for wrong in ["label_values(offramp_builds, node)", "label_values(offramp_vfs, port)", "query_result(x)"]
    {
        assert!(variable_fault(wrong, &told).is_some(), "{wrong}");
    }
    for (wrong, why) in [
        ("sum(offramp_pods{node=~\"$node\"})", "there is no metric offramp_pods"),
        ("sum(offramp_vfs{port=\"a\"})", "offramp_vfs has no label port"),
        ("sum(offramp_vfs{state=\"busy\"})", "offramp_vfs is never state=\"busy\""),
        ("sum by (pf) (offramp_vfs{state=\"free\"})", "by pf"),
        ("sum(offramp_vfs)", "no matchers: offramp_vfs)"),
        ("sum(offramp_vfs{state=\"free\")", "no end of the matchers: offramp_vfs{state=\"free\")"),
        ("sum(offramp_vfs{state})", "no matcher: state"),
        ("sum(offramp_vfs{state=free})", "no value: state=free"),
        ("sum(up)", "no metric"),
    ] {
        assert_eq!(fault(wrong, "", &told).as_deref(), Some(why));
    }
}
