//! `offrampd status` as text.

use super::table::{fields, table};
use super::units::{count, join, plural, span};
use super::{probe, ways};
use crate::status::{Health, OverlayStatus, RangeStatus, Status, WatchStatus};
use offramp_core::lend::Usage;
use std::collections::BTreeMap;

/// The whole status.
pub fn render(s: &Status) -> String {
    let sections = [
        summary(s),
        ranges(&s.ranges),
        ways::peers(&s.overlay),
        ways::decisions(&s.overlay.decisions),
        probe::render(&s.probes),
        silent(s),
        pools(&s.pools),
        queue_pools(&s.queue_pools),
        loops(s),
        watches(s),
        problems(s),
    ];
    sections.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

fn summary(s: &Status) -> String {
    let uplink = s.node.uplink.as_ref();
    let up = s.node.now.saturating_sub(s.node.started);
    let bridge_mtu = s.bridge.mtu.map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
    let mut rows = vec![
        ("Node", format!("{} (offrampd {}, up {})", s.node.name, s.node.version, span(up))),
        ("Uplink", uplink.map_or("not found".into(), |l| format!("{}, MTU {}", l.name, l.mtu))),
        ("Underlay", or_none(join(&s.node.underlay))),
        ("Bridge", format!("{}{bridge_mtu}: {}", s.bridge.name, health(&s.bridge.health))),
        ("Gateways", or_none(join(&s.bridge.gateways))),
        ("Overlay", overlay(&s.overlay)),
        ("Attachments", attachments(s)),
    ];
    // What every pod has unless somebody asks for something else need not be said.
    if !["", "veth"].contains(&s.bridge.path.as_str()) {
        rows.push(("Path", s.bridge.path.clone()));
    }
    fields("", &rows)
}

fn overlay(o: &OverlayStatus) -> String {
    match &o.device {
        None => o.mode.clone(),
        Some(d) => format!(
            "{}: {} (VNI {}, UDP port {}, MTU {}, from {})",
            o.mode, d.name, d.vni, d.port, d.mtu, d.local
        ),
    }
}

/// `12 veth (11 ready, 1 adding)`
fn attachments(s: &Status) -> String {
    let mut by_path: BTreeMap<String, Vec<(u64, &str)>> = BTreeMap::new();
    for a in s.attachments.iter().filter(|a| a.count > 0) {
        by_path.entry(a.path.to_string()).or_default().push((a.count, a.state.as_str()));
    }
    let show = |(path, states): (String, Vec<(u64, &str)>)| {
        let total: u64 = states.iter().map(|(n, _)| n).sum();
        format!("{total} {path} ({})", join(states.iter().map(|(n, state)| format!("{n} {state}"))))
    };
    or_none(join(by_path.into_iter().map(show)))
}

fn ranges(ranges: &[RangeStatus]) -> String {
    let row = |r: &RangeStatus| {
        let warning = if r.is_short() { "nearly exhausted" } else { "ok" };
        [
            r.subnet.to_string(),
            count(r.used),
            count(r.capacity),
            format!("{}%", r.percent()),
            warning.to_owned(),
        ]
    };
    let rows: Vec<_> = ranges.iter().map(row).collect();
    table("", ["RANGE", "USED", "CAPACITY", "%", "STATE"], &rows)
}

/// Who is reached by somebody else's ways, or not at all.
fn silent(s: &Status) -> String {
    /// More are many.
    const TOLD: usize = 20;
    let (all, told) = (s.silent.len(), join(s.silent.iter().take(TOLD)));
    match all {
        0 => String::new(),
        _ if all > TOLD => format!("Nodes without Offramp: {told} and {} more\n", all - TOLD),
        _ => format!("Nodes without Offramp: {told}\n"),
    }
}

/// None on a node without VFs and pools.
fn pools(pools: &[Usage]) -> String {
    if pools.is_empty() {
        return String::new();
    }
    let row = |u: &Usage| {
        [
            u.pool.as_ref().map_or("none".into(), ToString::to_string),
            u.mode.map(|mode| mode.to_string()).unwrap_or_default(),
            u.total.to_string(),
            u.free.to_string(),
            u.lent.to_string(),
            u.quarantine.to_string(),
            join(u.unusable.iter().map(|(why, n)| format!("{n} {why}"))),
        ]
    };
    let rows: Vec<_> = pools.iter().map(row).collect();
    table("", ["POOL", "MODE", "VFS", "FREE", "LENT", "QUARANTINE", "NOT USABLE"], &rows)
}

/// None on a node without pools of queues.
fn queue_pools(pools: &[Usage]) -> String {
    if pools.is_empty() {
        return String::new();
    }
    let row = |u: &Usage| {
        [
            u.pool.as_ref().map(ToString::to_string).unwrap_or_default(),
            u.total.to_string(),
            u.free.to_string(),
            u.lent.to_string(),
            u.quarantine.to_string(),
            join(u.unusable.iter().map(|(why, n)| format!("{n} {why}"))),
        ]
    };
    let rows: Vec<_> = pools.iter().map(row).collect();
    table("", ["POOL OF QUEUES", "QUEUES", "FREE", "LENT", "QUARANTINE", "NOT USABLE"], &rows)
}

fn loops(s: &Status) -> String {
    if s.reconcile.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = s
        .reconcile
        .iter()
        .map(|l| {
            let ago = |at: u64| format!("{} ago", span(s.node.now.saturating_sub(at)));
            [
                l.name.clone(),
                l.last_run.map_or("not yet".into(), ago),
                l.repairs.to_string(),
                health(&l.health),
            ]
        })
        .collect();
    table("", ["RECONCILE", "LAST RUN", "REPAIRS", "STATE"], &rows)
}

/// None without an API.
fn watches(s: &Status) -> String {
    if s.watches.is_empty() {
        return String::new();
    }
    let row = |w: &WatchStatus| {
        let ago = |at: u64| format!("{} ago", span(s.node.now.saturating_sub(at)));
        let state = if w.up || w.health != Health::Ok { health(&w.health) } else { "not yet".into() };
        [w.name.clone(), w.last_event.map_or("not yet".into(), ago), state]
    };
    let rows: Vec<_> = s.watches.iter().map(row).collect();
    table("", ["WATCH", "LAST EVENT", "STATE"], &rows)
}

fn problems(s: &Status) -> String {
    if s.problems.is_empty() {
        return "No problems.\n".into();
    }
    let lines: String = s.problems.iter().map(|p| format!("  {p}\n")).collect();
    format!("{}:\n{lines}", plural(s.problems.len(), "problem"))
}

/// In a word, or the reason.
pub fn health(h: &Health) -> String {
    match h {
        Health::Ok => "ok".into(),
        Health::Failed { reason } => reason.clone(),
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".into() } else { text }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
