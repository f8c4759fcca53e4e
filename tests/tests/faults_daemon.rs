//! The daemon is killed at every message, and at every step of what it does for one, while a plugin's ADD or DEL
//! waits for it; then it is restarted. The calls succeed, no address is given twice, and nothing is left behind.

#[path = "faults/mod.rs"]
mod faults;

use faults::{Fault, assert_soon, daemon_conf, everything};
use offramp_tests::{Daemon, Lab, Node, Pod, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;

/// Kills at each point that the daemon passes during one ADD and one DEL.
fn at_every_point(more: Value) {
    let lab = Lab::new();
    let (node, pod, other) = (lab.node("node"), lab.pod("pod"), lab.pod("other"));
    let conf = node.conf(more);
    let mut fault = Fault::new(&lab, &node, true);
    fault.settle(&conf);
    node.add(&other, &node.conf(json!({}))).ok();
    fault.stop_daemon();
    // The other pod lives: its router solicitations make it the node's neighbour at any time.
    let mac = other.link("eth0").unwrap()["address"].as_str().unwrap().to_owned();
    let look = || node.snapshot().without(&mac);
    let before = look();
    let points = points(&node, &pod, &conf);
    assert!(points.len() > 15, "{points:?}");
    for point in points {
        let mut daemon = daemon_with(&node, "OFFRAMP_CRASH_AT", &point);
        std::thread::scope(|scope| {
            let calls = scope.spawn(|| add_and_del(&node, &pod, &other, &conf));
            until("the calls or the daemon to end", || calls.is_finished() || daemon.has_ended());
            if daemon.has_ended() {
                fault.start_daemon();
            }
            calls.join().unwrap_or_else(|_| panic!("offrampd was killed at {point}"));
        });
        daemon.kill();
        fault.start_daemon();
        assert_soon(&before, look, &format!("offrampd killed at {point}"));
        fault.stop_daemon();
    }
}

/// The points of a daemon that lives.
fn points(node: &Node, pod: &Pod, conf: &Value) -> Vec<String> {
    let trace = node.dir().join("daemon-trace");
    let daemon = daemon_with(node, "OFFRAMP_CRASH_TRACE", trace.to_str().unwrap());
    let passed = || std::fs::read_to_string(&trace).unwrap_or_default();
    let at_start = passed().lines().count();
    node.add(pod, conf).ok();
    node.del(pod, conf).ok();
    daemon.kill();
    passed().lines().skip(at_start).map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

/// A daemon with a variable in its environment, which serves, or has died already.
fn daemon_with<'a>(node: &'a Node, variable: &str, value: &str) -> Daemon<'a> {
    let mut daemon = node.daemon_unready(daemon_conf(), |command| {
        command.env(variable, value);
    });
    until("the daemon's socket", || UnixStream::connect(node.socket()).is_ok() || daemon.has_ended());
    daemon
}

fn add_and_del(node: &Node, pod: &Pod, other: &Pod, conf: &Value) {
    let result = node.add(pod, conf).ok();
    let held: BTreeSet<String> = [pod.ips(), other.ips()].concat().into_iter().collect();
    assert_eq!(held.len(), 4, "an address was given twice: {held:?}");
    node.check(pod, conf, &result).ok();
    for _ in 0..3 {
        node.del(pod, conf).ok();
    }
}

#[test]
fn a_plain_pod() {
    at_every_point(json!({}));
}

#[test]
fn a_pod_with_ports_and_limits() {
    at_every_point(everything());
}
