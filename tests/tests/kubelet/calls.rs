//! A runtime's calls, in every order that was seen.

use crate::node::Wired;
use offramp_tests::assert_same;
use offramp_tests::kubelet::PodSpec;
use serde_json::json;

#[test]
fn three_dels_a_sandbox_and_keys_as_go_has_them() {
    let w = Wired::new();
    let _daemon = w.daemon();
    let before = w.node.snapshot();
    let mut pod = PodSpec::new("default/web");
    pod.host_ports.push((8080, 80));
    let (sandbox, answer) = w.runtime().run(&pod);
    answer.ok();
    assert!(w.node.run("nft list ruleset").contains("8080"), "{}", w.node.run("nft list ruleset"));
    w.runtime().stop(&sandbox).ok();
    sandbox.pod.delete();
    for _ in 0..2 {
        w.runtime().remove(&sandbox).ok();
    }
    assert_same(&before, &w.node.snapshot());
}

#[test]
fn a_del_after_a_failed_add_and_a_new_sandbox_for_the_retry() {
    let w = Wired::new();
    let daemon = w.daemon();
    let pod = PodSpec::new("default/web").annotation("offramp.dev/offload", "always");
    let (failed, answer) = w.runtime().run(&pod);
    answer.failed(7, &["offramp.dev/offload"]);
    let (sandbox, answer) = w.runtime().run(&PodSpec::new("default/web"));
    answer.ok();
    // The failed one's later DELs take nothing from the new one.
    for _ in 0..2 {
        w.runtime().remove(&failed).ok();
    }
    assert_eq!(sandbox.pod.ips().len(), 2);
    w.runtime().stop(&sandbox).ok();
    assert!(w.node.records().is_empty());
    daemon.stop();
}

#[test]
fn a_pod_stays_while_its_del_fails() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let _daemon = w.daemon();
    let pod = PodSpec::new("default/web").requests(crate::node::FAST, 1);
    kubelet.wait_for_healthy(crate::node::FAST, 5);
    let first = kubelet.admit(&pod).unwrap()[0].ids.clone();
    let (sandbox, answer) = w.runtime().run(&pod);
    answer.ok();
    let record = w.node.record(&sandbox.pod);
    let kept = std::fs::read(&record).unwrap();
    std::fs::write(&record, "damaged").unwrap();
    assert!(!kubelet.delete(&w.runtime(), &pod, &sandbox), "its record cannot be read");
    let next = PodSpec::new("default/next").requests(crate::node::FAST, 1);
    assert_ne!(kubelet.admit(&next).unwrap()[0].ids, first, "Terminating, it has its device");
    std::fs::write(&record, kept).unwrap();
    assert!(kubelet.delete(&w.runtime(), &pod, &sandbox));
    let last = PodSpec::new("default/last").requests(crate::node::FAST, 1);
    assert_eq!(kubelet.admit(&last).unwrap()[0].ids, first);
}

#[test]
fn a_node_is_not_ready_while_no_pod_can_be_attached_and_vfs_do_not_count() {
    let w = Wired::new();
    let full = json!({"cluster": {"podCIDRs": ["10.244.1.0/30"]}});
    let daemon = w.node.daemon(offramp_tests::over(w.conf(), full));
    assert!(w.runtime().node_is_ready(), "no kubelet, no VF, and plain pods can be attached");
    let (sandbox, answer) = w.runtime().run(&PodSpec::new("default/only"));
    answer.ok();
    assert!(!w.runtime().node_is_ready(), "the last address is given");
    w.runtime().stop(&sandbox).ok();
    assert!(w.runtime().node_is_ready());
    daemon.stop();
}

#[test]
fn the_stale_result_of_a_sandbox_before_the_reboot_takes_nothing_from_the_new_one() {
    let w = Wired::new();
    let daemon = w.daemon();
    let pod = PodSpec::new("default/web");
    let (old, answer) = w.runtime().run(&pod);
    let before = answer.ok();
    // All that a reboot leaves is libcni's cache.
    old.pod.delete();
    daemon.kill();
    std::fs::remove_dir_all(w.node.state()).unwrap();
    let _daemon = w.daemon();
    let (new, answer) = w.runtime().run(&pod);
    let after = answer.ok();
    assert_eq!(before["ips"], after["ips"], "the same address again");
    w.runtime().stop_after_reboot(&old).ok();
    assert_eq!(new.pod.ips().len(), 2);
    let gateway = new.pod.default_gateway("-4").unwrap();
    new.pod.run(&format!("ping -n -c 1 -W 2 {gateway}"));
    w.runtime().stop(&new).ok();
}
