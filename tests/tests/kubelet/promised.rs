//! At ADD: what kubelet has promised is honoured, and the ledger decides who has it.

use crate::node::{DPDK, FAST, Wired, wish};
use offramp_tests::kubelet::PodSpec;
use offramp_tests::{Sysfs, over};
use serde_json::json;
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(5);

#[test]
fn a_pool_of_kubelets_is_not_lent_by_annotation() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let _daemon = w.daemon();
    kubelet.wait_for_healthy(FAST, 5);
    let pod = wish(PodSpec::new("default/web"), "fast");
    kubelet.admit(&pod).unwrap();
    let (_sandbox, answer) = w.runtime().run(&pod);
    answer.failed(106, &["net1", "pool fast", "must request offramp.dev/fast"]);

    // A device of another pool does not help, nor one of an init container.
    let pod = wish(PodSpec::new("default/other"), "fast").requests(DPDK, 1);
    kubelet.admit(&pod).unwrap();
    w.runtime().run(&pod).1.failed(106, &["must request offramp.dev/fast"]);
    let mut pod = wish(PodSpec::new("default/init"), "fast");
    pod.init_requests.push((FAST.into(), 1));
    kubelet.admit(&pod).unwrap();
    w.runtime().run(&pod).1.failed(106, &["init container"]);

    // A plain pod needs no kubelet.
    let (sandbox, answer) = w.runtime().run(&PodSpec::new("default/plain"));
    answer.ok();
    w.runtime().stop(&sandbox).ok();
    // Nor does eth0, if it need not be a VF.
    let pod = PodSpec::new("default/preferred")
        .annotation("offramp.dev/offload", "preferred")
        .annotation("offramp.dev/pool", "fast");
    kubelet.admit(&pod).unwrap();
    let (sandbox, answer) = w.runtime().run(&pod);
    answer.ok();
    w.runtime().stop(&sandbox).ok();
}

#[test]
fn a_device_that_is_promised_twice_is_waited_for_and_its_holder_named() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let daemon = w.daemon();
    kubelet.wait_for_healthy(FAST, 5);
    let old = PodSpec::new("default/old").requests(FAST, 1);
    kubelet.admit(&old).unwrap();
    let _holder = w.hold(&old, 1, 0);
    // Deleted by force, while its DEL fails.
    kubelet.forget(&old);
    let new = wish(PodSpec::new("default/new"), "fast").requests(FAST, 1);
    let promised = kubelet.admit(&new).unwrap();
    assert_eq!(promised[0].ids, [Sysfs::vf(1, 0)], "kubelet promises it again");
    let (sandbox, answer) = w.runtime().run(&new);
    assert!(answer.took >= WAIT && answer.took < WAIT + Duration::from_secs(5), "{:?}", answer.took);
    let error = answer.failed(11, &["VF 0 of nic0", "held by default/old@eth0"]);
    assert!(error.details.contains("promised"), "{error:?}");
    assert!(w.node.records().is_empty());
    assert!(w.runtime().remove(&sandbox).code == Some(0));
    assert!(daemon.log().contains("kubelet has promised a VF that somebody has"));
}

#[test]
fn a_kubelet_that_does_not_answer_is_told_of() {
    let w = Wired::new();
    let _daemon = w.daemon();
    let pod = wish(PodSpec::new("default/web"), "fast");
    let (_sandbox, answer) = w.runtime().run(&pod);
    answer.failed(11, &["pool fast", "kubelet", "pod-resources/kubelet.sock"]);
    // It accepts and says nothing.
    let socket = w.node.dir().join("kubelet/pod-resources/kubelet.sock");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let (_sandbox, answer) = w.runtime().run(&pod);
    answer.failed(11, &["did not answer within 2s"]);
    assert!(answer.took < Duration::from_secs(15), "{:?}", answer.took);
}

#[test]
fn pods_that_the_first_list_lacks_are_known_by_name() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let _daemon = w.daemon();
    let pod = wish(PodSpec::new("default/web"), "fast").requests(FAST, 1);
    // Unknown to Get, and the first List is empty: what kubelet does not know may come.
    w.runtime().run(&pod).1.failed(11, &["kubelet does not know pod default/web"]);
    kubelet.wait_for_healthy(FAST, 5);
    kubelet.admit(&pod).unwrap();
    let (_sandbox, answer) = w.runtime().run(&pod);
    // The lab's VFs are no hardware: it is chosen, and cannot be had.
    assert_ne!(answer.code, Some(0));
    assert!(!answer.stdout.contains("must request"), "{answer:?}");
}

/// Of a pool that is lent by annotation, too.
#[test]
fn a_vf_near_to_the_pods_cpus_is_taken() {
    let w = Wired::new();
    let sysfs = Sysfs::new(&w.node);
    sysfs.cpus(0, "0-3");
    sysfs.cpus(1, "4-7,12");
    let mut kubelet = w.kubelet();
    kubelet.start();
    let selectors = json!([{"pfNames": ["nic0", "nic1"]}]);
    let any = json!([{"name": "any", "selectors": selectors, "policy": {"namespaces": ["*"]}}]);
    let _daemon = w.node.daemon(over(w.conf(), json!({"pools": any})));
    for (cpu, near) in [(2, "0000:01:"), (12, "0000:02:"), (1, "0000:01:")] {
        let mut pod = wish(PodSpec::new(&format!("default/on-{cpu}")), "any");
        pod.cpus.push(cpu);
        kubelet.admit(&pod).unwrap();
        let (_sandbox, answer) = w.runtime().run(&pod);
        // The lab's VFs are no hardware: which one was chosen is told as it cannot be had.
        assert!(answer.code != Some(0) && answer.stdout.contains(near), "{cpu}: {answer:?}");
    }
}
