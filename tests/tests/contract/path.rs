//! What connects a pod with the node: veth or netkit, by what is asked for and what the kernel has. Which that is, is
//! asked here as well, so that these tests say something on either kernel.

use crate::node_and_pod;
use offramp_kernel::{netkit, netlink::Socket};
use offramp_tests::{Lab, Node, Pod, assert_same, traffic, until};
use serde_json::{Value, json};

fn lacking() -> Option<String> {
    netkit::lacking(&mut Socket::open().unwrap()).unwrap()
}

fn kind(pod: &Pod) -> Value {
    pod.link("eth0").unwrap()["linkinfo"]["info_kind"].clone()
}

fn plan(node: &Node, pod: &Pod) -> Value {
    serde_json::from_slice::<Value>(&std::fs::read(node.record(pod)).unwrap()).unwrap()["plan"].take()
}

/// The pod has netkit, or veth and the reason; and lives as any.
fn is_netkit_or_says_why(node: &Node, pod: &Pod, conf: &Value, gateway: &str) {
    let before = node.snapshot();
    let result = node.add(pod, conf).ok();
    let (path, why) = match lacking() {
        None => ("netkit", "path netkit is configured".to_owned()),
        Some(lacking) => ("veth", format!("path netkit is configured, but {lacking}")),
    };
    let plan = plan(node, pod);
    assert_eq!((kind(pod), &plan["path"]), (json!(path), &json!(path)));
    assert_eq!(plan["reason"], format!("no offload was asked for; {why}"));
    assert!(traffic::ping(pod, gateway));
    node.check(pod, conf, &result).ok();
    node.del(pod, conf).ok();
    assert_same(&before, &node.snapshot());
}

#[test]
fn inline_netkit_is_made_where_the_kernel_has_it() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    node.add(&pod, &node.inline(json!({"path": "veth"}))).ok();
    assert_eq!(kind(&pod), "veth");
    node.del(&pod, &node.inline(json!({}))).ok();
    is_netkit_or_says_why(&node, &pod, &node.inline(json!({"path": "netkit"})), "10.88.0.1");
}

#[test]
fn the_daemons_path_is_that_of_its_pods() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let daemon = node.daemon(json!({"path": "netkit"}));
    let told = daemon.ask("status")["bridge"]["path"].clone();
    let expected = match lacking() {
        None => "netkit".to_owned(),
        Some(lacking) => format!("veth: path netkit is configured, but {lacking}"),
    };
    assert_eq!(told, expected);
    is_netkit_or_says_why(&node, &pod, &node.conf(json!({})), "10.244.1.1");
}

#[test]
fn required_netkit_is_that_or_nothing() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let _daemon = node.daemon(json!({"path": "netkit-required"}));
    let before = node.snapshot();
    for conf in [node.inline(json!({"path": "netkit-required"})), node.conf(json!({}))] {
        match lacking() {
            Some(lacking) => {
                let refused = node.add(&pod, &conf).failed(100, &["path netkit-required", &lacking]);
                assert!(refused.details.contains("falls back to veth"), "{refused:?}");
            }
            None => {
                node.add(&pod, &conf).ok();
                assert_eq!(kind(&pod), "netkit");
                node.del(&pod, &conf).ok();
            }
        }
    }
    match lacking() {
        Some(lacking) => drop(node.status(&node.conf(json!({}))).failed(50, &[&lacking])),
        None => drop(node.status(&node.conf(json!({}))).ok()),
    }
    assert_same(&before, &node.snapshot());
}

/// All that a pod has of it: addresses of its own, one way out, and the reason.
#[test]
fn a_routed_pod_lives_as_any() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let daemon = node.daemon(json!({"path": "netkit-l3"}));
    let (before, conf) = (node.snapshot(), node.conf(json!({})));
    let result = node.add(&pod, &conf).ok();
    let plan = plan(&node, &pod);
    let Some(lacking) = lacking() else {
        assert_eq!((kind(&pod), &plan["path"]), (json!("netkit"), &json!("netkit-l3")));
        assert_eq!(plan["reason"], "no offload was asked for; path netkit-l3 is configured");
        assert_eq!(pod.ips(), ["10.244.1.2/32", "fd00:244:1::2/128"]);
        assert_eq!(pod.default_gateway("-4").as_deref(), Some("169.254.1.1"));
        assert_eq!(pod.default_gateway("-6").as_deref(), Some("fe80::1"));
        assert_eq!(daemon.ask("status")["bridge"]["path"], "netkit-l3");
        for gateway in ["10.244.1.1", "fd00:244:1::1"] {
            assert!(traffic::ping(&pod, gateway), "{gateway}");
        }
        let explained = daemon.ask(&format!("explain {}@eth0", pod.container));
        assert!(explained[0]["traffic"][0]["bytes"]["tx"].as_u64() > Some(0), "{explained}");
        node.check(&pod, &conf, &result).ok();
        // Whoever breaks it: the daemon mends it.
        let host = result["interfaces"][0]["name"].as_str().unwrap();
        let is_mended = || node.check(&pod, &conf, &result).code == Some(0);
        let out_of_group = format!("link set {host} group 0");
        for damage in
            [&format!("route del 10.244.1.2 dev {host}"), &format!("link set {host} down"), &out_of_group]
        {
            node.ip(damage);
            until(damage, is_mended);
        }
        daemon.kill();
        node.ip(&out_of_group);
        let noticed = node.check(&pod, &conf, &result);
        noticed.failed(102, &[&format!("link {host} is in group 0, not 214")]);
        let _daemon = node.daemon(json!({"path": "netkit-l3"}));
        until("a daemon that comes to mend it", is_mended);
        node.del(&pod, &conf).ok();
        assert_same(&before, &node.snapshot());
        return;
    };
    assert_eq!((kind(&pod), &plan["path"]), (json!("veth"), &json!("veth")));
    assert_eq!(
        plan["reason"],
        format!("no offload was asked for; path netkit-l3 is configured, but {lacking}")
    );
}

/// What a link cannot have is not promised: such a pod is on the bridge.
#[test]
fn who_asks_for_a_mac_is_not_routed_to() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let daemon = node.daemon(json!({"path": "netkit-l3"}));
    let conf = node.conf(json!({"runtimeConfig": {"mac": "02:00:00:00:00:77"}}));
    node.add(&pod, &conf).ok();
    assert_eq!(
        (kind(&pod), &pod.link("eth0").unwrap()["address"]),
        (json!("veth"), &json!("02:00:00:00:00:77"))
    );
    let why = lacking().unwrap_or_else(|| "a MAC was asked for, and in L3 mode links have none".into());
    let reason = plan(&node, &pod)["reason"].as_str().unwrap().to_owned();
    assert!(reason.ends_with(&why), "{reason}");
    node.del(&pod, &conf).ok();
    daemon.kill();
    let _daemon = node.daemon(json!({"path": "netkit-l3-required"}));
    node.add(&pod, &conf).failed(100, &["path netkit-l3-required is configured, but", &why]);
}

#[test]
fn inline_netkit_is_on_the_bridge_that_is_named() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let before = node.snapshot();
    for path in ["netkit-l3", "netkit-l3-required"] {
        let conf = node.inline(json!({"path": path}));
        node.add(&pod, &conf).failed(7, &["path", path, "cannot be a port of a bridge"]);
    }
    assert_same(&before, &node.snapshot());
}

/// CHECK compares what the link is, not only how it is called.
#[test]
fn a_link_of_another_kind_is_noticed() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let conf = node.inline(json!({"path": "veth"}));
    let result = node.add(&pod, &conf).ok();
    let (host, mac) = (&result["interfaces"][1]["name"], &result["interfaces"][1]["mac"]);
    node.ip(&format!("link del {}", host.as_str().unwrap()));
    node.ip(&format!("link add {} address {} type bridge", host.as_str().unwrap(), mac.as_str().unwrap()));
    let address = result["interfaces"][2]["mac"].as_str().unwrap();
    pod.ip(&format!("link add eth0 address {address} type bridge"));
    node.check(&pod, &conf, &result).failed(102, &["is bridge, not veth"]);
}
