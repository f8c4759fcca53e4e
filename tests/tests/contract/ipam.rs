//! Offramp's own IPAM in inline mode, with host-local's fields.

use crate::node_and_pod;
use offramp_tests::{Lab, Node, Pod, assert_same};
use serde_json::{Value, json};

fn ranges(node: &Node, sets: Value) -> Value {
    node.inline(json!({"ipam": {"ranges": sets}}))
}

#[test]
fn one_address_of_each_set_in_both_families() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let conf = ranges(
        &node,
        json!([
            [{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.50", "rangeEnd": "10.1.0.60", "gateway": "10.1.0.254"}],
            [{"subnet": "10.2.0.0/24"}, {"subnet": "10.3.0.0/24"}],
            [{"subnet": "fd01::/64", "rangeStart": "fd01::100"}],
        ]),
    );
    let result = node.add(&pod, &conf).ok();
    assert_eq!(pod.ips(), ["10.1.0.50/24", "10.2.0.2/24", "fd01::100/64"]);
    assert_eq!(node.addresses("br0"), ["10.1.0.254/24", "10.2.0.1/24", "fd01::1/64"]);
    let gateways: Vec<_> = result["ips"].as_array().unwrap().iter().map(|i| i["gateway"].clone()).collect();
    assert_eq!(gateways, ["10.1.0.254", "10.2.0.1", "fd01::1"]);
    node.del(&pod, &conf).ok();
}

#[test]
fn a_full_range_of_a_set_is_followed_by_the_next() {
    let lab = Lab::new();
    let node = lab.node("node");
    let conf = ranges(&node, json!([[{"subnet": "10.1.0.0/30"}, {"subnet": "10.2.0.0/30"}]]));
    let pods = [lab.pod("a"), lab.pod("b"), lab.pod("c")];
    for (pod, ip) in pods.iter().zip(["10.1.0.2/30", "10.2.0.2/30"]) {
        node.add(pod, &conf).ok();
        assert_eq!(pod.ips(), [ip]);
    }
    node.status(&conf).failed(50, &["10.1.0.2", "no free address"]);
    let before = node.snapshot();
    node.add(&pods[2], &conf).failed(11, &["no free address", "10.1.0.2", "10.2.0.2"]);
    assert_same(&before, &node.snapshot());
    node.del(&pods[0], &conf).ok();
    node.status(&conf).ok();
    node.add(&pods[2], &conf).ok();
    assert_eq!(pods[2].ips(), ["10.1.0.2/30"]);
}

#[test]
fn an_address_rests_before_it_is_used_again() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let conf = ranges(&node, json!([[{"subnet": "10.1.0.0/29"}]]));
    for last in [2, 3, 4, 5, 6, 2] {
        node.add(&pod, &conf).ok();
        assert_eq!(pod.ips(), [format!("10.1.0.{last}/29")]);
        node.del(&pod, &conf).ok();
    }
}

#[test]
fn routes_and_resolv_conf_and_data_dir() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let resolv = node.dir().join("resolv.conf");
    std::fs::write(
        &resolv,
        "# comment\nnameserver 10.96.0.10\nnameserver fd96::a\ndomain a.local\nsearch b.local c.local\noptions ndots:5 edns0\n",
    )
    .unwrap();
    let data = node.dir().join("data");
    let conf = node.inline(json!({
        "isDefaultGateway": false,
        "isGateway": true,
        "ipam": {
            "routes": [{"dst": "10.50.0.0/16"}, {"dst": "10.60.0.0/16", "gw": "10.88.0.9"}, {"dst": "fd50::/64"}],
            "resolvConf": resolv,
            "dataDir": data,
        },
    }));
    let result = node.add(&pod, &conf).ok();
    let dns = json!({
        "nameservers": ["10.96.0.10", "fd96::a"],
        "domain": "a.local",
        "search": ["b.local", "c.local"],
        "options": ["ndots:5", "edns0"],
    });
    assert_eq!(result["dns"], dns);
    let routes = pod.ip("route show") + &pod.ip("-6 route show");
    for route in ["10.50.0.0/16 via 10.88.0.1", "10.60.0.0/16 via 10.88.0.9", "fd50::/64 via fd88::1"] {
        assert!(routes.contains(route), "{routes}");
    }
    let held = std::fs::read_to_string(data.join("pods/10.88.0.2")).unwrap();
    assert_eq!(held, format!("{}@eth0", pod.container));
    node.del(&pod, &conf).ok();
    assert!(!data.join("pods/10.88.0.2").exists());
    let missing = node.inline(json!({"ipam": {"resolvConf": "/nowhere/resolv.conf"}}));
    node.add(&pod, &missing).failed(5, &["resolvConf", "/nowhere/resolv.conf", "No such file"]);
}

#[test]
fn old_configurations_have_a_subnet_beside_the_type() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let ipam =
        json!({"ranges": null, "subnet": "10.7.0.0/24", "rangeStart": "10.7.0.9", "gateway": "10.7.0.3"});
    node.add(&pod, &node.inline(json!({"ipam": ipam}))).ok();
    assert_eq!(pod.ips(), ["10.7.0.9/24"]);
    assert_eq!(pod.default_gateway("-4").as_deref(), Some("10.7.0.3"));
}

/// Addresses can be asked for by the capability, by `CNI_ARGS`, and by the configuration.
#[test]
fn addresses_that_are_asked_for() {
    let lab = Lab::new();
    let node = lab.node("node");
    let by_capability = json!({"runtimeConfig": {"ips": ["10.88.0.40/24", "fd88::40"]}});
    let by_config = json!({"ipam": {"ips": ["10.88.0.42"]}});
    let ask = |pod: &Pod, more: &Value, args: &str| {
        node.call_for("ADD", pod).args(args).config(&node.inline(more.clone())).run()
    };
    let pods = [lab.pod("a"), lab.pod("b"), lab.pod("c"), lab.pod("d")];
    ask(&pods[0], &by_capability, "").ok();
    assert_eq!(pods[0].ips(), ["10.88.0.40/24", "fd88::40/64"]);
    ask(&pods[1], &json!({}), "IP=10.88.0.41,fd88::41").ok();
    assert_eq!(pods[1].ips(), ["10.88.0.41/24", "fd88::41/64"]);
    ask(&pods[2], &by_config, "").ok();
    assert_eq!(pods[2].address(false), "10.88.0.42");
    let before = node.snapshot();
    ask(&pods[3], &by_capability, "").failed(11, &["10.88.0.40", "taken"]);
    ask(&pods[3], &json!({}), "IP=10.99.0.1").failed(7, &["10.99.0.1", "none of the ranges"]);
    ask(&pods[3], &json!({}), "IP=10.88.0.1").failed(7, &["10.88.0.1"]); // the gateway's
    ask(&pods[3], &json!({}), "IP=10.88.0.256").failed(4, &["CNI_ARGS", "10.88.0.256"]);
    assert_same(&before, &node.snapshot());
}

#[test]
fn the_runtimes_ranges() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let given = json!({"ipRanges": [[{"subnet": "10.20.0.0/24"}], [{"subnet": "fd20::/64"}]]});
    let conf = node.inline(json!({"ipam": {"ranges": null}, "runtimeConfig": given}));
    node.add(&pod, &conf).ok();
    assert_eq!(pod.ips(), ["10.20.0.2/24", "fd20::2/64"]);
    let none = node.inline(json!({"ipam": {"ranges": null}}));
    node.add(&lab.pod("x"), &none).failed(7, &["ipam.ranges", "ipRanges"]);
    let overlapping = node.inline(json!({"runtimeConfig": {"ipRanges": [[{"subnet": "10.88.0.0/25"}]]}}));
    node.add(&lab.pod("x"), &overlapping).failed(7, &["overlap"]);
}

#[test]
fn networks_do_not_share_addresses() {
    let lab = Lab::new();
    let (node, a, b) = (lab.node("node"), lab.pod("a"), lab.pod("b"));
    node.add(&a, &node.inline(json!({"name": "one"}))).ok();
    node.add(&b, &node.inline(json!({"name": "two", "bridge": "br1"}))).ok();
    assert_eq!(a.ips(), b.ips());
}

#[test]
fn wrong_ranges_are_error_7_with_their_name() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let before = node.snapshot();
    for (sets, words) in [
        (json!([[]]), ["ipam.ranges[0]", "empty"]),
        (json!([{"subnet": "10.1.0.0/24"}]), ["ipam.ranges", "list of lists"]),
        (json!([[{"subnet": "10.1.0.7/24"}]]), ["ipam.ranges[0][0]", "10.1.0.0/24"]),
        (json!([[{"subnet": "10.1.0.0/31"}]]), ["ipam.ranges[0][0]", "too small"]),
        (json!([[{"subnet": "10.1.0.0/24", "gateway": "10.2.0.1"}]]), ["gateway", "10.2.0.1"]),
        (
            json!([[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8"}]]),
            ["10.1.0.9", "behind"],
        ),
        (json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/25"}]]), ["ipam.ranges", "overlap"]),
        (json!([[{"subnet": "10.1.0.0/24"}, {"subnet": "fd01::/64"}]]), ["ipam.ranges", "versions"]),
        (json!([[{"subnet": "10.1.0.0/24", "pool": "x"}]]), ["ipam.ranges[0][0].pool", "x"]),
        (json!([[{}]]), ["ipam.ranges[0][0].subnet", "missing"]),
    ] {
        let error = node.add(&pod, &ranges(&node, sets)).error();
        let text = format!("{} {}", error.msg, error.details);
        assert!(error.code == 7 || (error.code == 2 && text.contains("pool")), "{error:?}");
        assert!(words.iter().all(|w| text.contains(w)), "{words:?}: {text}");
    }
    assert_same(&before, &node.snapshot());
}
