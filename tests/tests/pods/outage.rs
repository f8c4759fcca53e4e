//! Pods come and go while the API is away.

use super::{annotation, call, cluster_and_node, passing, pod_gets, put_pod, serving};
use offramp_tests::{Lab, Pod, assert_same, traffic, until};
use serde_json::json;

const PODS: usize = 6;
const ROUNDS: usize = 4;

#[test]
fn pods_come_and_go_and_one_that_nobody_knows_waits() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    let two = cluster.node(&lab, 2);
    let daemon = serving(&cluster, &node, json!({}));
    let _other = two.daemon(cluster.conf(json!({})));
    until("the other can serve", || two.status(&two.conf(json!({}))).code == Some(0));
    let far = lab.pod("far");
    two.add(&far, &passing(&two, &json!({}))).ok();
    let (conf, names) = (node.conf(json!({})), (0..PODS).map(|i| format!("pod-{i}")));
    let pods: Vec<(String, String, Pod)> =
        names.map(|name| (name.clone(), put_pod(&cluster, &name, json!({})), lab.pod(&name))).collect();
    until("the watch to have told of them", || {
        cluster.api.forget_requests();
        let (name, uid, pod) = pods.last().unwrap();
        call(&node, "ADD", pod, (name, uid), &conf).run().ok();
        call(&node, "DEL", pod, (name, uid), &conf).run().ok();
        pod_gets(&cluster) == 0
    });
    let (_, _, first) = &pods[0];
    until("the other node is reached", || {
        call(&node, "ADD", first, (&pods[0].0, &pods[0].1), &conf).run().ok();
        let reached = traffic::ping(first, &far.address(false));
        call(&node, "DEL", first, (&pods[0].0, &pods[0].1), &conf).run().ok();
        reached
    });
    // Neighbours on the wire, and what is kept of the API, are not the pods'.
    let state = || node.snapshot().without("eth0").without("peers.json");
    let before = state();

    cluster.api.outage(true);
    let churn = |(name, uid, pod): &(String, String, Pod)| {
        for _ in 0..ROUNDS {
            call(&node, "ADD", pod, (name, uid), &conf).run().ok();
            assert!(traffic::ping(pod, &far.address(false)) && traffic::ping(pod, &far.address(true)));
            call(&node, "DEL", pod, (name, uid), &conf).run().ok();
        }
        call(&node, "ADD", pod, (name, uid), &conf).run().ok();
    };
    // Some of it while the API comes and goes.
    std::thread::scope(|scope| {
        let threads: Vec<_> = pods.iter().map(|pod| scope.spawn(|| churn(pod))).collect();
        while threads.iter().any(|t| !t.is_finished()) {
            cluster.api.outage(false);
            std::thread::sleep(std::time::Duration::from_millis(50));
            cluster.api.outage(true);
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    });
    // Made while nobody could be told. What is missing is named, and the node is as ready as before.
    let (uid, new) = (put_pod(&cluster, "new", json!({})), lab.pod("new"));
    let failed = call(&node, "ADD", &new, ("new", &uid), &conf)
        .run()
        .failed(11, &["read the annotations of pod team-a/new from the Kubernetes API: ", "connect"]);
    assert!(failed.msg.len() < 500, "{failed:?}");
    node.status(&conf).ok();
    call(&node, "DEL", &new, ("new", &uid), &conf).run().ok();
    call(&node, "ADD", &new, ("new", &uid), &passing(&node, &json!({}))).run().ok();
    call(&node, "DEL", &new, ("new", &uid), &conf).run().ok();
    assert_eq!(node.records().len(), PODS);

    cluster.api.outage(false);
    for (name, _, pod) in &pods {
        let ip = json!(pod.address(false));
        until("its last status", || {
            let status = annotation(&cluster, name, "k8s.v1.cni.cncf.io/network-status");
            status.is_some_and(|s| s[0]["ips"][0] == ip)
        });
    }
    until("nothing is wrong", || daemon.ask("status")["problems"] == json!([]));
    for (name, uid, pod) in &pods {
        call(&node, "DEL", pod, (name, uid), &conf).run().ok();
    }
    assert_same(&before, &state());
}
