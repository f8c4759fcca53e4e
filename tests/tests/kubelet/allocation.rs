//! What containers get, and which devices.

use crate::node::{DPDK, FAST, Wired};
use offramp_tests::Sysfs;
use offramp_tests::kubelet::PodSpec;
use serde_json::Value;

#[test]
fn containers_get_what_the_device_plugin_of_sriov_gives() {
    let w = Wired::new();
    let (kubelet, _daemon) = w.registered();
    let two = kubelet.admit(&PodSpec::new("default/two").requests(FAST, 2)).unwrap().remove(0);
    // Both of node 1 or two of node 0, which has more.
    assert_eq!(two.ids, [Sysfs::vf(1, 0), Sysfs::vf(1, 1)]);
    assert_eq!(two.envs["PCIDEVICE_OFFRAMP_DEV_FAST"], two.ids.join(","));
    assert!(two.nodes.is_empty());
    let next = kubelet.admit(&PodSpec::new("default/next").requests(FAST, 2)).unwrap().remove(0);
    assert_eq!(next.ids, [Sysfs::vf(2, 0), Sysfs::vf(2, 1)], "of one NUMA node");

    let dpdk = kubelet.admit(&PodSpec::new("default/dpdk").requests(DPDK, 1)).unwrap().remove(0);
    assert_eq!(dpdk.nodes, ["/dev/vfio/13", "/dev/vfio/vfio"]);
    let info: Value = serde_json::from_str(&dpdk.envs["PCIDEVICE_OFFRAMP_DEV_DPDK_INFO"]).unwrap();
    assert_eq!(info[&dpdk.ids[0]]["vfio"]["dev-mount"], "/dev/vfio/13");
    let none = kubelet.admit(&PodSpec::new("default/none").requests(DPDK, 1)).unwrap_err();
    assert!(none.contains("available 0"), "{none}");
}

#[test]
fn only_a_vf_that_is_gone_fails_a_pod() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let _daemon = w.daemon();
    kubelet.wait_for_healthy(DPDK, 1);
    kubelet.wait_for_healthy(FAST, 5);
    // Somebody has it, which is ADD's affair.
    let holder = w.hold(&PodSpec::new("default/old"), 1, 3);
    kubelet.admit(&PodSpec::new("default/new").requests(DPDK, 1)).unwrap();
    drop(holder);
    kubelet.forget(&PodSpec::new("default/new"));
    // Gone in sysfs, before the daemon has heard of it: no event tells.
    std::fs::remove_file(w.node.dir().join("sys/bus/pci/devices").join(Sysfs::vf(1, 3))).unwrap();
    let error = kubelet.admit(&PodSpec::new("default/late").requests(DPDK, 1)).unwrap_err();
    assert!(error.contains(&Sysfs::vf(1, 3)) && error.contains(DPDK), "{error}");
}
