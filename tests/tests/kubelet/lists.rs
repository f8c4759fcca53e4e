//! What kubelet's lists of pods tell of devices, and what a single one does not.

use crate::node::{FAST, Wired};
use offramp_tests::kubelet::{Kubelet, PodSpec};
use offramp_tests::{Daemon, Sysfs, over, until};
use serde_json::json;

/// A daemon that lists often, and takes lists to count from so long after kubelet's start.
fn daemon<'a>(w: &'a Wired, settling: &str) -> Daemon<'a> {
    let often =
        json!({"kubelet": {"interval": "100ms", "settling": settling}, "reconcile": {"interval": "200ms"}});
    w.node.daemon(over(w.conf(), often))
}

fn wait_for_lists(kubelet: &Kubelet, count: usize) {
    let before = kubelet.lists();
    until("kubelet to be asked", || kubelet.lists() >= before + count);
}

#[test]
fn a_vf_that_a_stranger_has_is_unhealthy_and_one_whose_pod_a_list_lacks_is_not() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let first = daemon(&w, "1h");
    kubelet.wait_for_healthy(FAST, 5);
    let known = PodSpec::new("default/web").requests(FAST, 1);
    assert_eq!(kubelet.admit(&known).unwrap()[0].ids, [Sysfs::vf(1, 0)]);
    let _known = w.hold(&known, 1, 0);
    let stranger = w.hold(&PodSpec::new("default/stranger"), 1, 1);
    wait_for_lists(&kubelet, 5);
    assert!(kubelet.devices(FAST).values().all(|told| told.healthy), "kubelet has not settled");
    first.kill();

    let _second = daemon(&w, "0s");
    kubelet.wait_for_healthy(FAST, 4);
    assert!(!kubelet.devices(FAST)[&Sysfs::vf(1, 1)].healthy);
    let next = PodSpec::new("default/next").requests(FAST, 3);
    let ids = kubelet.admit(&next).unwrap().remove(0).ids;
    assert!(!ids.contains(&Sysfs::vf(1, 1)), "{ids:?}");

    // The first list of the next kubelet names no pod at all.
    kubelet.start();
    wait_for_lists(&kubelet, 5);
    kubelet.wait_for_healthy(FAST, 4);
    let told = kubelet.told(FAST);
    let always = |vf: &String| told.iter().all(|devices| devices[vf].healthy);
    assert!(always(&Sysfs::vf(1, 0)) && ids.iter().all(always), "{told:?}");
    assert!(!kubelet.devices(FAST)[&Sysfs::vf(1, 1)].healthy);
    drop(stranger);
    kubelet.wait_for_healthy(FAST, 5);
}

#[test]
fn a_vf_that_vanishes_is_told_of_until_it_is_back_or_nobodys() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let first = daemon(&w, "1h");
    kubelet.wait_for_healthy(FAST, 5);
    let (sysfs, vf) = (Sysfs::new(&w.node), Sysfs::vf(2, 1));
    let goes = || {
        sysfs.remove_last_vf("nic1", 2, 2);
        sysfs.remove_last_vf("nic1", 2, 1);
    };
    let comes_back = || {
        sysfs.add_last_vf("nic1", 2, 1);
        sysfs.add_last_vf("nic1", 2, 2);
    };
    goes();
    kubelet.wait_for_healthy(FAST, 4);
    wait_for_lists(&kubelet, 5);
    assert!(!kubelet.devices(FAST)[&vf].healthy, "no list counts yet");
    comes_back();
    kubelet.wait_for_healthy(FAST, 5);
    first.kill();

    let _second = daemon(&w, "0s");
    kubelet.wait_for_healthy(FAST, 5);
    let all = PodSpec::new("default/all").requests(FAST, 5);
    kubelet.admit(&all).unwrap();
    goes();
    kubelet.wait_for_healthy(FAST, 4);
    wait_for_lists(&kubelet, 5);
    assert!(!kubelet.devices(FAST)[&vf].healthy, "a pod has it");
    kubelet.forget(&all);
    until("it to be forgotten", || !kubelet.devices(FAST).contains_key(&vf));
    comes_back();
    kubelet.wait_for_healthy(FAST, 5);
}
