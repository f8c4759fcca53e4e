//! With the Kubernetes API, and without it.

use crate::node::{DPDK, FAST, Wired, wish};
use offramp_tests::kubelet::PodSpec;
use offramp_tests::{Cluster, Lab, until, wait_for};
use serde_json::json;

/// A pod that kubelet looks at after a reboot, before the plugin has registered, is Failed for ever.
#[test]
fn plugins_register_before_the_api_answers() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.node(&lab, 1);
    let w = Wired::of(lab, node);
    cluster.api.outage(true);
    let mut kubelet = w.kubelet();
    kubelet.start();
    let _daemon = w.node.daemon_unready(w.node_conf(&cluster), |_| {});
    kubelet.wait_for_healthy(FAST, 5);
    kubelet.wait_for_healthy(DPDK, 1);
    kubelet.admit(&PodSpec::new("default/web").requests(FAST, 1)).unwrap();
    // Its own podCIDRs are not known either.
    assert!(!w.runtime().node_is_ready());
}

#[test]
fn a_device_of_an_init_container_is_refused_with_an_event_that_names_it() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.node(&lab, 1);
    let w = Wired::of(lab, node);
    let mut kubelet = w.kubelet();
    kubelet.start();
    let _daemon = w.node.daemon(w.node_conf(&cluster));
    kubelet.wait_for_healthy(FAST, 5);
    until("pods can be attached", || w.runtime().node_is_ready());
    let limits = json!({"limits": {FAST: "1"}, "requests": {FAST: "1"}});
    let mut pod = wish(PodSpec::new("default/init"), "fast");
    pod.init_requests.push((FAST.into(), 1));
    let stored = cluster.api.put(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": "init", "annotations": pod.annotations},
        "spec": {
            "nodeName": "n1",
            "initContainers": [{"name": "setup", "image": "i", "resources": limits}],
            "containers": [{"name": "c", "image": "i"}],
        },
    }));
    pod.uid = stored["metadata"]["uid"].as_str().unwrap().to_owned();
    kubelet.admit(&pod).unwrap();
    w.runtime().run(&pod).1.failed(106, &["net1", "an init container not counted", FAST]);
    let event = wait_for("the event", || cluster.api.list("events").into_iter().next());
    assert_eq!(event["involvedObject"]["uid"], json!(pod.uid));
    assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("OfframpRefused")));
    let message = event["message"].as_str().unwrap();
    for words in
        ["init container setup requests offramp.dev/fast", "in an ordinary container", "no VF for net1"]
    {
        assert!(message.contains(words), "{words} is not in {message}");
    }
}
