//! VFs that have too few channels for want of interrupts. No NIC of the lab shares interrupts out among VFs: that it does,
//! files say that are mounted over those of sysfs. What refuses them is the kernel.

use crate::lab::{netdev, pci, run, state};
use crate::sriov_node::{Wired, pool};
use offramp_tests::{Pod, until};
use serde_json::{Value, json};

/// Two VFs that are said to get more interrupts, on a machine that is said to have 8 CPUs.
struct Sharing {
    w: Wired,
    before: [Value; 2],
    mounted: Vec<String>,
}

impl Sharing {
    fn new() -> Self {
        let policy = json!({"namespaces": ["*"], "eth0": true, "maxQueues": 4});
        let w = Wired::with_pools(json!([pool("fast", "0-1", json!({"policy": policy}))]));
        let pf = run("readlink -f /sys/class/net/nic0/device").trim().to_owned();
        let told =
            [(format!("{pf}/sriov_vf_total_msix"), "64"), ("/sys/devices/system/cpu/online".into(), "0-7")];
        let before = [state(0), state(1)];
        let mut sharing = Self { w, before, mounted: Vec::new() };
        for (n, (path, value)) in told.into_iter().enumerate() {
            let file = sharing.w.m.node.dir().join(format!("told-{n}"));
            std::fs::write(&file, format!("{value}\n")).unwrap();
            run(&format!("mount --bind {} {path}", file.display()));
            sharing.mounted.push(path);
        }
        sharing
    }

    fn add(&self, pod: &Pod, offload: &str) -> offramp_tests::Answer {
        self.w.add(pod, "default", json!({"offramp.dev/offload": offload, "offramp.dev/queues": "3"}))
    }

    #[track_caller]
    fn assert_free(&self) {
        (0..2).for_each(|index| self.w.m.assert_vf_free(index, &self.before[index]));
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        self.mounted.iter().for_each(|path| drop(run(&format!("umount {path}"))));
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
    s.add(&pod, "required").failed(106, &["pool fast", "whose driver has no 3 channels", &refusal]);
    s.assert_free();
    assert_ne!(index_of(0), numbers[0], "it was bound anew to ask");
    assert_eq!(index_of(1), numbers[1], "of a port that refuses, the others are left alone");

    s.add(&pod, "preferred").ok();
    let record = std::fs::read_to_string(s.w.m.node.record(&pod)).unwrap();
    assert!(record.contains("\"veth\"") && record.contains(&refusal), "{record}");
    s.w.del(&pod);
    s.assert_free();
}

#[test]
fn a_daemon_that_dies_while_a_vf_has_no_driver_gives_it_back_later() {
    let s = Sharing::new();
    let pod = s.w.m.lab.pod("pod");
    let mut daemon = s.w.start_in("OFFRAMP_CRASH_AT", "vf.without-driver:1");
    std::thread::scope(|scope| {
        // What it comes to is not the point: its VF was claimed when the daemon died.
        let call = scope.spawn(|| s.add(&pod, "required"));
        until("the daemon to die", || daemon.has_ended());
        assert_eq!(state(0)["driver"], Value::Null);
        let second = s.w.start();
        call.join().unwrap();
        s.w.del(&pod);
        s.assert_free();
        second.kill();
    });
    daemon.kill();
}
