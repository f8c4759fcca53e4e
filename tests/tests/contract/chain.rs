//! First in a chain, or later.

use crate::node_and_pod;
use offramp_tests::{Lab, over};
use serde_json::json;

#[test]
fn an_earlier_plugins_result_comes_first() {
    let lab = Lab::new();
    let (node, mut pod) = node_and_pod(&lab);
    pod.ifname = "net1".into();
    let prev = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": pod.path()}, {"name": "other"}],
        "ips": [{"address": "10.5.0.5/24", "gateway": "10.5.0.1", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.5.0.1"}],
        "dns": {"nameservers": ["10.5.0.53"]},
    });
    let conf = node.inline(json!({"cniVersion": "1.0.0", "isDefaultGateway": null}));
    let later = over(conf.clone(), json!({"prevResult": prev}));
    let result = node.add(&pod, &later).ok();
    let names: Vec<_> = result["interfaces"].as_array().unwrap().iter().map(|i| i["name"].clone()).collect();
    assert_eq!(
        (names[0].clone(), names[1].clone(), names[2].clone()),
        ("eth0".into(), "other".into(), "br0".into())
    );
    assert_eq!(names[4], "net1");
    assert_eq!(
        result["ips"],
        json!([
            {"address": "10.5.0.5/24", "gateway": "10.5.0.1", "interface": 0},
            {"address": "10.88.0.2/24", "gateway": "10.88.0.1", "interface": 4},
            {"address": "fd88::2/64", "gateway": "fd88::1", "interface": 4},
        ])
    );
    assert_eq!(result["routes"], prev["routes"]);
    assert_eq!(result["dns"], prev["dns"]);
    node.check(&pod, &conf, &result).ok();
    node.del(&pod, &over(conf, json!({"prevResult": result}))).ok();
}

#[test]
fn a_result_of_an_older_version_is_understood() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let prev = json!({"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.5.0.5/24"}], "interfaces": null});
    let result = node.add(&pod, &node.inline(json!({"prevResult": prev}))).ok();
    assert_eq!(result["ips"][0], json!({"address": "10.5.0.5/24"}));
}

#[test]
fn what_is_no_result_is_an_error_of_add_and_none_of_del() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let before = node.snapshot();
    for (prev, code) in [
        (json!({"cniVersion": "9.9.9"}), 1),
        (json!({"cniVersion": "1.1.0", "ips": "none"}), 6),
        (json!({"cniVersion": "1.1.0", "ips": [{"address": "x"}]}), 6),
        (json!("nothing"), 6),
    ] {
        let conf = node.inline(json!({"prevResult": prev}));
        node.add(&pod, &conf).failed(code, &[]);
        offramp_tests::assert_same(&before, &node.snapshot());
        node.add(&pod, &node.inline(json!({}))).ok();
        node.del(&pod, &conf).ok();
        offramp_tests::assert_same(&before, &node.snapshot());
    }
}
