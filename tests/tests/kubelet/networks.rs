//! Networks whose definition names a device resource: their plugins get what kubelet has assigned.

use crate::node::{FAST, Wired};
use offramp_tests::kubelet::PodSpec;
use offramp_tests::over;
use serde_json::{Value, json};

#[test]
fn a_networks_plugin_gets_the_device_that_kubelet_has_assigned() {
    let w = Wired::new();
    let definitions = w.node.dir().join("networks.yaml");
    // The reference plugin passes over what it does not know, and makes nothing.
    let config = json!({"cniVersion": "1.0.0", "type": "loopback"}).to_string();
    let metadata = json!({"name": "fast", "annotations": {"k8s.v1.cni.cncf.io/resourceName": FAST}});
    std::fs::write(&definitions, json!([{"metadata": metadata, "spec": {"config": config}}]).to_string())
        .unwrap();
    let mut kubelet = w.kubelet();
    kubelet.start();
    let _daemon = w.node.daemon(over(w.conf(), json!({"networks": {"definitions": definitions}})));
    kubelet.wait_for_healthy(FAST, 5);
    let pod = |name: &str, count: usize| {
        let spec =
            PodSpec::new(&format!("default/{name}")).annotation("k8s.v1.cni.cncf.io/networks", "fast,fast");
        spec.requests(FAST, count)
    };
    let two = pod("two", 2);
    let mut assigned = kubelet.admit(&two).unwrap()[0].ids.clone();
    assigned.sort();
    let (sandbox, answer) = w.runtime().run(&two);
    answer.ok();
    let record: Value = serde_json::from_slice(&std::fs::read(w.node.record(&sandbox.pod)).unwrap()).unwrap();
    let given = |i: usize| record["networks"][i]["plugins"][0]["deviceID"].as_str().unwrap().to_owned();
    assert_eq!([given(0), given(1)], assigned[..], "each has one of its own");
    w.runtime().stop(&sandbox).ok();
    // One is not enough for two networks.
    let one = pod("one", 1);
    kubelet.admit(&one).unwrap();
    w.runtime()
        .run(&one)
        .1
        .failed(106, &["network default/fast", "no device of offramp.dev/fast", "request as many"]);
    kubelet.stop();
    w.runtime().run(&two).1.failed(11, &["network default/fast", "ask kubelet"]);
}
