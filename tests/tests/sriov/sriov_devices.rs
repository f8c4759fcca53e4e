//! VFs that kubelet lends: what it assigned is what the pod gets, and one pod at a time has it.

use crate::lab::{pci, run, state};
use crate::sriov_node::{Wired, pool};
use offramp_tests::kubelet::{Kubelet, PodSpec, Runtime};
use offramp_tests::{over, until};
use serde_json::{Value, json};

pub const FAST: &str = "offramp.dev/fast";
const DPDK: &str = "offramp.dev/dpdk";

/// The pool fast has VFs 0 and 1, dpdk VF 3.
pub fn wired() -> (Wired, Kubelet, Value) {
    let fast = json!({"policy": {"eth0": true}, "devicePlugin": {"resourceName": FAST}});
    let dpdk = json!({"mode": "vfio", "devicePlugin": {"resourceName": DPDK}});
    let w = Wired::with_pools(json!([pool("fast", "0-1", fast), pool("dpdk", "3", dpdk)]));
    let root = w.m.node.dir().join("kubelet");
    let mut kubelet = Kubelet::new(&root);
    kubelet.start();
    (w, kubelet, json!({"paths": {"kubelet": root}}))
}

pub fn pcis(result: &Value) -> Vec<String> {
    let interfaces = result["interfaces"].as_array().unwrap().iter();
    let mut all: Vec<String> = interfaces.filter_map(|i| Some(i["pciID"].as_str()?.to_owned())).collect();
    all.sort();
    all
}

pub fn eth0(name: &str) -> PodSpec {
    PodSpec::new(name)
        .annotation("offramp.dev/offload", "required")
        .annotation("offramp.dev/pool", "fast")
        .requests(FAST, 1)
}

#[test]
fn what_kubelet_assigned_is_what_the_pod_gets() {
    let (w, mut kubelet, more) = wired();
    let before = [0, 1].map(state);
    let _daemon = w.start_with(more);
    kubelet.wait_for_healthy(FAST, 2);
    let runtime = Runtime::new(&w.m.lab, &w.m.node);

    let mut one = PodSpec::new("default/one")
        .annotation("offramp.dev/interfaces", "- {name: net1, pool: fast}")
        .requests(FAST, 1);
    one.cpus.push(0);
    kubelet.admit(&one).unwrap();
    // The next is another's, though the first is still free when its ADD runs.
    let other = eth0("default/other");
    let assigned = kubelet.admit(&other).unwrap().remove(0).ids;
    assert_eq!(assigned, [pci(1)]);
    let (sandbox, answer) = runtime.run(&other);
    assert_eq!(pcis(&answer.ok()), assigned);
    // A pod's VF is healthy, and kubelet's restart finds it so.
    kubelet.start();
    kubelet.wait_for_healthy(FAST, 2);
    let (first, answer) = runtime.run(&one);
    assert_eq!(pcis(&answer.ok()), [pci(0)]);
    let record = std::fs::read(w.m.node.record(&first.pod)).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["numa"], json!([0]), "where the machine has its only CPU");

    assert!(kubelet.delete(&runtime, &one, &first) && kubelet.delete(&runtime, &other, &sandbox));
    for (index, before) in before.iter().enumerate() {
        w.m.assert_vf_free(index, before);
    }
    kubelet.wait_for_healthy(FAST, 2);

    // Both at once, eth0 and net1.
    let both = eth0("default/both")
        .annotation("offramp.dev/interfaces", "- {name: net1, pool: fast}")
        .requests(FAST, 1);
    kubelet.admit(&both).unwrap();
    let (sandbox, answer) = runtime.run(&both);
    let mut all = [pci(0), pci(1)];
    all.sort();
    assert_eq!(pcis(&answer.ok()), all);
    assert!(kubelet.delete(&runtime, &both, &sandbox));
    for (index, before) in before.iter().enumerate() {
        w.m.assert_vf_free(index, before);
    }
}

#[test]
fn a_vf_that_is_promised_twice_has_one_holder() {
    let (w, kubelet, more) = wired();
    let before = state(0);
    let daemon = w.start_with(more);
    kubelet.wait_for_healthy(FAST, 2);
    let runtime = Runtime::new(&w.m.lab, &w.m.node);
    let waits = || daemon.log().matches("waits for a VF").count();
    let (old, new) = (eth0("default/old"), eth0("default/new"));
    kubelet.admit(&old).unwrap();
    let (sandbox, answer) = runtime.run(&old);
    assert_eq!(pcis(&answer.ok()), [pci(0)]);
    // Deleted by force while its DEL fails: kubelet promises the VF anew.
    kubelet.forget(&old);
    assert_eq!(kubelet.admit(&new).unwrap()[0].ids, [pci(0)]);
    let (failed, answer) = runtime.run(&new);
    answer.failed(11, &["VF 0 of nic0", "held by default/old@eth0"]);
    assert_eq!(w.m.claim(0).unwrap()["holder"]["container"], sandbox.pod.container);

    // The retry's ADD waits for the old sandbox's DEL, and for the cleaning.
    let before_retry = waits();
    let (next, answer) = std::thread::scope(|s| {
        let retry = s.spawn(|| runtime.run(&new));
        until("the daemon to wait for the VF", || waits() > before_retry);
        runtime.stop(&sandbox).ok();
        retry.join().unwrap()
    });
    assert_eq!(pcis(&answer.ok()), [pci(0)]);
    // Late DELs of both earlier sandboxes take nothing from it.
    for late in [&sandbox, &failed] {
        runtime.remove(late).ok();
    }
    assert_eq!(w.m.claim(0).unwrap()["holder"]["container"], next.pod.container);
    assert!(kubelet.delete(&runtime, &new, &next));
    w.m.assert_vf_free(0, &before);
}

#[test]
fn health_follows_the_cleaner_and_a_vf_that_somebody_took() {
    let (w, kubelet, more) = wired();
    let _daemon = w.start_with(more);
    kubelet.wait_for_healthy(FAST, 2);
    let runtime = Runtime::new(&w.m.lab, &w.m.node);
    let pod = eth0("default/web");
    let taken = kubelet.admit(&pod).unwrap().remove(0).ids.remove(0);
    let (sandbox, answer) = runtime.run(&pod);
    answer.ok();
    assert!(kubelet.devices(FAST)[&taken].healthy, "its pod has it");
    runtime.stop(&sandbox).ok();
    until("it to be cleaned", || w.m.claim(0).is_none());
    kubelet.wait_for_healthy(FAST, 2);
    let elsewhere = w.m.lab.netns("elsewhere");
    w.m.node.ip(&format!("link set {} netns {}", crate::lab::netdev(1), elsewhere.name()));
    kubelet.wait_for_healthy(FAST, 1);
    drop(elsewhere);
    kubelet.wait_for_healthy(FAST, 2);
}

#[test]
fn a_vfio_pod_has_its_nodes_and_is_told_of_its_device() {
    run("modprobe vfio-pci");
    let (w, kubelet, more) = wired();
    let before = state(3);
    let _daemon = w.start_with(more);
    kubelet.wait_for_healthy(DPDK, 1);
    let spec = PodSpec::new("default/p").requests(DPDK, 1);
    let allocated = kubelet.admit(&spec).unwrap().remove(0);
    assert_eq!(allocated.ids, [pci(3)]);
    assert_eq!(allocated.envs["PCIDEVICE_OFFRAMP_DEV_DPDK"], pci(3));
    let info = w.m.node.dir().join("devinfo");
    let annotations = json!({"offramp.dev/interfaces": "- {name: net1, pool: dpdk}"});
    let runtime_config = json!({"CNIDeviceInfoFile": info, "io.kubernetes.cri.pod-annotations": annotations});
    let conf = w.m.node.conf(json!({"runtimeConfig": runtime_config}));
    let (pod, args) = (w.m.lab.pod("p"), "K8S_POD_NAMESPACE=default;K8S_POD_NAME=p");
    let call = |verb: &str| w.m.node.call_for(verb, &pod).args(args);
    let result = call("ADD").config(&conf).run().ok();
    assert_eq!(pcis(&result), [pci(3)]);
    assert_eq!(allocated.nodes.len(), 2);
    for node in &allocated.nodes {
        assert!(std::fs::exists(node).unwrap(), "{node}: a container cannot start without it");
    }
    let told: Value = serde_json::from_slice(&std::fs::read(&info).unwrap()).unwrap();
    assert_eq!(told["pci"]["pci-address"], pci(3));
    call("DEL").config(&over(conf, json!({"prevResult": result}))).run().ok();
    assert!(!info.exists());
    w.m.assert_vf_free(3, &before);
}
