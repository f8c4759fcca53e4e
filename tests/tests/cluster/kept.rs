//! What is kept of the cluster for a restart without the API: by a daemon that dies as it writes it, and in files that are
//! not what a daemon wrote.

use super::peers::{KIND, claim, pod, reaches, routes};
use super::problems;
use offramp_tests::{Cluster, Lab, Node, until};
use serde_json::{Value, json};
use std::path::PathBuf;

fn file(node: &Node, name: &str) -> PathBuf {
    node.state().join("cluster").join(name)
}

fn has(node: &Node, name: &str, word: &str) -> bool {
    std::fs::read_to_string(file(node, name)).is_ok_and(|text| text.contains(word))
}

fn peers(daemon: &offramp_tests::Daemon<'_>) -> Vec<String> {
    let overlay = daemon.ask("status")["overlay"]["peers"].clone();
    overlay.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_daemon_that_dies_as_it_keeps_the_peers_leaves_those_of_before() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let one = cluster.node(&lab, 1);
    let conf = || cluster.conf(json!({}));
    cluster.api.put(claim("n2", "10.99.0.2", "10.244.2.0/24"));
    let daemon = one.daemon(conf());
    until("the peer is kept", || has(&one, "peers.json", "n2"));
    daemon.kill();

    // What is kept of the node itself is there already: the peers are the only file that it writes.
    cluster.api.put(claim("n3", "10.99.0.3", "10.244.3.0/24"));
    let mut dying = one.daemon_unready(conf(), |command| {
        command.env("OFFRAMP_CRASH_AT", "file.written:1");
    });
    dying.wait();
    assert!(has(&one, "peers.new", "n3"), "it died as it kept them");
    assert!(has(&one, "peers.json", "n2") && !has(&one, "peers.json", "n3"));

    cluster.api.outage(true);
    let daemon = one.daemon(conf());
    until("the peer that was kept is known", || peers(&daemon) == ["n2"]);
    assert!(routes(&one).contains("10.244.2.0/24"));
    assert!(!daemon.log().contains("cannot be used"), "{}", daemon.log());
    cluster.api.outage(false);
    until("the new one is kept", || has(&one, "peers.json", "n3"));
    assert!(!file(&one, "peers.new").exists());
    until("nothing is wrong", || problems(&daemon) == "[]" && peers(&daemon) == ["n2", "n3"]);
}

#[test]
fn files_that_are_torn_or_false_are_told_and_not_believed() {
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let (one, two) = (cluster.node(&lab, 1), cluster.node(&lab, 2));
    let conf = || cluster.conf(json!({"reconcile": {"interval": "500ms"}}));
    let (first, _second) = (one.daemon(conf()), two.daemon(conf()));
    let (a, b) = (pod(&lab, &one, "a"), pod(&lab, &two, "b"));
    until("the peer is reached and kept", || reaches(&a, &b) && has(&one, "peers.json", "n2"));
    let ways = routes(&one);
    let kept = std::fs::read(file(&one, "peers.json")).unwrap();
    first.kill();
    cluster.api.outage(true);

    // Half of it, as after a file system's own crash. Who is not known is not gone: the ways stay.
    std::fs::write(file(&one, "peers.json"), &kept[..kept.len() / 2]).unwrap();
    let first = one.daemon(conf());
    until("it is told", || {
        let log = first.log();
        log.contains("what was kept of the cluster cannot be used") && log.contains("cluster/peers.json")
    });
    until("the outage is told", || problems(&first).contains("watch of the other nodes"));
    assert!(peers(&first).is_empty());
    assert_eq!(routes(&one), ways);
    assert!(reaches(&a, &b));
    first.kill();

    // Whole, but of a peer that has this node's own pods, and of one that has the other's.
    let mut lies: Value = serde_json::from_slice(&kept).unwrap();
    for (name, of) in [("n7", "10.244.1.0/24"), ("n8", "10.244.2.0/24")] {
        let peer = json!({"name": name, "endpoints": ["10.99.0.77"], "podCIDRs": [of]});
        let claim = json!({"peer": peer, "created": "2099-01-01T00:00:00Z"});
        lies.as_array_mut().unwrap().push(claim);
    }
    std::fs::write(file(&one, "peers.json"), lies.to_string()).unwrap();
    let first = one.daemon(conf());
    until("the lies are told", || ["n7", "n8"].iter().all(|name| problems(&first).contains(name)));
    assert_eq!(routes(&one), ways, "neither leads anywhere");
    first.kill();

    // Nor does it make up podCIDRs of its own: it waits for the API.
    std::fs::write(file(&one, "node.json"), "{\"uid\": \"x\", \"podCIDRs\": [\"10.2").unwrap();
    let first = one.daemon_unready(conf(), |_| {});
    until("it is told", || first.log().contains("cluster/node.json"));
    let status = || one.status(&one.conf(json!({})));
    until("it cannot serve", || status().code == Some(1));
    cluster.api.outage(false);
    until("it serves", || status().code == Some(0));
    until("all is kept anew, and nothing is wrong", || {
        has(&one, "node.json", "10.244.1.0/24") && !has(&one, "peers.json", "n7") && problems(&first) == "[]"
    });
    assert!(cluster.api.get(KIND, None, "n1").is_some() && reaches(&a, &b));
}
