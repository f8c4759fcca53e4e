//! Networks whose definition names a device resource: their plugins get what kubelet has assigned.

use crate::node::{FAST, Wired};
use offramp_tests::kubelet::{Kubelet, PodSpec};
use offramp_tests::{Daemon, over};
use serde_json::{Value, json};
use std::path::Path;

/// A daemon with network `default/fast` of [`FAST`] by the reference plugin `loopback`, which passes over what it does not
/// know, and makes nothing.
fn with_network<'a>(w: &'a Wired, capabilities: &Value) -> (Kubelet, Daemon<'a>) {
    let definitions = w.node.dir().join("networks.yaml");
    let config = json!({"cniVersion": "1.0.0", "type": "loopback", "capabilities": capabilities}).to_string();
    let metadata = json!({"name": "fast", "annotations": {"k8s.v1.cni.cncf.io/resourceName": FAST}});
    std::fs::write(&definitions, json!([{"metadata": metadata, "spec": {"config": config}}]).to_string())
        .unwrap();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let daemon = w.node.daemon(over(w.conf(), json!({"networks": {"definitions": definitions}})));
    kubelet.wait_for_healthy(FAST, 5);
    (kubelet, daemon)
}

fn pod(name: &str, networks: &str, count: usize) -> PodSpec {
    let spec = PodSpec::new(&format!("default/{name}")).annotation("k8s.v1.cni.cncf.io/networks", networks);
    spec.requests(FAST, count)
}

fn admit(kubelet: &mut Kubelet, pod: &PodSpec) -> Vec<String> {
    let mut assigned = kubelet.admit(pod).unwrap()[0].ids.clone();
    assigned.sort();
    assigned
}

#[test]
fn a_networks_plugin_gets_the_device_that_kubelet_has_assigned() {
    let w = Wired::new();
    let (mut kubelet, _daemon) = with_network(&w, &json!({}));
    let two = pod("two", "fast,fast", 2);
    let assigned = admit(&mut kubelet, &two);
    let (sandbox, answer) = w.runtime().run(&two);
    answer.ok();
    let record: Value = serde_json::from_slice(&std::fs::read(w.node.record(&sandbox.pod)).unwrap()).unwrap();
    let given = |i: usize| record["networks"][i]["plugins"][0]["deviceID"].as_str().unwrap().to_owned();
    assert_eq!([given(0), given(1)], assigned[..], "each has one of its own");
    w.runtime().stop(&sandbox).ok();
    // One is not enough for two networks.
    let one = pod("one", "fast,fast", 1);
    kubelet.admit(&one).unwrap();
    w.runtime()
        .run(&one)
        .1
        .failed(106, &["network default/fast", "no device of offramp.dev/fast", "request as many"]);
    kubelet.stop();
    w.runtime().run(&two).1.failed(11, &["network default/fast", "ask kubelet"]);
}

#[test]
fn a_network_and_an_interface_never_get_the_same_device() {
    let w = Wired::new();
    let (mut kubelet, _daemon) = with_network(&w, &json!({}));
    let interface = |pod: PodSpec, more: &str| {
        pod.annotation("offramp.dev/interfaces", &format!("[{{name: vf1, pool: fast{more}}}]"))
    };
    let one = interface(pod("one", "fast", 1), "");
    admit(&mut kubelet, &one);
    w.runtime().run(&one).1.failed(106, &["no VF for vf1", "must request offramp.dev/fast"]);
    // What an interface names is its own.
    let named = pod("named", "fast", 1);
    let id = admit(&mut kubelet, &named).remove(0);
    let named = interface(named, &format!(", deviceID: \"{id}\""));
    w.runtime().run(&named).1.failed(106, &["network default/fast", "no device of offramp.dev/fast"]);
}

#[test]
fn what_is_told_of_a_device_is_passed_on_and_told() {
    const DIR: &str = "/run/k8s.cni.cncf.io/devinfo";
    let w = Wired::new();
    let (mut kubelet, _daemon) = with_network(&w, &json!({"deviceID": true, "CNIDeviceInfoFile": true}));
    let pod = pod("one", "fast", 1);
    let id = admit(&mut kubelet, &pod).remove(0);
    let told = json!({"type": "vdpa", "version": "1.1.0", "vdpa": {"path": "/dev/vhost-vdpa-0"}});
    std::fs::create_dir_all(Path::new(DIR).join("dp")).unwrap();
    std::fs::write(format!("{DIR}/dp/offramp.dev-fast-{id}-device.json"), told.to_string()).unwrap();
    let (sandbox, answer) = w.runtime().run(&pod);
    answer.ok();
    let file = format!("{DIR}/cni/{}-net1", sandbox.pod.container);
    let record: Value = serde_json::from_slice(&std::fs::read(w.node.record(&sandbox.pod)).unwrap()).unwrap();
    let network = &record["networks"][0];
    assert_eq!(network["plugins"][0]["runtimeConfig"], json!({"deviceID": id, "CNIDeviceInfoFile": file}));
    assert_eq!(network["device"]["told"], told);
    let copy: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(copy, told, "the plugin finds what the device plugin says");
    w.runtime().stop(&sandbox).ok();
    assert!(!Path::new(&file).exists());
}
