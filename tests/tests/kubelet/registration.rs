//! Plugins register with a kubelet that comes and goes, and tell of their devices' health.

use crate::node::{DPDK, FAST, Wired};
use offramp_tests::kubelet::PodSpec;
use offramp_tests::{Sysfs, over, until};
use serde_json::json;

#[test]
fn every_pool_is_told_with_its_numa_nodes() {
    let w = Wired::new();
    let (kubelet, _daemon) = w.registered();
    let fast: Vec<_> = kubelet.devices(FAST).into_iter().map(|(id, told)| (id, told.numa)).collect();
    let expected = [(1, 0, 0), (1, 1, 0), (1, 2, 0), (2, 0, 1), (2, 1, 1)];
    assert_eq!(fast, expected.map(|(bus, index, numa)| (Sysfs::vf(bus, index), vec![numa])));
    assert_eq!(kubelet.devices(DPDK).into_keys().collect::<Vec<_>>(), [Sysfs::vf(1, 3)]);
}

#[test]
fn a_kubelet_that_starts_wipes_the_sockets_and_finds_the_plugins_again() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    // The daemon is there first.
    let daemon = w.daemon();
    for _ in 0..3 {
        kubelet.start();
        kubelet.wait_for_healthy(FAST, 5);
        assert_eq!(kubelet.registrations(FAST), 1);
    }
    // A kubelet that is killed leaves its socket.
    kubelet.stop();
    kubelet.start();
    kubelet.wait_for_healthy(DPDK, 1);
    // The daemon's turn.
    daemon.kill();
    until("kubelet to notice", || kubelet.devices(FAST).values().all(|told| !told.healthy));
    let daemon = w.daemon();
    kubelet.wait_for_healthy(FAST, 5);
    daemon.stop();
    kubelet.stop();
    let _daemon = w.daemon();
    kubelet.start();
    kubelet.wait_for_healthy(FAST, 5);
}

#[test]
fn a_socket_that_somebody_removes_is_served_anew() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let _daemon = w.daemon();
    kubelet.wait_for_healthy(FAST, 5);
    std::fs::remove_file(w.node.dir().join("kubelet/device-plugins/offramp-fast.sock")).unwrap();
    until("it to register again", || kubelet.registrations(FAST) > 1);
    kubelet.wait_for_healthy(FAST, 5);
}

#[test]
fn health_follows_links_claims_and_what_is_gone() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    kubelet.start();
    // The kernel's events of NICs are of those that it gives a device.
    let often = json!({"reconcile": {"interval": "500ms"}});
    let _daemon = w.node.daemon(over(w.conf(), often));
    kubelet.wait_for_healthy(FAST, 5);
    Sysfs::new(&w.node).cable("nic1", false);
    kubelet.wait_for_healthy(FAST, 3);
    Sysfs::new(&w.node).cable("nic1", true);
    kubelet.wait_for_healthy(FAST, 5);

    // A VF that its pod has is healthy; one that is being cleaned is not.
    let pod = PodSpec::new("default/web");
    let holder = w.hold(&pod, 1, 0);
    let cleaning = holder.give_back();
    kubelet.wait_for_healthy(FAST, 4);
    assert!(!kubelet.devices(FAST)[&Sysfs::vf(1, 0)].healthy);
    drop(holder);
    drop(cleaning);
    kubelet.wait_for_healthy(FAST, 5);

    Sysfs::new(&w.node).remove_last_vf("nic1", 2, 2);
    Sysfs::new(&w.node).remove_last_vf("nic1", 2, 1);
    kubelet.wait_for_healthy(FAST, 4);
    assert!(!kubelet.devices(FAST)[&Sysfs::vf(2, 1)].healthy, "it is told of still");
}
