//! What containers get, and which devices.

use crate::node::{DPDK, FAST, Wired};
use offramp_tests::kubelet::{PodSpec, cdi};
use offramp_tests::{Sysfs, over, until};
use serde_json::{Value, json};

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
fn a_runtime_finds_a_vfio_device_by_its_name() {
    let w = Wired::new();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let mut conf = over(w.conf(), json!({"reconcile": {"interval": "500ms"}}));
    conf["pools"][1]["devicePlugin"]["cdi"] = json!(true);
    let daemon = w.node.daemon(conf.clone());
    kubelet.wait_for_healthy(DPDK, 1);
    kubelet.wait_for_healthy(FAST, 5);
    let (dir, pod) = (w.node.dir().join("cdi"), PodSpec::new("default/dpdk").requests(DPDK, 1));
    let nodes = ["/dev/vfio/vfio".to_owned(), "/dev/vfio/13".to_owned()];
    let found = |name: &str| cdi::device_nodes(&dir, name);

    let named = kubelet.admit(&pod).unwrap().remove(0);
    assert_eq!((named.cdi.len(), named.nodes.len()), (1, 0));
    assert_eq!(found(&named.cdi[0]), Some(nodes.to_vec()));
    assert_eq!(named.envs["PCIDEVICE_OFFRAMP_DEV_DPDK"], Sysfs::vf(1, 3));
    // A container that starts while the daemon is away needs it.
    daemon.stop();
    assert_eq!(found(&named.cdi[0]), Some(nodes.to_vec()));
    // A name that the runtime does not know would be an error for ever.
    kubelet.forget(&pod);
    let _daemon = w.node.daemon(conf);
    kubelet.wait_for_healthy(DPDK, 1);
    std::fs::remove_dir_all(&dir).unwrap();
    let unnamed = kubelet.admit(&pod).unwrap().remove(0);
    assert_eq!((unnamed.cdi.len(), unnamed.nodes), (0, vec![nodes[1].clone(), nodes[0].clone()]));
    until("the file to be written anew", || found(&named.cdi[0]).is_some());

    Sysfs::new(&w.node).remove_last_vf("nic0", 1, 3);
    until("the last device to leave the file", || std::fs::read_dir(&dir).unwrap().count() == 0);
    // Of a netdev there is nothing to name.
    let fast = kubelet.admit(&PodSpec::new("default/fast").requests(FAST, 1)).unwrap().remove(0);
    assert!(fast.cdi.is_empty() && fast.nodes.is_empty());
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
