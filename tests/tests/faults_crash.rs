//! The plugin is killed (SIGKILL) at every step boundary of ADD, DEL and GC, by its build with crash points.
//! Whatever then comes (DEL three times, GC, the daemon's start) leaves the node as it was before.

#[path = "faults/mod.rs"]
mod faults;

use faults::{Crash, Fault, everything};
use offramp_tests::{Lab, assert_same, over};
use serde_json::{Value, json};

fn inline(fault: &Fault<'_>) -> Value {
    let more = json!({"name": "inline", "ipMasq": true, "macspoofchk": true});
    fault.node.inline(over(everything(), more))
}

/// Debian's host-local knows no later version than 1.0.0.
fn delegated(fault: &Fault<'_>) -> Value {
    let more = json!({"cniVersion": "1.0.0", "name": "delegated", "ipMasq": true, "ipam": null});
    let mut conf = fault.node.inline(over(everything(), more));
    let ranges = json!([[{"subnet": "10.89.0.0/24"}], [{"subnet": "fd89::/64"}]]);
    conf["ipam"] =
        json!({"type": "host-local", "dataDir": fault.node.state().join("host-local"), "ranges": ranges});
    conf
}

fn node_mode(fault: &Fault<'_>) -> Value {
    fault.node.conf(everything())
}

/// At each point of ADD, then each way of cleaning up.
fn add_at_every_point(conf: fn(&Fault<'_>) -> Value, with_daemon: bool) {
    let lab = Lab::new();
    let node = lab.node("node");
    let mut fault = Fault::new(&lab, &node, with_daemon);
    let conf = conf(&fault);
    fault.settle(&conf);
    let before = fault.node.snapshot();
    let mut at = 1;
    while let Crash::At(point) = fault.killed("ADD", &conf, at) {
        for (way, clean) in faults::AFTER_ADD {
            if way != faults::AFTER_ADD[0].0 {
                fault.killed("ADD", &conf, at);
            }
            clean(&mut fault, &conf);
            fault.assert_same_soon(&before, &format!("ADD killed at {at} ({point}), then {way}"));
        }
        fault.add_and_del(&conf);
        assert_same(&before, &fault.node.snapshot());
        at += 1;
    }
    assert!(at > 10, "only {at} points: the plugin is built without the feature crash-points?");
    fault.del(&conf);
    assert_same(&before, &fault.node.snapshot());
}

/// At each point of DEL, then each way of finishing it.
fn del_at_every_point(conf: fn(&Fault<'_>) -> Value, with_daemon: bool) {
    let lab = Lab::new();
    let node = lab.node("node");
    let mut fault = Fault::new(&lab, &node, with_daemon);
    let conf = conf(&fault);
    fault.settle(&conf);
    let before = fault.node.snapshot();
    let mut at = 1;
    'points: loop {
        for (way, clean) in faults::AFTER_DEL {
            fault.add(&conf);
            let Crash::At(point) = fault.killed("DEL", &conf, at) else { break 'points };
            clean(&mut fault, &conf);
            fault.assert_same_soon(&before, &format!("DEL killed at {at} ({point}), then {way}"));
        }
        fault.add_and_del(&conf);
        at += 1;
    }
    assert!(at > if with_daemon { 1 } else { 10 }, "only {at} points");
    assert_same(&before, &fault.node.snapshot());
}

#[test]
fn add_with_own_addresses() {
    add_at_every_point(inline, false);
}

#[test]
fn add_with_delegated_addresses() {
    add_at_every_point(delegated, false);
}

#[test]
fn add_in_node_mode() {
    add_at_every_point(node_mode, true);
}

#[test]
fn del_with_own_addresses() {
    del_at_every_point(inline, false);
}

#[test]
fn del_with_delegated_addresses() {
    del_at_every_point(delegated, false);
}

#[test]
fn del_in_node_mode() {
    del_at_every_point(node_mode, true);
}

/// At each point of a GC that has one attachment to take back, then each way of finishing it.
fn gc_at_every_point(conf: fn(&Fault<'_>) -> Value, with_daemon: bool) {
    let lab = Lab::new();
    let node = lab.node("node");
    let mut fault = Fault::new(&lab, &node, with_daemon);
    let conf = conf(&fault);
    let garbage = over(conf.clone(), json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []}));
    fault.settle(&conf);
    let before = fault.node.snapshot();
    let mut at = 1;
    'points: loop {
        for (way, clean) in faults::AFTER_DEL {
            fault.add(&conf);
            let Crash::At(point) = fault.killed("GC", &garbage, at) else { break 'points };
            clean(&mut fault, &conf);
            fault.assert_same_soon(&before, &format!("GC killed at {at} ({point}), then {way}"));
        }
        fault.add_and_del(&conf);
        at += 1;
    }
    assert!(at > if with_daemon { 1 } else { 10 }, "only {at} points");
    assert_same(&before, &fault.node.snapshot());
}

#[test]
fn gc_with_own_addresses() {
    gc_at_every_point(inline, false);
}

#[test]
fn gc_in_node_mode() {
    gc_at_every_point(node_mode, true);
}

/// Node mode without its daemon: the plugin detaches by itself.
#[test]
fn del_in_node_mode_without_the_daemon() {
    let lab = Lab::new();
    let node = lab.node("node");
    let mut fault = Fault::new(&lab, &node, true);
    let conf = node_mode(&fault);
    fault.settle(&conf);
    let before = fault.node.snapshot();
    let mut at = 1;
    loop {
        fault.add(&conf);
        fault.stop_daemon();
        let Crash::At(point) = fault.killed("DEL", &conf, at) else { break };
        fault.start_daemon();
        fault.del(&conf);
        fault.assert_same_soon(&before, &format!("DEL killed at {at} ({point})"));
        at += 1;
    }
    assert!(at > 10, "only {at} points");
    assert_same(&before, &fault.node.snapshot());
}

/// An ADD that died before it held its addresses names them in its record: its DEL must not take the rules of whoever
/// holds them by then.
#[test]
fn an_add_that_died_early_leaves_the_holder_of_its_addresses_alone() {
    let lab = Lab::new();
    let node = lab.node("node");
    let fault = Fault::new(&lab, &node, false);
    let conf = inline(&fault);
    let (dead, live) = (lab.pod("dead"), lab.pod("live"));
    let killed = node.call_for("ADD", &dead).config(&conf).env("OFFRAMP_CRASH_AT", "record.written:1").run();
    assert_eq!(killed.code, None, "{killed:?}");
    node.add(&live, &conf).ok();
    assert_eq!(live.ips(), ["10.88.0.2/24", "fd88::2/64"], "the next ADD is given the same addresses");
    let without =
        |s: &str| s.lines().filter(|l| !l.contains("container-dead")).map(str::to_owned).collect::<Vec<_>>();
    let before = without(&node.snapshot().text());
    assert!(before.iter().any(|l| l.contains("nft") && l.contains("10.88.0.2")), "{before:?}");
    node.del(&dead, &conf).ok();
    assert_eq!(without(&node.snapshot().text()), before);
}

/// Rules are known by addresses: a DEL that died behind freeing them must not take those of the next holder.
#[test]
fn a_late_del_leaves_the_next_holder_alone() {
    let lab = Lab::new();
    let node = lab.node("node");
    let fault = Fault::new(&lab, &node, false);
    let conf = inline(&fault);
    let (old, new) = (lab.pod("old"), lab.pod("new"));
    node.add(&old, &conf).ok();
    let killed =
        node.call_for("DEL", &old).config(&conf).env("OFFRAMP_CRASH_AT", "addresses.released:2").run();
    assert_eq!(killed.code, None, "{killed:?}");
    let addresses =
        json!({"capabilities": {"ips": true}, "runtimeConfig": {"ips": ["10.88.0.2/24", "fd88::2/64"]}});
    node.add(&new, &over(conf.clone(), addresses)).ok();
    assert_eq!(new.ips(), ["10.88.0.2/24", "fd88::2/64"]);
    node.del(&lab.pod("unrelated"), &conf).ok();
    let without =
        |s: &str| s.lines().filter(|l| !l.contains("container-old")).map(str::to_owned).collect::<Vec<_>>();
    let before = without(&node.snapshot().text());
    assert!(before.iter().any(|l| l.contains("nft") && l.contains("10.88.0.2")), "{before:?}");
    node.del(&old, &conf).ok();
    assert_eq!(without(&node.snapshot().text()), before);
}
