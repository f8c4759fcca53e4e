//! What is refused leaves nothing behind; and so does what fails half way.

use super::fake::Fake;
use super::{asks, call, define, macvlan, with_wire};
use offramp_tests::{Lab, assert_same};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn wishes_that_cannot_be_fulfilled() {
    let lab = Lab::new();
    let node = with_wire(&lab);
    let _daemon = node.daemon(define(
        &node,
        &[
            ("default/mac", macvlan(&node, json!({}))),
            ("other/mac", macvlan(&node, json!({}))),
            ("default/none", json!({"type": "no-such-plugin"})),
            ("default/broken", json!({"plugins": []})),
            ("default/pool", json!({"type": "offramp", "pool": "fast"})),
            ("default/again", json!({"type": "offramp"})),
        ],
    ));
    let pod = lab.pod("pod");
    let before = node.snapshot();
    let ports = json!([{"hostPort": 80, "containerPort": 80}]);
    let cases: [(Value, u64, &[&str]); 10] = [
        (json!("nowhere"), 7, &["no NetworkAttachmentDefinition team-a/nowhere"]),
        (json!("other/mac"), 107, &["namespace", "other", "team-a, default"]),
        (json!("default/mac@eth0"), 7, &["k8s.v1.cni.cncf.io/networks[0].interface", "taken"]),
        (json!("default/none"), 7, &["network default/none", "no-such-plugin", "CNI_PATH"]),
        (json!("default/broken"), 7, &["NetworkAttachmentDefinition default/broken", "plugins"]),
        (json!("default/again"), 7, &["default/again", "needs a \"pool\""]),
        (json!("default/pool"), 106, &["net1", "no pool"]),
        (
            json!([{"name": "mac", "namespace": "default", "portMappings": ports}]),
            2,
            &["portMappings", "default/mac", "(macvlan)"],
        ),
        (
            json!([{"name": "mac", "namespace": "default", "ips": ["10.99.1.1"]}]),
            999,
            &["network default/mac: plugin macvlan", "10.99.1.1"],
        ),
        (
            json!([{"name": "mac", "namespace": "default", "mac": "02:00:00:00:aa:01"}]),
            2,
            &["default/mac", "MAC 02:00:00:00:aa:01", "not given", "(macvlan)"],
        ),
    ];
    for (networks, code, words) in cases {
        call(&node, "ADD", &pod, &asks(&node, &networks)).run().failed(code, words);
        assert_same(&before, &node.snapshot());
    }
    call(&node, "ADD", &pod, &asks(&node, &json!(""))).run().ok();
}

/// The third of four fails: those before it are told, last first, it too, and the pod's interface goes.
#[test]
fn an_add_that_fails_half_way() {
    let lab = Lab::new();
    let node = lab.node("node");
    let fake = Fake::new(&node, &["one", "two", "three"]);
    let list = json!({"cniVersion": "1.0.0", "plugins": [{"type": "two"}, {"type": "three"}]});
    let one = json!({"cniVersion": "1.0.0", "type": "one"});
    let _daemon = node.daemon(define(&node, &[("team-a/one", one), ("team-a/list", list)]));
    let (pod, conf) = (lab.pod("pod"), asks(&node, &json!("one,list,one")));
    let before = node.snapshot();
    let add = || call(&node, "ADD", &pod, &conf).env("CNI_PATH", fake.path()).run();
    fake.write("fails-three-ADD", "");
    add().failed(123, &["network team-a/list: plugin three: it does not want to", "its details"]);
    let calls =
        ["ADD one net1", "ADD two net2", "ADD three net2", "DEL three net2", "DEL two net2", "DEL one net1"];
    assert_eq!(fake.short_calls(), calls);
    assert_same(&before, &node.snapshot());
    // A DEL that fails too keeps the record, and is told; the others are done.
    fake.write("fails-two-DEL", "");
    let failed = add().failed(123, &["plugin three", "not all could be undone", "plugin two"]);
    assert!(failed.details.contains("DEL and the daemon will go on"), "{failed:?}");
    assert_eq!(fake.short_calls(), calls);
    assert_eq!(node.records().len(), 1);
    call(&node, "DEL", &pod, &conf).run().failed(123, &["team-a/list", "plugin two"]);
    assert_eq!(fake.short_calls(), ["DEL three net2", "DEL two net2"], "what was done is struck out");
    fake.remove("fails-two-DEL");
    call(&node, "DEL", &pod, &conf).run().ok();
    assert_same(&before, &node.snapshot());
    fake.remove("fails-three-ADD");
    fake.calls();
    add().ok();
    call(&node, "DEL", &pod, &conf).run().ok();
    assert_same(&before, &node.snapshot());
}

/// What a plugin starts must hold neither our answer nor us.
#[test]
fn a_child_that_lives_on_does_not_hold_the_answer() {
    let lab = Lab::new();
    let node = lab.node("node");
    let fake = Fake::new(&node, &["one"]);
    fake.write("before-one-ADD", "sleep 30 & echo $! > sleeper\n");
    let _daemon =
        node.daemon(define(&node, &[("team-a/one", json!({"cniVersion": "1.0.0", "type": "one"}))]));
    let pod = lab.pod("pod");
    let answer = call(&node, "ADD", &pod, &asks(&node, &json!("one"))).env("CNI_PATH", fake.path()).run();
    answer.ok();
    assert!(answer.took < Duration::from_secs(15), "{:?}", answer.took);
}

/// Somebody else serves the annotation, such as multus: it is not ours.
#[test]
fn without_definitions_the_annotation_is_somebody_elses() {
    let lab = Lab::new();
    let node = lab.node("node");
    let _daemon = node.daemon(json!({"overlay": {"mode": "none"}}));
    let pod = lab.pod("pod");
    call(&node, "ADD", &pod, &asks(&node, &json!("whatever, it (is"))).run().ok();
    assert_eq!(super::record(&node, &pod).get("networks"), None);
}
