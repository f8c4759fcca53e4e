//! What is attached, in which order, with what; and that all of it goes again.

use super::fake::Fake;
use super::{asks, call, define, host_local, macvlan, record, with_wire};
use offramp_tests::{Lab, assert_same, over, traffic};
use serde_json::{Value, json};

/// Two pods on macvlan, one with a tuned interface: the reference plugins, a list and a single one.
#[test]
fn macvlan_and_tuning_of_the_reference_plugins() {
    let lab = Lab::new();
    let node = with_wire(&lab);
    let tuned = json!({"cniVersion": "1.0.0", "plugins": [
        macvlan(&node, json!({"capabilities": {"ips": true}})),
        {"type": "tuning", "capabilities": {"mac": true}, "sysctl": {"net.ipv4.conf.data0.arp_filter": "1"},
         "dataDir": node.state().join("tuning")},
    ]});
    let _daemon =
        node.daemon(define(&node, &[("default/mac", macvlan(&node, json!({}))), ("team-a/tuned", tuned)]));
    let before = node.snapshot();
    let (a, b) = (lab.pod("a"), lab.pod("b"));
    let plain = asks(&node, &json!("default/mac"));
    let wished = asks(
        &node,
        &json!([{"name": "tuned", "interface": "data0", "ips": ["10.99.0.77/24"], "mac": "02:00:00:00:aa:01"}]),
    );
    let result = call(&node, "ADD", &a, &plain).run().ok();
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 3, "bridge, host end, eth0: {result}");
    let wished_result = call(&node, "ADD", &b, &wished).run().ok();
    assert_eq!(b.addresses("data0")[0], "10.99.0.77/24");
    assert_eq!(b.link("data0").unwrap()["address"], "02:00:00:00:aa:01");
    let own = a.addresses("net1")[0].split('/').next().unwrap().to_owned();
    assert!(traffic::ping(&b, &own), "over macvlan");
    assert!(traffic::ping(&a, &b.address(true)), "and over the pod network");
    assert!(a.ip("route show default").contains("dev eth0"));
    let (plain_record, wished_record) = (record(&node, &a), record(&node, &b));
    assert_eq!(plain_record["networks"][0]["network"], "default/mac");
    assert_eq!(wished_record["networks"][0]["result"]["interfaces"][0]["mac"], "02:00:00:00:aa:01");
    let with = |conf: &Value, result: &Value| over(conf.clone(), json!({"prevResult": result}));
    call(&node, "CHECK", &a, &with(&plain, &result)).run().ok();
    call(&node, "CHECK", &b, &with(&wished, &wished_result)).run().ok();
    b.ip("link set data0 address 02:00:00:00:aa:02");
    call(&node, "CHECK", &b, &with(&wished, &wished_result))
        .run()
        .failed(999, &["team-a/tuned", "plugin macvlan", "02:00:00:00:aa:02"]);
    for pod in [&a, &b] {
        for _ in 0..3 {
            // Neither the annotation nor the namespace is needed.
            node.call_for("DEL", pod).netns("").config(&node.conf(json!({}))).run().ok();
        }
    }
    assert_same(&before, &node.snapshot());
}

#[test]
fn bridge_and_portmap_of_the_reference_plugins() {
    let lab = Lab::new();
    let node = lab.node("node");
    let list = json!({"cniVersion": "1.0.0", "name": "second", "plugins": [
        {"type": "bridge", "bridge": "second0", "isGateway": true,
         "ipam": host_local(&node, json!([[{"subnet": "10.98.0.0/24"}]]))},
        {"type": "portmap", "capabilities": {"portMappings": true}, "snat": false},
    ]});
    let _daemon = node.daemon(define(&node, &[("default/second", list)]));
    let ports = json!([{"hostPort": 9090, "containerPort": 80, "protocol": "tcp"}]);
    let conf = asks(
        &node,
        &json!([{"name": "second", "namespace": "default", "portMappings": ports, "default-route": ["10.98.0.1"]}]),
    );
    let pod = lab.pod("pod");
    call(&node, "ADD", &pod, &conf).run().ok();
    call(&node, "DEL", &pod, &conf).run().ok(); // portmap's chains stay by design
    let before = node.snapshot();
    call(&node, "ADD", &pod, &conf).run().ok();
    assert!(traffic::ping(&pod, "10.98.0.1"));
    let default = pod.ip("route show default");
    assert!(default.contains("via 10.98.0.1 dev net1") && !default.contains("eth0"), "{default}");
    assert!(pod.ip("-6 route show default").contains("dev eth0"), "that of the other family stays");
    assert!(node.snapshot().text().contains("9090"), "portmap has set its rules");
    call(&node, "DEL", &pod, &conf).run().ok();
    assert_same(&before, &node.snapshot());
}

/// ADD in order with the results of those before, DEL in reverse with the last; each with its own interface.
#[test]
fn the_order_and_what_each_is_called_with() {
    let lab = Lab::new();
    let node = lab.node("node");
    let fake = Fake::new(&node, &["one", "two", "three"]);
    let list = json!({"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "one"}, {"type": "two", "capabilities": {"mac": true}}]});
    let single = json!({"cniVersion": "1.0.0", "type": "three"});
    let _daemon = node.daemon(define(&node, &[("team-a/list", list), ("team-a/single", single)]));
    let conf = asks(&node, &json!("list,single@x,list"));
    let pod = lab.pod("pod");
    call(&node, "ADD", &pod, &conf).env("CNI_PATH", fake.path()).run().ok();
    let calls = fake.calls();
    let short: Vec<String> =
        calls.iter().map(|c| c.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(short, ["ADD one net1", "ADD two net1", "ADD three x", "ADD one net3", "ADD two net3"]);
    assert!(
        calls[0].contains("netns=there") && calls[0].contains("K8S_POD_NAMESPACE=team-a"),
        "{}",
        calls[0]
    );
    let two = fake.stdin("two", "ADD");
    assert_eq!((two["name"].clone(), two["prevResult"]["by"].clone()), (json!("n"), json!("one")));
    assert_eq!(fake.stdin("one", "ADD").get("prevResult"), None);
    assert_eq!(fake.stdin("three", "ADD")["name"], "single");
    // The record alone: no annotation, no CNI_PATH, no arguments.
    node.call_for("DEL", &pod).without("CNI_PATH").config(&node.conf(json!({}))).run().ok();
    assert_eq!(
        fake.short_calls(),
        ["DEL two net3", "DEL one net3", "DEL three x", "DEL two net1", "DEL one net1"]
    );
    assert_eq!(fake.stdin("one", "DEL")["prevResult"]["by"], "two");
    call(&node, "DEL", &pod, &conf).run().ok();
    assert_eq!(fake.calls(), [""; 0], "there is nothing left to do");
    // Without its namespace, and by GC.
    let gone = lab.pod("gone");
    call(&node, "ADD", &gone, &conf).env("CNI_PATH", fake.path()).run().ok();
    gone.delete();
    fake.calls();
    node.gc(&node.conf(json!({})), &[]).ok();
    let calls = fake.calls();
    assert!(
        calls.len() == 5 && calls.iter().all(|c| c.starts_with("DEL") && c.contains("netns= ")),
        "{calls:?}"
    );
    assert_eq!(node.records(), [""; 0]);
}
