//! From the runtime, from the watch, or by exactly one GET.

use super::{call, cluster_and_node, passing, pod_gets, put_pod, serving};
use offramp_tests::{Lab, until};
use serde_json::json;

/// Annotations that no node can fulfil: where they come from shows by the refusal.
fn wrong() -> serde_json::Value {
    json!({"offramp.dev/offload": "always"})
}

#[test]
fn the_runtimes_or_the_watchs_cost_no_call() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    let _daemon = serving(&cluster, &node, json!({}));
    let conf = node.conf(json!({}));
    let plain = put_pod(&cluster, "plain", json!({}));
    let asking = put_pod(&cluster, "asking", wrong());
    // Of another node: it is not watched.
    cluster
        .api
        .put(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "far", "namespace": "team-a"},
        "spec": {"nodeName": "n2", "containers": []}}));
    let far = cluster.api.get("pods", Some("team-a"), "far").unwrap()["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    let (a, b, c) = (lab.pod("a"), lab.pod("b"), lab.pod("c"));
    until("the watch to have told of them", || {
        cluster.api.forget_requests();
        call(&node, "ADD", &b, ("asking", &asking), &conf)
            .run()
            .failed(7, &["offramp.dev/offload", "always"]);
        pod_gets(&cluster) == 0
    });
    cluster.api.forget_requests();
    call(&node, "ADD", &a, ("plain", &plain), &conf).run().ok();
    call(&node, "ADD", &b, ("plain", &plain), &passing(&node, &wrong())).run().failed(7, &["always"]);
    assert_eq!(pod_gets(&cluster), 0);
    call(&node, "ADD", &c, ("far", &far), &conf).run().ok();
    assert_eq!(pod_gets(&cluster), 1, "it is not this node's, by the API");
}

#[test]
fn a_pod_that_the_watch_does_not_know_costs_one() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    cluster.api.forbid("watch", "pods");
    cluster.api.forbid("list", "pods");
    let _daemon = serving(&cluster, &node, json!({}));
    let conf = node.conf(json!({}));
    let uid = put_pod(&cluster, "asking", wrong());
    let pod = lab.pod("pod");
    call(&node, "ADD", &pod, ("asking", &uid), &conf).run().failed(7, &["offramp.dev/offload", "always"]);
    assert_eq!(pod_gets(&cluster), 1);
    // One of that name that was before it, or comes after it.
    call(&node, "ADD", &pod, ("asking", "another"), &conf).run().failed(11, &["another one by now", &uid]);
    // A static pod: the runtime knows it by the hash that its mirror has as an annotation.
    put_pod(
        &cluster,
        "static-n1",
        json!({"kubernetes.io/config.hash": "hash", "kubernetes.io/config.mirror": "hash"}),
    );
    call(&node, "ADD", &pod, ("static-n1", "hash"), &conf).run().ok();
    call(&node, "DEL", &pod, ("static-n1", "hash"), &conf).run().ok();
    // One whose mirror is not there yet.
    call(&node, "ADD", &pod, ("static2-n1", "hash2"), &conf).run().ok();
    call(&node, "DEL", &pod, ("static2-n1", "hash2"), &conf).run().ok();
    cluster.api.outage(true);
    call(&node, "ADD", &pod, ("asking", &uid), &conf)
        .run()
        .failed(11, &["annotations of pod team-a/asking", "Kubernetes API"]);
    call(&node, "ADD", &pod, ("asking", &uid), &passing(&node, &json!({}))).run().ok();
    call(&node, "DEL", &pod, ("asking", &uid), &conf).run().ok();
}

#[test]
fn pods_that_are_known_are_served_without_the_api() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    let uid = put_pod(&cluster, "known", json!({}));
    let gone = put_pod(&cluster, "gone", wrong());
    let _daemon = serving(&cluster, &node, json!({}));
    let conf = node.conf(json!({}));
    let pod = lab.pod("pod");
    until("the watch to have told of them", || {
        cluster.api.forget_requests();
        call(&node, "ADD", &pod, ("gone", &gone), &conf).run().failed(7, &[]);
        pod_gets(&cluster) == 0
    });
    cluster.api.delete("pods", Some("team-a"), "gone");
    until("the watch to have told of its end", || {
        cluster.api.forget_requests();
        let answer = call(&node, "ADD", &pod, ("gone", &gone), &conf).run();
        call(&node, "DEL", &pod, ("gone", &gone), &conf).run().ok();
        answer.code == Some(0)
    });
    cluster.api.outage(true);
    call(&node, "ADD", &pod, ("known", &uid), &conf).run().ok();
    call(&node, "DEL", &pod, ("known", &uid), &conf).run().ok();
}
