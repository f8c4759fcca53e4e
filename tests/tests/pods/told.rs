//! What pods are told: by `pods/status`, without anybody waiting for it.

use super::{annotation, call, cluster_and_node, events, put_pod, serving};
use offramp_tests::{Cluster, Lab, Node, until};
use serde_json::json;
use std::time::Duration;

/// An ADD of pod `db`, which prefers a VF on a node without pools; its status is written then.
fn falls_back(lab: &Lab, cluster: &Cluster, node: &Node) {
    let uid = put_pod(cluster, "db", json!({"offramp.dev/offload": "preferred"}));
    let (pod, conf) = (lab.pod("pod"), node.conf(json!({})));
    call(node, "ADD", &pod, ("db", &uid), &conf).run().ok();
    until("the status", || annotation(cluster, "db", "offramp.dev/status").is_some());
}

#[test]
fn a_fallback_is_an_event_and_the_reason_is_in_the_status() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    let _daemon = serving(&cluster, &node, json!({}));
    falls_back(&lab, &cluster, &node);
    let status = annotation(&cluster, "db", "offramp.dev/status").unwrap();
    let reason = status["interfaces"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("no pool"), "{status}");
    until("the event", || !events(&cluster).is_empty());
    assert_eq!(events(&cluster)[0]["reason"], "OfframpFallback");
    assert!(events(&cluster)[0]["message"].as_str().unwrap().contains(&reason));
}

/// Only what RBAC allows is asked of the API, and nothing is written to pods but by their status.
#[test]
fn nothing_else_is_asked_of_the_api() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    let _daemon = serving(&cluster, &node, json!({}));
    falls_back(&lab, &cluster, &node);
    until("the event", || !events(&cluster).is_empty());
    for request in cluster.api.requests() {
        let (verb, resource) = (request.verb.as_str(), [&*request.resource, &*request.subresource].join("/"));
        let reads = ["get", "list", "watch"].contains(&verb);
        let allowed = match resource.as_str() {
            "pods/" | "nodes/" => reads,
            "pods/status" | "nodes/status" => verb == "patch",
            "events/" => verb == "create",
            _ => {
                resource.starts_with("network-attachment-definitions") && reads
                    || resource.starts_with("offrampnodes")
            }
        };
        assert!(allowed, "{request:?}");
    }
}

#[test]
fn nobody_waits_for_it_and_an_outage_delays_it() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    let _daemon = serving(&cluster, &node, json!({}));
    let uid = put_pod(&cluster, "db", json!({}));
    let (pod, conf) = (lab.pod("pod"), node.conf(json!({})));
    until("the watch to know it", || {
        cluster.api.forget_requests();
        call(&node, "ADD", &pod, ("db", &uid), &conf).run().ok();
        call(&node, "DEL", &pod, ("db", &uid), &conf).run().ok();
        super::pod_gets(&cluster) == 0
    });
    cluster.api.outage(true);
    let answer = call(&node, "ADD", &pod, ("db", &uid), &conf).run();
    answer.ok();
    assert!(answer.took < Duration::from_secs(3), "{:?}", answer.took);
    let ip = pod.address(false);
    cluster.api.outage(false);
    until("the status of this sandbox", || {
        let status = annotation(&cluster, "db", "k8s.v1.cni.cncf.io/network-status");
        status.is_some_and(|s| s[0]["ips"][0] == json!(ip))
    });
    // A status that the API refuses for good is dropped: others are not held up by it.
    cluster.api.forbid("patch", "pods/status");
    let other = put_pod(&cluster, "other", json!({}));
    let (second, third) = (lab.pod("second"), lab.pod("third"));
    call(&node, "ADD", &second, ("other", &other), &conf).run().ok();
    until("the refusal", || cluster.api.requests().iter().any(|r| r.code == 403));
    cluster.api.allow("patch", "pods/status");
    let last = put_pod(&cluster, "last", json!({}));
    call(&node, "ADD", &third, ("last", &last), &conf).run().ok();
    until("the status of the last", || annotation(&cluster, "last", "offramp.dev/status").is_some());
}

/// The pod was deleted and made again under its name: the new one is not told what the old one got.
#[test]
fn another_pod_of_that_name_is_not_told() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    let _daemon = serving(&cluster, &node, json!({}));
    let (pod, conf) = (lab.pod("pod"), super::passing(&node, &json!({})));
    put_pod(&cluster, "db", json!({}));
    call(&node, "ADD", &pod, ("db", "uid-of-the-old-one"), &conf).run().ok();
    until("the refusal", || {
        cluster.api.requests().iter().any(|r| r.subresource == "status" && r.code == 409)
    });
    assert_eq!(annotation(&cluster, "db", "offramp.dev/status"), None);
}
