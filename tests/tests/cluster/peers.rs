//! The other nodes: who comes, goes, moves, lies, and what happens while the API is away.

use super::{add, problems};
use offramp_tests::api::Role;
use offramp_tests::{Cluster, Lab, Netns, Node, Pod, traffic, until};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

pub(super) const KIND: &str = "offrampnodes.offramp.dev";

/// A pod on a node that can serve.
pub(super) fn pod(lab: &Lab, node: &Node, name: &str) -> Pod {
    let conf = node.conf(json!({}));
    until("it can serve", || node.status(&conf).code == Some(0));
    let pod = lab.pod(name);
    add(node, &pod).ok();
    pod
}

pub(super) fn reaches(from: &Netns, to: &Pod) -> bool {
    [false, true].iter().all(|v6| traffic::reaches(from, &to.address(*v6)))
}

pub(super) fn routes(node: &Node) -> String {
    node.ip("route show proto 213") + &node.ip("-6 route show proto 213")
}

/// What a node would say of itself.
pub(super) fn claim(name: &str, endpoint: &str, pod_cidr: &str) -> Value {
    json!({
        "apiVersion": "offramp.dev/v1alpha1", "kind": "OfframpNode", "metadata": {"name": name},
        "spec": {"endpoints": [endpoint], "podCIDRs": [pod_cidr], "somethingNew": {"of": "a later version"}},
    })
}

#[test]
fn nodes_join_move_and_leave() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let vxlan = json!({"overlay": {"mode": "vxlan"}});
    let (one, two) = (cluster.node(&lab, 1), cluster.node(&lab, 2));
    let (first, second) = (one.daemon(cluster.conf(vxlan.clone())), two.daemon(cluster.conf(vxlan)));
    let (a, b) = (pod(&lab, &one, "a"), pod(&lab, &two, "b"));
    until("the pods reach each other", || reaches(&a, &b) && reaches(&b, &a));
    let said = cluster.api.get(KIND, None, "n2").unwrap();
    assert_eq!(said["spec"]["endpoints"], json!(["10.99.0.2", "fd99::2"]));
    assert_eq!(said["spec"]["podCIDRs"], json!(["10.244.2.0/24", "fd44:2::/64"]));
    let uid = cluster.api.get("nodes", None, "n2").unwrap()["metadata"]["uid"].clone();
    assert_eq!(said["metadata"]["ownerReferences"][0]["uid"], uid);

    // A third joins, directly routed.
    let three = cluster.node(&lab, 3);
    let third = three.daemon(cluster.conf(json!({})));
    let c = pod(&lab, &three, "c");
    until("the third is reached", || reaches(&a, &c) && reaches(&c, &b));

    // It gets another address.
    three.ip("addr del 10.99.0.3/16 dev eth0");
    three.ip("addr add 10.99.0.33/16 dev eth0");
    until("its new address is known", || {
        first.ask("status")["overlay"]["peers"].to_string().contains("10.99.0.33")
    });
    until("it is reached there", || reaches(&a, &c) && reaches(&c, &b));

    // It leaves: daemon, Node, and what belongs to the Node.
    third.kill();
    cluster.api.delete("nodes", None, "n3");
    cluster.api.collect_garbage();
    until("its ways are gone", || {
        !routes(&one).contains("10.244.3.0/24") && !routes(&two).contains("fd44:3::")
    });
    assert!(reaches(&a, &b));

    // What is said changes when it does: nobody wrote anything since.
    let before = cluster.api.get(KIND, None, "n2").unwrap()["metadata"]["resourceVersion"].clone();
    assert_eq!(before, said["metadata"]["resourceVersion"]);
    // Somebody deletes it: it is said again.
    cluster.api.delete(KIND, None, "n2");
    until("it is said again", || cluster.api.get(KIND, None, "n2").is_some());
    until("the pods reach each other again", || reaches(&a, &b));
    for daemon in [&first, &second] {
        until("nothing is wrong", || problems(daemon) == "[]");
    }
}

#[test]
fn the_api_may_be_away_and_the_ways_stay() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let (one, two) = (cluster.node(&lab, 1), cluster.node(&lab, 2));
    let conf = || cluster.conf(json!({"overlay": {"mode": "vxlan"}, "reconcile": {"interval": "500ms"}}));
    let (first, _second) = (one.daemon(conf()), two.daemon(conf()));
    let (a, b) = (pod(&lab, &one, "a"), pod(&lab, &two, "b"));
    cluster.api.put(claim("n9", "10.99.0.9", "10.244.9.0/24"));
    until("all are known", || reaches(&a, &b) && routes(&one).contains("10.244.9.0/24"));
    until("all are kept", || {
        let kept = std::fs::read_to_string(one.state().join("cluster/peers.json")).unwrap_or_default();
        kept.contains("n9") && kept.contains("n2")
    });

    cluster.api.outage(true);
    // Nobody hears of it now.
    cluster.api.delete(KIND, None, "n9");
    first.kill();
    let ways = routes(&one);
    one.ip("route del 10.244.2.0/24");
    let first = one.daemon(conf());
    until("a restart without the API mends the ways", || routes(&one) == ways);
    let c = pod(&lab, &one, "c");
    assert!(reaches(&c, &b) && reaches(&a, &b));
    until("the outage is told", || problems(&first).contains("watch of the other nodes"));
    assert_eq!(routes(&one), ways);

    cluster.api.outage(false);
    until("who has left is gone", || !routes(&one).contains("10.244.9.0/24"));
    assert!(reaches(&c, &b));
    until("nothing is wrong", || problems(&first) == "[]");

    // A server that lags behind knows nobody: it is not asked for its old state.
    cluster.api.lag(true);
    cluster.api.put(claim("n8", "10.99.0.8", "10.244.8.0/24"));
    until("the new one is known", || routes(&one).contains("10.244.8.0/24"));
    cluster.api.compact();
    cluster.api.outage(true);
    cluster.api.put(claim("n7", "10.99.0.7", "10.244.7.0/24"));
    cluster.api.compact();
    cluster.api.outage(false);
    until("all was listed anew", || routes(&one).contains("10.244.7.0/24"));
    assert!(routes(&one).contains("10.244.8.0/24"));
    let stale =
        |r: &&offramp_tests::api::Logged| r.verb == "list" && r.resource_version.as_deref() == Some("0");
    assert_eq!(cluster.api.requests().iter().find(stale), None);
}

/// A packet to a new peer's pod must not leave masqueraded.
#[test]
fn a_new_peer_is_reached_when_the_firewall_knows_its_pods() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.node(&lab, 1);
    let (path, broken, tries) = nft_that_fails(&node);
    let conf = cluster.conf(json!({"overlay": {"mode": "direct"}, "reconcile": {"interval": "1h"}}));
    let daemon = node.daemon_as(conf, |command| {
        command.env("PATH", &path);
    });
    cluster.api.put(claim("n8", "10.99.0.8", "10.244.8.0/24"));
    until("a peer is known", || routes(&node).contains("10.244.8.0/24") && problems(&daemon) == "[]");
    std::fs::write(&broken, "").unwrap();
    cluster.api.put(claim("n9", "10.99.0.9", "172.20.9.0/24"));
    until("it is tried again", || {
        std::fs::read_to_string(&tries).is_ok_and(|tries| tries.lines().count() > 1)
    });
    assert!(problems(&daemon).contains("no such luck"), "{}", problems(&daemon));
    assert!(!routes(&node).contains("172.20.9.0/24"), "{}", routes(&node));
    std::fs::remove_file(&broken).unwrap();
    until("the new peer is reached", || routes(&node).contains("172.20.9.0/24"));
    let rules = node.run("nft list ruleset");
    assert!(rules.contains("172.20.9.0/24"), "{rules}");
    until("nothing is wrong", || problems(&daemon) == "[]");
}

/// A PATH with an nft that fails while the first of these files is there, and says so in the second.
fn nft_that_fails(node: &Node) -> (String, PathBuf, PathBuf) {
    let dir = node.dir().join("bin");
    let (broken, tries) = (node.dir().join("broken"), node.dir().join("tries"));
    std::fs::create_dir(&dir).unwrap();
    let script = format!(
        "#!/bin/sh\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
         [ -e {} ] && {{ echo tried >> {}; echo no such luck >&2; exit 1; }}\nexec nft \"$@\"\n",
        broken.display(),
        tries.display()
    );
    std::fs::write(dir.join("nft"), script).unwrap();
    std::fs::set_permissions(dir.join("nft"), std::fs::Permissions::from_mode(0o755)).unwrap();
    (format!("{}:{}", dir.display(), std::env::var("PATH").unwrap()), broken, tries)
}

#[test]
fn nobody_takes_what_another_has() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let (one, two) = (cluster.node(&lab, 1), cluster.node(&lab, 2));
    let conf = || cluster.conf(json!({"overlay": {"mode": "vxlan"}}));
    // It is older than its victims, and has a Node of its own.
    cluster.put_node(6, &["10.244.6.0/24"]);
    cluster.api.put(claim("n6", "10.99.0.6", "10.244.2.0/24"));
    let (first, second) = (one.daemon(conf()), two.daemon(conf()));
    let (a, b) = (pod(&lab, &one, "a"), pod(&lab, &two, "b"));
    until("the victim is believed", || reaches(&a, &b));
    let told = "peer n6 is left out: it claims podCIDR 10.244.2.0/24 as another node does, and its Node has not got it";
    until("the liar is told", || problems(&first).contains(told));
    until("the victim tells it too", || {
        problems(&second).contains("peer n6 is left out: its podCIDR 10.244.2.0/24 overlaps")
    });
    // Wrong ones harm nobody else.
    let mut wrong = claim("n5", "10.99.0.5", "10.244.5.0/24");
    wrong["spec"]["endpoints"] = json!("10.99.0.5");
    cluster.api.put(wrong);
    cluster.api.put(claim("n4", "10.244.2.7", "10.244.4.0/24"));
    until("each is told", || {
        let told = problems(&first);
        told.contains("peer n5 is left out: spec: ")
            && told.contains("peer n4 is left out: its endpoint 10.244.2.7 is inside")
    });
    assert!(reaches(&a, &b) && reaches(&b, &a));
    // It becomes honest.
    cluster.api.put(claim("n6", "10.99.0.6", "10.244.6.0/24"));
    until("it is believed", || routes(&one).contains("10.244.6.0/24"));
    assert!(!problems(&first).contains("n6"));
}

#[test]
fn a_node_that_is_made_anew_under_its_name_is_followed() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let (one, two) = (cluster.node(&lab, 1), cluster.node(&lab, 2));
    let (first, second) = (one.daemon(cluster.conf(json!({}))), two.daemon(cluster.conf(json!({}))));
    let (a, b) = (pod(&lab, &one, "a"), pod(&lab, &two, "b"));
    until("the pods reach each other", || reaches(&a, &b));
    cluster.api.delete("nodes", None, "n2");
    until("its end is told", || problems(&second).contains("no Node n2"));
    // As the real one, the collector comes again: what was deleted may have been said once more before the end was known.
    until("its ways are gone", || {
        cluster.api.collect_garbage();
        !routes(&one).contains("10.244.2.0/24")
    });
    assert_eq!(cluster.api.get(KIND, None, "n2"), None, "what has no owner is not made again");
    // Another gets its networks, and it gets others.
    cluster.put_node(2, &["10.244.22.0/24", "fd44:22::/64"]);
    cluster.api.put(claim("n3", "10.99.0.3", "10.244.2.0/24"));
    until("the new ways are there", || {
        let routes = routes(&one);
        routes.contains("10.244.22.0/24") && routes.contains("10.244.2.0/24 via 10.99.0.3")
    });
    let c = pod(&lab, &two, "c");
    until("its new pods are reached", || reaches(&a, &c));
    let owner = cluster.api.get(KIND, None, "n2").unwrap()["metadata"]["ownerReferences"].clone();
    let uid = cluster.api.get("nodes", None, "n2").unwrap()["metadata"]["uid"].clone();
    assert_eq!((owner.as_array().unwrap().len(), &owner[0]["uid"]), (1, &uid));
    assert!(!problems(&first).contains("n2"));
    let conf = two.conf(json!({}));
    two.del(&b, &conf).ok();
}

#[test]
fn the_node_says_that_it_can_serve_and_status_names_those_that_do_not() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.machine(&lab, 1);
    let mut object = cluster.put_node(1, &["10.244.1.0/24"]);
    object["status"]["conditions"] = json!([
        {"type": "Ready", "status": "True"}, {"type": "NetworkUnavailable", "status": "True", "reason": "NoRoute"},
    ]);
    cluster.api.put(object);
    for name in ["n7", "n8"] {
        cluster.api.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}));
    }
    cluster.api.put(claim("n8", "10.99.0.8", "10.244.8.0/24"));
    let daemon = node.daemon(cluster.conf(json!({})));
    let condition = || {
        let node = cluster.api.get("nodes", None, "n1").unwrap();
        let all = node["status"]["conditions"].as_array().unwrap().clone();
        assert!(all.iter().any(|c| c["type"] == "Ready"), "{all:?}");
        all.iter().find(|c| c["type"] == "NetworkUnavailable").unwrap()["status"].clone()
    };
    until("the network is available", || condition() == "False");
    until("who says nothing is named", || daemon.ask("status")["silent"] == json!(["n7"]));
    // It is said once.
    let patches = || cluster.api.requests().iter().filter(|r| r.short() == "patch nodes/status n1").count();
    let before = patches();
    daemon.ask("status");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!((before, patches()), (1, 1));
    // What is asked of the API is what RBAC grants, no more; events and statuses are asked for by pods only.
    let role = Role::of_the_daemon();
    for request in cluster.api.requests() {
        assert!(role.grants(&request) && request.code != 403, "{request:?}");
        let written = !["get", "list", "watch"].contains(&request.verb.as_str());
        assert!(!written || request.name == "n1", "{request:?}");
        assert!(request.user_agent.starts_with("offrampd/"), "{}", request.user_agent);
    }
}
