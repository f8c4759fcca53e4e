//! However a pod ends, its VF comes back.

use crate::lab::{Machine, netdev, run, state};
use crate::sriov_node::{Wired, pool};
use nix::sys::signal::Signal;
use offramp_tests::{over, until};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

fn spoiling() -> Value {
    json!({"vlan": 7, "trust": "on", "spoofchk": "off", "mtu": 1280, "allmulticast": true,
           "mac": "02:00:00:00:00:71"})
}

#[test]
fn the_namespace_is_gone_or_not_named() {
    let m = Machine::new();
    let before = state(0);
    for named in [true, false] {
        let (pod, conf) = (m.pod(), m.conf(0, spoiling()));
        m.node.add(&pod, &conf).ok();
        pod.netns.delete();
        let del = m.node.call_for("DEL", &pod).config(&conf);
        for _ in 0..3 {
            if named {
                del.run().ok()
            } else {
                del.clone().env("CNI_NETNS", "").run().ok()
            };
        }
        m.assert_free_and_clean(0, &before);
    }
}

#[test]
fn a_process_is_left_in_the_pod() {
    let m = Machine::new();
    let before = state(0);
    let (pod, conf) = (m.pod(), m.conf(0, spoiling()));
    m.node.add(&pod, &conf).ok();
    let mut left = pod.command("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    pod.netns.delete();
    m.node.call_for("DEL", &pod).env("CNI_NETNS", "").config(&conf).run().ok();
    let seen =
        Command::new("nsenter").args(["-n", "-t", &left.id().to_string(), "ip", "link"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&seen.stdout).contains("net1"), "the process still has the VF");
    m.assert_free_and_clean(0, &before);
    left.kill().unwrap();
    left.wait().unwrap();
}

/// What an operator has set before the VF is lent is set again, and what a pod has done is undone.
#[test]
fn what_the_operator_has_set_is_kept() {
    let m = Machine::new();
    let clean = state(1);
    let name = netdev(1);
    run("ip link set nic0 vf 1 vlan 42 qos 1");
    run("ip link set nic0 vf 1 spoofchk off");
    run(&format!("ip link set {name} mtu 1450 alias kept && ip link property add dev {name} altname kept1"));
    run(&format!("ip link set {name} up"));
    let before = state(1);
    let (pod, conf) = (m.pod(), m.conf(1, spoiling()));
    m.node.add(&pod, &conf).ok();
    pod.ip("link set net1 promisc on alias spoilt");
    pod.ip("link set net1 down");
    pod.ip("link set net1 name other");
    m.node.del(&pod, &conf).ok();
    m.assert_free_and_clean(1, &before);
    run(&format!(
        "ip link set {name} down mtu 1500 alias '' && ip link property del dev {name} altname kept1"
    ));
    run("ip link set nic0 vf 1 vlan 0 && ip link set nic0 vf 1 spoofchk on");
    assert_eq!(state(1), clean);
}

#[test]
fn the_pf_is_down() {
    let m = Machine::new();
    let before = state(1);
    let (pod, conf) = (m.pod(), m.conf(1, spoiling()));
    m.node.add(&pod, &conf).ok();
    run("ip link set nic0 down");
    m.node.del(&pod, &conf).ok();
    run("ip link set nic0 up");
    // Whoever cleaned it, or the next call: GC goes on.
    m.node.gc(&conf, &[]).ok();
    m.assert_free_and_clean(1, &before);
}

/// The number of VFs is changed by somebody else, under a pod.
#[test]
fn the_vf_vanishes() {
    let m = Machine::new();
    let (pod, conf) = (m.pod(), m.conf(2, spoiling()));
    m.node.add(&pod, &conf).ok();
    let numvfs = "/sys/class/net/nic0/device/sriov_numvfs";
    let file = m.claim_file(2);
    let count = run(&format!("cat {numvfs}"));
    run(&format!("echo 0 > {numvfs}"));
    m.node.del(&pod, &conf).ok();
    until("the claim to go", || !file.exists());
    run(&format!("echo {} > {numvfs}", count.trim()));
    until("the VFs to be back", || {
        (0..count.trim().parse().unwrap()).all(|vf| state(vf)["netdev"].is_object())
    });
}

/// The daemon hangs as it takes a pod back, the plugin does it alone, and the VF is another pod's when the daemon goes on:
/// it must not pull that one's out.
#[test]
fn a_vf_that_is_anothers_by_now_is_left_where_it_is() {
    let w = Wired::with_pools(json!([pool("one", "0", json!({}))]));
    let before = state(0);
    let conf = over(w.conf(), json!({"reclaim": {"interval": "1h"}, "log": {"level": "debug"}}));
    // Each step is a point as it is undone.
    let daemon = w.m.node.daemon_as(conf, |command| {
        command.env("OFFRAMP_STOP_AT", "move-vf:1");
    });
    let (old, new, inline) = (w.m.lab.pod("old"), w.m.pod(), w.m.conf(0, json!({})));
    w.add(&old, "default", json!({"offramp.dev/interfaces": "- {name: net1, pool: one}"})).ok();
    w.del(&old);
    w.m.node.gc(&inline, &[]).ok();
    w.m.assert_vf_free(0, &before);
    let result = w.m.node.add(&new, &inline).ok();
    let before_it_went_on = daemon.log().len();
    daemon.signal(Signal::SIGCONT);
    until("the daemon's answer", || daemon.log()[before_it_went_on..].contains("connection ended"));
    w.m.node.check(&new, &inline, &result).ok();
    assert!(new.link("net1").is_some());
    w.m.node.del(&new, &inline).ok();
    w.m.assert_free_and_clean(0, &before);
}
