//! The daemon gives ports the VFs that its configuration wants, and never takes one from anybody.

use crate::lab::{Machine, pci, run};
use crate::sriov_userspace::Userspace;
use offramp_tests::{Answer, Daemon, Pod, over, until};
use serde_json::{Value, json};
use std::fs::File;

const NUM_VFS: &str = "/sys/class/net/nic0/device/sriov_numvfs";

/// A machine whose nic0 has the VFs that hack/vm gave it again in the end.
struct Managed {
    m: Machine,
    vfs: u16,
}

impl Managed {
    /// With `number` VFs, made by hand.
    fn new(number: u16) -> Self {
        let managed = Self { m: Machine::new(), vfs: num_vfs() };
        by_hand(number);
        managed
    }

    /// The daemon looks when something happens, and else once a day.
    fn daemon(&self, rule: Value, more: Value) -> Daemon<'_> {
        let rule = over(json!({"pfNames": ["nic0"], "manage": true}), rule);
        let pool =
            json!({"name": "fast", "selectors": [{"pfNames": ["nic0"]}], "policy": {"namespaces": ["*"]}});
        let conf = json!({
            "overlay": {"mode": "none"}, "reconcile": {"interval": "24h"}, "reclaim": {"interval": "300ms"},
            "nics": [rule], "pools": [pool],
        });
        self.m.node.daemon(over(conf, more))
    }

    /// A pod of node mode with a VF as net1.
    fn add(&self, pod: &Pod) -> Answer {
        let annotations = json!({"offramp.dev/interfaces": "- {name: net1, ips: [192.168.10.5/24]}"});
        let conf = json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}});
        let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=telco;K8S_POD_NAME=web";
        self.m.node.call_for("ADD", pod).config(&self.m.node.conf(conf)).args(args).run()
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        if num_vfs() != self.vfs {
            by_hand(self.vfs);
        }
    }
}

fn num_vfs() -> u16 {
    std::fs::read_to_string(NUM_VFS).unwrap().trim().parse().unwrap()
}

fn by_hand(number: u16) {
    run(&format!("echo 0 > {NUM_VFS}; echo {number} > {NUM_VFS}"));
}

#[track_caller]
fn until_vfs(number: u16) {
    until(&format!("{number} VFs"), || num_vfs() == number);
}

#[track_caller]
fn until_told(daemon: &Daemon, words: &[&str]) {
    until(&format!("to be told of {words:?}"), || {
        let problems = daemon.ask("status")["problems"].to_string();
        words.iter().all(|word| problems.contains(word))
    });
}

#[test]
fn vfs_are_made_while_nobody_has_one_and_kept() {
    let w = Managed::new(2);
    let daemon = w.daemon(json!({"numVfs": 4}), json!({}));
    // Whoever comes with the daemon waits for the VFs.
    let pod = w.m.lab.pod("pod");
    let result = w.add(&pod).ok();
    assert_eq!(num_vfs(), 4);
    assert_eq!(result["interfaces"].as_array().unwrap().last().unwrap()["pciID"], pci(0));
    until("the pool to be shown", || {
        let pool = daemon.ask("status")["pools"][0].clone();
        pool["total"] == 4 && pool["free"] == 3 && pool["lent"] == 1
    });
    assert_eq!(daemon.ask("nics")["claims"][pci(0)], "lent to telco/web@net1");
    assert_eq!(daemon.ask("nics")["pools"][pci(3)], "fast");
    assert_eq!(daemon.ask("status")["problems"], json!([]));
    assert_eq!(daemon.stop().code(), Some(0));

    let daemon = w.daemon(json!({"numVfs": 0}), json!({}));
    until_told(&daemon, &["nic0 should have 0 VFs (it has 4)", "VF 0 of nic0", "is lent to telco/web@eth0"]);
    assert_eq!(num_vfs(), 4);
    w.m.node.del(&pod, &w.m.node.conf(json!({}))).ok();
    until_vfs(0);
    until_told(&daemon, &["pool fast has no VF on this node"]);
    run(&format!("echo 3 > {NUM_VFS}"));
    until_vfs(0);
    // A look while they were being made may have found one without a netdev yet, and said so.
    until("nothing to be said of nic0", || {
        !daemon.ask("status")["problems"].to_string().contains("nic0 should have")
    });
    until("the repair to be counted, and what was made at first not", || {
        let loops = daemon.ask("status")["reconcile"].clone();
        let rules = loops.as_array().unwrap().iter().find(|l| l["name"] == "nic-rules").unwrap().clone();
        rules["repairs"] == 1
    });
}

#[test]
fn what_is_not_to_be_managed_is_told() {
    let w = Managed::new(2);
    let daemon = w.daemon(json!({"numVfs": 4, "manage": false}), json!({}));
    until_told(&daemon, &["nic0 should have 4 VFs (it has 2)", "nics[].manage"]);
    assert_eq!(num_vfs(), 2);
    by_hand(4);
    until("all to be well", || daemon.ask("status")["problems"] == json!([]));
}

/// Each ADD gets a whole VF, which then stays, or none.
#[test]
fn inline_plugins_and_the_daemon_do_not_meet() {
    let w = Managed::new(4);
    let conf = w.m.conf(0, json!({}));
    let daemon = w.daemon(json!({"numVfs": 4}), json!({}));
    let mut outcomes = Vec::new();
    for round in 0..6 {
        // The daemon makes them again while the plugin tries for the first of them.
        let pod = w.m.pod();
        let answer = std::thread::scope(|scope| {
            let hand = scope.spawn(|| run(&format!("echo 0 > {NUM_VFS}")));
            if round % 2 == 0 {
                hand.join().unwrap();
            }
            w.m.node.add(&pod, &conf)
        });
        outcomes.push(answer.code);
        if answer.code == Some(0) {
            // Nothing took it while it was lent, unless the hand did after it was.
            if round % 2 == 0 {
                assert!(pod.link("net1").is_some(), "{answer:?}");
            }
            w.m.node.del(&pod, &conf).ok();
        } else {
            assert!(pod.link("net1").is_none());
            assert!(!answer.stdout.is_empty(), "it says why: {answer:?}");
        }
        until_vfs(4);
        until("all VFs to be free", || (0..4).all(|i| w.m.claim(i).is_none()));
    }
    eprintln!("codes of the ADDs: {outcomes:?}");
    assert!(w.m.node.records().is_empty());
    until("all to be well", || daemon.ask("status")["problems"] == json!([]));
}

/// A process that hangs in the kernel has the port's lock.
#[test]
fn nothing_is_tried_beside_a_change_that_hangs() {
    let w = Managed::new(2);
    let locks = w.m.node.state().join("locks");
    std::fs::create_dir_all(&locks).unwrap();
    let device = run("basename $(readlink -f /sys/class/net/nic0/device)");
    let lock = File::create(locks.join(format!("port-{}", device.trim()))).unwrap();
    lock.lock().unwrap();
    let daemon = w.daemon(json!({"numVfs": 4}), json!({"reconcile": {"interval": "1s"}}));
    until_told(&daemon, &["nic0 is being changed by another process"]);
    assert_eq!(num_vfs(), 2);
    drop(lock);
    until_vfs(4);
    until("all to be well", || daemon.ask("status")["problems"] == json!([]));
}

/// To remove it would hang until it is closed.
#[test]
fn a_vf_that_userspace_holds_open_stays() {
    let w = Managed::new(2);
    let vf = Userspace::new(1);
    let held = File::options().read(true).write(true).open(vf.file()).unwrap();
    let daemon = w.daemon(json!({"numVfs": 4}), json!({"reconcile": {"interval": "1s"}}));
    let us = format!("is held open by process {}", std::process::id());
    until_told(&daemon, &["nic0 should have 4 VFs (it has 2)", "VF 1 of nic0", &us]);
    assert_eq!(num_vfs(), 2);
    drop(held);
    until_vfs(4);
}

/// netdevsim: `hack/vm --netdevsim`.
#[test]
fn an_embedded_switch_gets_its_mode_and_its_vfs_again() {
    struct Sim;
    impl Drop for Sim {
        fn drop(&mut self) {
            run("echo 88 > /sys/bus/netdevsim/del_device");
        }
    }
    let m = Machine::new();
    run(
        "echo '88 1' > /sys/bus/netdevsim/new_device; echo 2 > /sys/bus/netdevsim/devices/netdevsim88/sriov_numvfs",
    );
    let _sim = Sim;
    let port = |daemon: &Daemon| {
        let nics = daemon.ask("nics");
        let ports = nics["ports"].as_array().unwrap().iter();
        ports.clone().find(|p| p["key"]["device"] == "netdevsim88").cloned().unwrap_or_default()
    };
    for (mode, number, representors) in [("switchdev", 3, 3), ("legacy", 1, 0)] {
        let rule = json!({"drivers": ["netdevsim"], "manage": true, "eswitch": mode, "numVfs": number});
        let daemon = m.node.daemon(json!({"overlay": {"mode": "none"}, "nics": [rule]}));
        until(mode, || port(&daemon)["eswitch"] == mode && port(&daemon)["numVfs"] == number);
        let shown = run("devlink -j port show").matches("pcivf").count();
        assert_eq!(shown, representors, "{}", run("devlink port show"));
        assert_eq!(daemon.ask("status")["problems"], json!([]));
    }
}
