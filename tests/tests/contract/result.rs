//! Results and errors in the exact shape of each version.

use crate::node_and_pod;
use offramp_tests::{Lab, Node, Pod};
use serde_json::{Value, json};

const MAC: &str = "02:00:5e:10:00:01";

fn conf(node: &Node, version: &str) -> Value {
    node.inline(json!({
        "cniVersion": version,
        "mtu": 1400,
        "isDefaultGateway": false,
        "isGateway": true,
        "ipam": {"routes": [{"dst": "0.0.0.0/0", "mtu": 1300}, {"dst": "fd99::/64", "gw": "fd88::9"}]},
        "dns": {"nameservers": ["10.96.0.10"], "search": ["x.local"]},
        "runtimeConfig": {"mac": MAC},
    }))
}

/// The host end's name and MAC are the plugin's choice: `HOST` and `HOSTMAC` in what is expected.
fn shape(mut result: Value, pod: &Pod) -> Value {
    assert_eq!(result["interfaces"][2]["sandbox"], pod.path().to_str().unwrap());
    result["interfaces"][1]["name"] = "HOST".into();
    result["interfaces"][1]["mac"] = "HOSTMAC".into();
    result["interfaces"][2]["sandbox"] = "NETNS".into();
    result
}

#[track_caller]
fn assert_shape(version: &str, expected: Value) {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let conf = conf(&node, version);
    let result = node.add(&pod, &conf).ok();
    let host = result["interfaces"][1]["name"].as_str().unwrap();
    assert_eq!(node.link(host).unwrap()["address"], result["interfaces"][1]["mac"]);
    assert_eq!(shape(result, &pod), expected);
    assert_eq!(node.del(&pod, &conf).stdout, "");
}

fn interfaces(mtu: bool) -> Value {
    let mut host = json!({"name": "HOST", "mac": "HOSTMAC"});
    let mut pod = json!({"name": "eth0", "mac": MAC, "sandbox": "NETNS"});
    if mtu {
        host["mtu"] = 1400.into();
        pod["mtu"] = 1400.into();
    }
    json!([{"name": "br0"}, host, pod])
}

fn before_1_0(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "interfaces": interfaces(false),
        "ips": [
            {"version": "4", "address": "10.88.0.2/24", "gateway": "10.88.0.1", "interface": 2},
            {"version": "6", "address": "fd88::2/64", "gateway": "fd88::1", "interface": 2},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.88.0.1"}, {"dst": "fd99::/64", "gw": "fd88::9"}],
        "dns": {"nameservers": ["10.96.0.10"], "search": ["x.local"]},
    })
}

#[test]
fn of_0_3_0() {
    assert_shape("0.3.0", before_1_0("0.3.0"));
}

#[test]
fn of_0_3_1() {
    assert_shape("0.3.1", before_1_0("0.3.1"));
}

#[test]
fn of_0_4_0() {
    assert_shape("0.4.0", before_1_0("0.4.0"));
}

#[test]
fn of_1_0_0() {
    assert_shape(
        "1.0.0",
        json!({
            "cniVersion": "1.0.0",
            "interfaces": interfaces(false),
            "ips": [
                {"address": "10.88.0.2/24", "gateway": "10.88.0.1", "interface": 2},
                {"address": "fd88::2/64", "gateway": "fd88::1", "interface": 2},
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.88.0.1"}, {"dst": "fd99::/64", "gw": "fd88::9"}],
            "dns": {"nameservers": ["10.96.0.10"], "search": ["x.local"]},
        }),
    );
}

#[test]
fn of_1_1_0() {
    assert_shape(
        "1.1.0",
        json!({
            "cniVersion": "1.1.0",
            "interfaces": interfaces(true),
            "ips": [
                {"address": "10.88.0.2/24", "gateway": "10.88.0.1", "interface": 2},
                {"address": "fd88::2/64", "gateway": "fd88::1", "interface": 2},
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.88.0.1", "mtu": 1300}, {"dst": "fd99::/64", "gw": "fd88::9"}],
            "dns": {"nameservers": ["10.96.0.10"], "search": ["x.local"]},
        }),
    );
}

#[test]
fn version_lists_what_is_spoken() {
    let lab = Lab::new();
    let node = lab.node("node");
    let spoken = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
    for asked in spoken {
        let answer = node.call("VERSION").config(&json!({"cniVersion": asked})).run().ok();
        assert_eq!(answer, json!({"cniVersion": asked, "supportedVersions": spoken}));
    }
    let answer = node.call("VERSION").config(&json!({"cniVersion": "7.0.0"})).run().ok();
    assert_eq!(answer["supportedVersions"], json!(spoken));
    // A runtime that asks before it knows anything sends nothing.
    assert_eq!(node.call("VERSION").run().ok()["cniVersion"], "1.1.0");
}

#[test]
fn errors_are_json_in_the_configurations_version() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let wrong = node.inline(json!({"cniVersion": "0.4.0", "mtu": 9}));
    let answer = node.add(&pod, &wrong);
    assert_eq!(answer.code, Some(1));
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(
        json,
        json!({"cniVersion": "0.4.0", "code": 7, "msg": "MTU \"9\" is not valid: an MTU is 68 to 65535"})
    );

    let newer = node.inline(json!({"cniVersion": "9.0.0"}));
    let error = node.add(&pod, &newer);
    error.failed(1, &["9.0.0", "1.1.0"]);
    assert!(error.stdout.contains(r#""cniVersion":"1.1.0""#), "{}", error.stdout);
}

#[test]
fn verbs_that_a_version_does_not_have_are_error_1() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    for (verb, version) in [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0")] {
        let conf = node.inline(json!({"cniVersion": version, "cni.dev/valid-attachments": []}));
        node.call_for(verb, &pod).config(&conf).run().failed(1, &[verb, version]);
    }
}

#[test]
fn without_a_command_it_says_what_it_is() {
    let lab = Lab::new();
    let node = lab.node("node");
    for call in [node.call("").without("CNI_COMMAND"), node.call("")] {
        let answer = call.run();
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""));
        for word in ["CNI plugin", "/opt/cni/bin", "Documentation", "0.3.0", "1.1.0"] {
            assert!(answer.stderr.contains(word), "{}", answer.stderr);
        }
    }
}
