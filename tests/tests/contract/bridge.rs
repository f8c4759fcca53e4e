//! The fields of the reference `bridge` in inline mode: each has its effect. (VLANs are tested in a VM.)

use crate::{node_and_pod, plain};
use offramp_tests::{Lab, Node, Pod, traffic};
use serde_json::{Value, json};

/// The port of the node that leads to the pod, as `ip -j -d link` shows it.
fn port(node: &Node, result: &Value) -> Value {
    node.link(result["interfaces"][1]["name"].as_str().unwrap()).unwrap()
}

fn attach(node: &Node, pod: &Pod, more: Value) -> Value {
    node.add(pod, &node.inline(more)).ok()
}

#[test]
fn bridge_and_its_default() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let result = attach(&node, &pod, json!({"bridge": "mybr"}));
    assert_eq!(port(&node, &result)["master"], "mybr");
    node.ip("link add other type veth peer name other2");
    let answer = node.add(&lab.pod("x"), &node.inline(json!({"bridge": "other"})));
    answer.failed(100, &["other", "not a bridge"]);
    node.add(&lab.pod("y"), &node.inline(json!({"bridge": null}))).ok();
    assert!(node.link("cni0").is_some());
}

#[test]
fn is_gateway() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    node.add(&pod, &plain(&node)).ok();
    assert_eq!(node.addresses("br0"), [""; 0]);
    assert_eq!(pod.default_gateway("-4"), None);
    let second = lab.pod("second");
    attach(
        &node,
        &second,
        json!({"bridge": "br1", "name": "b", "isDefaultGateway": false, "isGateway": true}),
    );
    assert_eq!(node.addresses("br1"), ["10.88.0.1/24", "fd88::1/64"]);
    assert_eq!((second.default_gateway("-4"), second.default_gateway("-6")), (None, None));
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        let value = node.inside(|| std::fs::read_to_string(format!("/proc/sys/net/{key}")).unwrap());
        assert_eq!(value, "1\n", "{key}");
    }
}

#[test]
fn is_default_gateway() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let result = attach(&node, &pod, json!({}));
    assert_eq!(pod.default_gateway("-4").as_deref(), Some("10.88.0.1"));
    assert_eq!(pod.default_gateway("-6").as_deref(), Some("fd88::1"));
    let default = json!([{"dst": "0.0.0.0/0", "gw": "10.88.0.1"}, {"dst": "::/0", "gw": "fd88::1"}]);
    assert_eq!(result["routes"], default);
    for gateway in ["10.88.0.1", "fd88::1"] {
        assert!(traffic::ping(&pod, gateway));
    }
}

#[test]
fn ip_masq() {
    let lab = Lab::new();
    let (node, outside) = (lab.node("node"), lab.netns("outside"));
    node.uplink(&outside);
    traffic::serve(&outside, "outside", 80);
    outside.ip("route add 10.88.0.0/24 via 198.51.100.1");
    outside.ip("route add fd88::/64 via 2001:db8:51::1");
    let (open, masked) = (lab.pod("open"), lab.pod("masked"));
    attach(&node, &open, json!({}));
    attach(&node, &masked, json!({"ipMasq": true, "ipMasqBackend": "nftables"}));
    for (v6, out, own) in
        [(false, "198.51.100.2", "198.51.100.1"), (true, "2001:db8:51::2", "2001:db8:51::1")]
    {
        let ask = |pod: &Pod| traffic::tcp(pod, traffic::at(out, 80)).unwrap();
        assert_eq!(ask(&open), format!("outside {}", open.address(v6)));
        assert_eq!(ask(&masked), format!("outside {own}"));
    }
    // Not among the pods of the subnet.
    traffic::serve(&open, "open", 80);
    for v6 in [false, true] {
        let answer = traffic::tcp(&masked, traffic::at(&open.address(v6), 80)).unwrap();
        assert_eq!(answer, format!("open {}", masked.address(v6)));
    }
    let conf = node.inline(json!({"ipMasqBackend": "iptables"}));
    node.add(&lab.pod("x"), &conf).failed(2, &["ipMasqBackend", "iptables"]);
}

#[test]
fn mtu() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let result = attach(&node, &pod, json!({"mtu": 1400}));
    assert_eq!(port(&node, &result)["mtu"], 1400);
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1400);
    assert_eq!(node.link("br0").unwrap()["mtu"], 1400);
    let default = lab.pod("default");
    attach(&node, &default, json!({"mtu": 0, "bridge": "br1", "name": "other"}));
    assert_eq!(default.link("eth0").unwrap()["mtu"], 1500);
}

#[test]
fn hairpin_mode() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    for on in [false, true] {
        let result = attach(&node, &pod, json!({"hairpinMode": on}));
        assert_eq!(port(&node, &result)["linkinfo"]["info_slave_data"]["hairpin"], on);
        node.del(&pod, &node.inline(json!({}))).ok();
    }
}

#[test]
fn promisc_mode() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let is_promisc = |bridge: &str| {
        let link = node.link(bridge).unwrap();
        link["flags"].as_array().unwrap().contains(&json!("PROMISC"))
    };
    attach(&node, &pod, json!({"promiscMode": true}));
    assert!(is_promisc("br0"));
    attach(&node, &lab.pod("x"), json!({"bridge": "br1", "name": "other"}));
    assert!(!is_promisc("br1"));
    let both = node.inline(json!({"promiscMode": true, "hairpinMode": true}));
    node.add(&lab.pod("y"), &both).failed(7, &["promiscMode", "hairpinMode"]);
}

#[test]
fn port_isolation() {
    let lab = Lab::new();
    let node = lab.node("node");
    let pods = [lab.pod("a"), lab.pod("b"), lab.pod("open")];
    for (pod, isolated) in pods.iter().zip([true, true, false]) {
        let result = attach(&node, pod, json!({"portIsolation": isolated}));
        assert_eq!(port(&node, &result)["linkinfo"]["info_slave_data"]["isolated"], isolated);
    }
    let [a, b, open] = &pods;
    assert!(traffic::ping_fails(a, &b.address(false)));
    assert!(traffic::ping(a, &open.address(false)));
    assert!(traffic::ping(a, "10.88.0.1"));
}

#[test]
fn macspoofchk() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let conf = node.inline(json!({"macspoofchk": true}));
    let before = node.snapshot();
    let result = node.add(&pod, &conf).ok();
    let mac = result["interfaces"][2]["mac"].as_str().unwrap().to_owned();
    assert!(traffic::ping(&pod, "10.88.0.1"));
    pod.ip("link set eth0 address 02:00:00:00:00:66");
    assert!(traffic::ping_fails(&pod, "10.88.0.1"));
    pod.ip(&format!("link set eth0 address {mac}"));
    assert!(traffic::ping(&pod, "10.88.0.1"));
    node.del(&pod, &conf).ok();
    offramp_tests::assert_same(&before, &node.snapshot());
}

#[test]
fn force_address() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    node.ip("link add br0 type bridge");
    node.ip("addr add 10.88.0.77/24 dev br0");
    let before = node.snapshot();
    let answer = node.add(&pod, &node.inline(json!({})));
    answer.failed(100, &["br0", "10.88.0.77", "forceAddress"]);
    offramp_tests::assert_same(&before, &node.snapshot());
    attach(&node, &pod, json!({"forceAddress": true}));
    assert_eq!(node.addresses("br0"), ["10.88.0.1/24", "fd88::1/64"]);
}

#[test]
fn disable_container_interface() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let with_ipam = node.inline(json!({"disableContainerInterface": true}));
    node.add(&pod, &with_ipam).failed(7, &["disableContainerInterface", "ipam"]);
    let conf = node.conf(json!({"bridge": "br0", "disableContainerInterface": true}));
    let result = node.add(&pod, &conf).ok();
    assert_eq!(result["ips"], Value::Null);
    let flags = pod.link("eth0").unwrap()["flags"].clone();
    assert!(!flags.as_array().unwrap().contains(&json!("UP")), "{flags}");
    node.check(&pod, &conf, &result).ok();
    node.del(&pod, &conf).ok();
}

#[test]
fn without_ipam_the_link_is_up() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let conf = node.conf(json!({"bridge": "br0", "ipam": {}}));
    let result = node.add(&pod, &conf).ok();
    assert_eq!(result["ips"], Value::Null);
    assert_eq!(pod.link("eth0").unwrap()["operstate"], "UP");
    node.check(&pod, &conf, &result).ok();
}

#[test]
fn enabledad() {
    let lab = Lab::new();
    let node = lab.node("node");
    for on in [false, true] {
        let pod = lab.pod("pod");
        attach(&node, &pod, json!({"enabledad": on}));
        let shown = pod.ip_json("-6 addr show dev eth0");
        let address = shown[0]["addr_info"].as_array().unwrap().iter().find(|a| a["scope"] == "global");
        let without_dad = address.unwrap().get("nodad").is_some();
        assert_eq!(without_dad, !on, "{shown}");
        offramp_tests::until("the gateway to answer", || traffic::ping(&pod, "fd88::1"));
    }
}

#[test]
fn what_is_not_supported_is_named() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let before = node.snapshot();
    let long = "x".repeat(16);
    for (more, code, words) in [
        (json!({"frobnicate": 1}), 2, ["frobnicate", "1"]),
        (json!({"ipam": {"sticky": true}}), 2, ["ipam.sticky", "true"]),
        (json!({"runtimeConfig": {"teleport": {}}}), 2, ["runtimeConfig.teleport", "{}"]),
        (json!({"mtu": "1500"}), 7, ["mtu", "1500"]),
        (json!({"mtu": 70_000}), 7, ["MTU", "70000"]),
        (json!({"vlan": 4095}), 7, ["VLAN", "4095"]),
        (json!({"vlan": 5}), 7, ["isGateway", "vlan"]),
        (json!({"isDefaultGateway": "yes"}), 7, ["isDefaultGateway", "yes"]),
        (json!({"bridge": long}), 7, ["bridge", "15 bytes"]),
        (json!({"bridge": "../br0"}), 7, ["bridge", "../br0"]),
        (json!({"vlanTrunk": [{"id": 5, "minID": 6}]}), 7, ["vlanTrunk[0]", "id"]),
        (json!({"logLevel": "loud"}), 7, ["logLevel", "loud"]),
        (json!({"stateDir": "relative"}), 7, ["stateDir", "relative"]),
        (json!({"dns": {"nameservers": "1.1.1.1"}}), 7, ["dns", "1.1.1.1"]),
    ] {
        node.add(&pod, &node.inline(more)).failed(code, &words);
    }
    offramp_tests::assert_same(&before, &node.snapshot());
}
