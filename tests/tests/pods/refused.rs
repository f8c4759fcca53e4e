//! What a pod's author writes wrongly: the ADD fails with annotation, field, value and what is allowed, an event says
//! the same, and nothing is left behind.

use super::{call, cluster_and_node, events, passing, put_pod, serving};
use offramp_tests::{Lab, assert_same, until};
use serde_json::{Value, json};

const INTERFACES: &str = "offramp.dev/interfaces";
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// Annotation, value, code, and what the message must have besides the annotation's key.
type Case = (&'static str, String, u64, &'static [&'static str]);

fn of_offramp() -> Vec<Case> {
    let with = |field: &str, value: &str| format!("[{{name: net1, {field}: {value}}}]");
    vec![
        ("offramp.dev/offload", "always".into(), 7, &["always", "none, preferred, required"]),
        ("offramp.dev/offload", "Required".into(), 7, &["Required", "allowed"]),
        ("offramp.dev/offload", "".into(), 7, &["allowed"]),
        ("offramp.dev/pool", "a/b".into(), 7, &["a/b", "1 to 63"]),
        ("offramp.dev/queues", "2".into(), 2, &["2", "offload must be preferred or required"]),
        ("offramp.dev/queues", "none".into(), 7, &["none", "from 1 to 1024"]),
        ("offramp.dev/offlaod", "none".into(), 2, &["none", "not supported"]),
        ("offramp.dev/vlan", "100".into(), 2, &["100", "not supported"]),
        (INTERFACES, "[".into(), 7, &["line 1"]),
        (INTERFACES, "net1".into(), 7, &["must be a list"]),
        (INTERFACES, "- net1".into(), 6, &["[0]", "object"]),
        (INTERFACES, "[{pool: a}]".into(), 7, &["[0].name", "missing"]),
        (INTERFACES, "[{name: eth0}]".into(), 7, &["[0].name", "eth0", "taken"]),
        (INTERFACES, "[{name: \"a b\"}]".into(), 7, &["[0].name", "a b", "white space"]),
        (INTERFACES, "[{name: a}, {name: a}]".into(), 7, &["[1].name", "twice"]),
        (INTERFACES, with("vlan", "4095"), 7, &["[0].vlan", "4095", "0 to 4094"]),
        (INTERFACES, with("vlan", "x"), 7, &["[0].vlan", "x"]),
        (INTERFACES, with("qos", "3"), 7, &["[0].qos", "needs a vlan"]),
        (INTERFACES, with("trust", "maybe"), 7, &["[0].trust", "maybe", "on, off"]),
        (INTERFACES, with("mac", "\"01:00:00:00:00:01\""), 7, &["[0].mac", "multicast"]),
        (INTERFACES, with("ips", "[10.0.0.1]"), 7, &["[0].ips", "10.0.0.1", "prefix length"]),
        (INTERFACES, with("mtu", "5"), 7, &["[0].mtu", "5"]),
        (INTERFACES, with("speed", "5"), 2, &["[0].speed", "5", "not supported"]),
        (INTERFACES, with("offload", "preferred"), 7, &["[0].offload", "preferred", "required"]),
        (INTERFACES, with("count", "17"), 7, &["[0].count", "17", "from 1 to 16"]),
        (INTERFACES, " ".repeat(20_000), 7, &["20000 bytes", "16384"]),
    ]
}

fn of_networks() -> Vec<Case> {
    let with = |field: &str, value: Value| json!([{"name": "a", field: value}]).to_string();
    vec![
        (NETWORKS, "a,,b".into(), 7, &["[1]", "NAMESPACE/NAME"]),
        (NETWORKS, "A".into(), 7, &["[0]", "A", "lower-case"]),
        (NETWORKS, "a/b/c".into(), 7, &["[0]", "a/b/c"]),
        (NETWORKS, "a@eth0".into(), 7, &["[0].interface", "eth0", "taken"]),
        (NETWORKS, "a@x,b@x".into(), 7, &["[1].interface", "x"]),
        (NETWORKS, "other/a".into(), 107, &["[0].namespace", "other", "team-a, default"]),
        (NETWORKS, "[".into(), 7, &["no JSON"]),
        (NETWORKS, "{}".into(), 7, &["JSON list"]),
        (NETWORKS, "[{}]".into(), 7, &["[0].name", "missing"]),
        (NETWORKS, with("ips", json!([])), 7, &["[0].ips", "1 to 32"]),
        (NETWORKS, with("ips", json!(["x"])), 7, &["[0].ips", "x", "IP address"]),
        (NETWORKS, with("mac", json!("x")), 7, &["[0].mac", "x", "6 bytes"]),
        (
            NETWORKS,
            with("portMappings", json!([{"hostPort": 0}])),
            7,
            &["[0].portMappings[0].hostPort", "1 to 65535"],
        ),
        (NETWORKS, with("default-route", json!(["x"])), 7, &["[0].default-route", "x"]),
        (NETWORKS, with("speed", json!(5)), 2, &["[0].speed", "5", "not supported"]),
        (NETWORKS, vec!["a"; 17].join(","), 7, &["17 networks", "16"]),
    ]
}

#[test]
fn each_with_its_message_and_nothing_changed() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    let _daemon = serving(&cluster, &node, json!({}));
    let pod = lab.pod("pod");
    let before = node.snapshot().without("eth0");
    let cases: Vec<Case> = of_offramp().into_iter().chain(of_networks()).collect();
    assert!(cases.len() >= 40);
    for (key, value, code, words) in cases {
        let conf = passing(&node, &json!({key: value}));
        let failed = call(&node, "ADD", &pod, ("pod", "uid"), &conf).run().failed(code, words);
        assert!(failed.msg.contains(key) && failed.msg.len() < 500, "{key} is not in {failed:?}");
    }
    assert_same(&before, &node.snapshot().without("eth0"));
}

#[test]
fn an_event_says_it_once() {
    let lab = Lab::new();
    let (cluster, node) = cluster_and_node(&lab);
    let _daemon = serving(&cluster, &node, json!({}));
    let uid = put_pod(&cluster, "asking", json!({"offramp.dev/offload": "always"}));
    let (pod, conf) = (lab.pod("pod"), node.conf(json!({})));
    // As often as a runtime tries it in a minute or two.
    for _ in 0..8 {
        call(&node, "ADD", &pod, ("asking", &uid), &conf).run().failed(7, &[]);
    }
    until("the event", || !events(&cluster).is_empty());
    let event = &events(&cluster)[0];
    assert_eq!((event["type"].clone(), event["reason"].clone()), (json!("Warning"), json!("OfframpRefused")));
    assert_eq!(event["involvedObject"]["uid"], json!(uid));
    assert_eq!(
        (event["involvedObject"]["name"].clone(), event["metadata"]["namespace"].clone()),
        (json!("asking"), json!("team-a"))
    );
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("annotation offramp.dev/offload: \"always\" is not allowed"), "{message}");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(events(&cluster).len(), 1, "{:?}", events(&cluster));
}
