//! VFs that have too few channels for want of interrupts. No NIC of the lab shares interrupts out among VFs: that it does,
//! files say that are mounted over those of sysfs. What refuses them is the kernel.

use crate::lab::{netdev, pci, run, state};
use crate::sriov_lending::held;
use crate::sriov_node::{Wired, pool};
use offramp_tests::{Answer, Pod, over, until};
use serde_json::{Value, json};
use std::process::Command;

/// VFs that are said to get more interrupts, on a machine that is said to have 8 CPUs: two for eth0, another for further
/// interfaces.
struct Sharing {
    w: Wired,
    before: [Value; 3],
    mounted: Vec<String>,
}

impl Sharing {
    fn new() -> Self {
        let policy = json!({"namespaces": ["*"], "eth0": true, "maxQueues": 4});
        let fast = pool("fast", "0-1", json!({"policy": policy}));
        let w = Wired::with_pools(json!([fast, pool("other", "2", json!({}))]));
        let pf = run("readlink -f /sys/class/net/nic0/device").trim().to_owned();
        let told =
            [(format!("{pf}/sriov_vf_total_msix"), "64"), ("/sys/devices/system/cpu/online".into(), "0-7")];
        let before = [0, 1, 2].map(state);
        let mut sharing = Self { w, before, mounted: Vec::new() };
        for (n, (path, value)) in told.into_iter().enumerate() {
            let file = sharing.w.m.node.dir().join(format!("told-{n}"));
            std::fs::write(&file, format!("{value}\n")).unwrap();
            run(&format!("mount --bind {} {path}", file.display()));
            sharing.mounted.push(path);
        }
        sharing
    }

    /// An ADD of a pod whose eth0 is to have 3 channels.
    fn add(&self, pod: &Pod, offload: &str, more: Value) -> Answer {
        let wish = json!({
            "offramp.dev/offload": offload,
            "offramp.dev/pool": "fast",
            "offramp.dev/queues": "3",
        });
        self.w.add(pod, "default", over(wish, more))
    }

    #[track_caller]
    fn assert_free(&self) {
        (0..3).for_each(|index| self.w.m.assert_vf_free(index, &self.before[index]));
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        // A test that has failed drops it too.
        self.mounted.iter().for_each(|path| drop(Command::new("umount").arg(path).status()));
    }
}

/// The number of a netdev: another one once its driver was bound anew.
fn index_of(vf: usize) -> String {
    run(&format!("cat /sys/class/net/{}/ifindex", netdev(vf)))
}

#[test]
fn who_gets_no_interrupts_is_not_had_and_is_as_before() {
    let s = Sharing::new();
    let _daemon = s.w.start();
    let pod = s.w.m.lab.pod("pod");
    let numbers = [index_of(0), index_of(1)];
    let refusal = format!("give VF 0 of nic0 ({}) 4 MSI-X vectors: Operation not supported", pci(0));
    s.add(&pod, "required", json!({}))
        .failed(106, &["pool fast", "whose driver has no 3 channels", &refusal]);
    s.assert_free();
    assert_ne!(index_of(0), numbers[0], "it was bound anew to ask");
    assert_eq!(index_of(1), numbers[1], "of a port that refuses, the others are left alone");

    let numbers = [index_of(0), index_of(1)];
    s.add(&pod, "preferred", json!({})).ok();
    assert_eq!([index_of(0), index_of(1)], numbers, "its port has just refused, and is not asked again");
    let record = std::fs::read_to_string(s.w.m.node.record(&pod)).unwrap();
    assert!(record.contains("\"veth\"") && record.contains(&refusal), "{record}");
    s.w.del(&pod);
    s.assert_free();
}

/// Without a daemon, by a configuration of sriov-cni.
#[test]
fn inline_who_gets_no_interrupts_is_refused_and_is_as_before() {
    let s = Sharing::new();
    let m = &s.w.m;
    let number = index_of(0);
    let (pod, conf) = (m.pod(), m.conf(0, json!({"queues": 3})));
    let refusal = format!("give VF 0 of nic0 ({}) 4 MSI-X vectors: Operation not supported", pci(0));
    m.node.add(&pod, &conf).failed(100, &["has no 3 channels", &refusal]);
    m.assert_free_and_clean(0, &s.before[0]);
    assert_ne!(index_of(0), number, "it was bound anew to ask");
    m.node.del(&pod, &conf).ok();

    // The plugin dies while the VF has no driver.
    let (_, last) = m.killed("ADD", &pod, &conf, "vf.without-driver:1");
    assert!(last.is_some_and(|point| point.contains("vf.without-driver")));
    assert_eq!(state(0)["driver"], Value::Null);
    m.node.del(&pod, &conf).ok();
    m.assert_free_and_clean(0, &s.before[0]);
}

#[test]
fn a_daemon_that_dies_while_a_vf_has_no_driver_gives_it_back_later() {
    let s = Sharing::new();
    let pod = s.w.m.lab.pod("pod");
    let mut daemon = s.w.start_in("OFFRAMP_CRASH_AT", "vf.without-driver:1");
    std::thread::scope(|scope| {
        let call = scope.spawn(|| s.add(&pod, "required", json!({})));
        until("the daemon to die", || daemon.has_ended());
        assert_eq!(state(0)["driver"], Value::Null);
        let second = s.w.start();
        // Of the second daemon, or of the plugin that waited for it: its VF was claimed when the first one died.
        let refused = call.join().unwrap().error();
        assert!([11, 106].contains(&refused.code), "{refused:?}");
        s.w.del(&pod);
        s.assert_free();
        second.kill();
    });
    daemon.kill();
}

/// The pod's other interface.
fn with_net1() -> Value {
    json!({"offramp.dev/interfaces": "- {name: net1, pool: other}"})
}

#[test]
fn who_cannot_have_all_has_no_vf_bound_anew_for_interrupts() {
    let s = Sharing::new();
    let _daemon = s.w.start();
    let pod = s.w.m.lab.pod("pod");
    let number = index_of(0);
    let lock = held(&s.w, &format!("vf-{}", pci(2)));
    s.add(&pod, "required", with_net1()).failed(11, &["pool other", &pci(2)]);
    drop(lock);
    assert_eq!(index_of(0), number, "eth0's VF was not touched for a pod that cannot be");
    s.assert_free();
}

/// Of what the daemon's picture of the NICs gives, nothing is claimed that a look at them may better.
#[test]
fn a_choice_that_is_not_kept_is_not_claimed() {
    let s = Sharing::new();
    let mut daemon = s.w.start_in("OFFRAMP_CRASH_AT", "vf.taken:2");
    let pod = s.w.m.lab.pod("pod");
    let no_eth0 = json!({"offramp.dev/offload": "preferred", "offramp.dev/pool": "other"});
    s.w.add(&pod, "default", over(no_eth0, with_net1())).ok();
    assert!(!daemon.has_ended(), "it has claimed net1's VF twice");
    s.w.del(&pod);
    s.assert_free();
    daemon.kill();
}
