//! The daemon sees to VFs that nobody else sees to.

use crate::lab::{Machine, run, state};
use offramp_tests::{until, wait_for};
use serde_json::{Value, json};

fn daemon() -> Value {
    json!({"reclaim": {"interval": "300ms"}, "overlay": {"mode": "none"}})
}

/// What a plugin's cleaner left that was killed, and what an ADD claimed that died before it wrote its record.
#[test]
fn what_died_is_cleaned() {
    let m = Machine::new();
    let before = [state(0), state(1)];
    let (pod, conf) = (m.pod(), m.conf(0, json!({"vlan": 7})));
    m.node.add(&pod, &conf).ok();
    let (answer, point) = m.killed("DEL", &pod, &conf, "clean.started:1");
    assert!(answer.code == Some(0) && point.is_some(), "{answer:?} {point:?}");
    assert_eq!(m.claim(0).unwrap()["state"]["is"], "quarantine");
    let (answer, point) = m.killed("ADD", &m.pod(), &m.conf(1, json!({})), "vf.claimed:1");
    assert!(answer.code.is_none() && point.is_some(), "{answer:?} {point:?}");
    assert_eq!(m.claim(1).unwrap()["state"]["is"], "lent");
    let _daemon = m.node.daemon(daemon());
    m.assert_free_and_clean(0, &before[0]);
    m.assert_free_and_clean(1, &before[1]);
}

/// A pod whose sandbox ended, while nobody called DEL.
#[test]
fn what_is_dead_is_reclaimed() {
    let m = Machine::new();
    let before = state(0);
    let (pod, conf) = (m.pod(), m.conf(0, json!({"trust": "on", "mtu": 1300})));
    m.node.add(&pod, &conf).ok();
    pod.netns.delete();
    let _daemon = m.node.daemon(daemon());
    m.assert_free_and_clean(0, &before);
}

/// As a daemon sees pods that is not let near their namespaces: there is a file in the place of each.
#[test]
fn a_pod_whose_namespace_cannot_be_seen_keeps_its_vf() {
    let m = Machine::new();
    let before = state(0);
    let (pod, conf) = (m.pod(), m.conf(0, json!({})));
    m.node.add(&pod, &conf).ok();
    let process = Process(pod.command("sleep").arg("600").spawn().unwrap());
    let inside = format!("nsenter -t {} -n ip -o link show net1", process.0.id());
    run(&format!("umount -l {}", pod.path().display()));
    let daemon = m.node.daemon(daemon());
    let reclaim = || {
        let loops = daemon.ask("status")["reconcile"].clone();
        loops.as_array().unwrap().iter().find(|l| l["name"] == "reclaim").cloned().unwrap_or_default()
    };
    // Dead is what is dead at two looks. It tells seconds: a later one is another look's.
    let mut last = wait_for("a look", || reclaim()["lastRun"].as_u64());
    for _ in 0..2 {
        last = wait_for("another look", || reclaim()["lastRun"].as_u64().filter(|at| *at > last));
    }
    assert!(run(&inside).contains("net1") && m.claim(0).is_some(), "{}", reclaim());
    drop(process);
    m.assert_free_and_clean(0, &before);
}

/// Ends with the test.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_vf_that_was_taken_by_hand_is_shown() {
    let m = Machine::new();
    let before = state(0);
    let (pod, conf) = (m.pod(), m.conf(0, json!({})));
    m.node.add(&pod, &conf).ok();
    let daemon = m.node.daemon(daemon());
    let shown = |word: &str| daemon.ask("status")["problems"].to_string().contains(word);
    until("the VF to be shown as lent", || {
        let vfs = daemon.ask("status")["vfs"].clone();
        vfs[0]["state"]["is"] == "lent" && vfs[0]["holder"]["container"] == pod.container.as_str()
    });
    assert!(!shown("somebody took it"));
    pod.ip("link set net1 netns 1 name stolen0");
    until("the theft to be shown", || shown("somebody took it"));
    m.node.del(&pod, &conf).ok();
    m.assert_free_and_clean(0, &before);
    until("the list to be empty", || daemon.ask("status")["vfs"] == json!([]));
}
