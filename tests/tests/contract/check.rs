//! CHECK finds what is not as ADD made it.

use crate::node_and_pod;
use offramp_tests::{Lab, Node, Pod, over, pods_are_routed};
use serde_json::{Value, json};

/// Attaches, lets CHECK pass, breaks something, and expects code 102 with `words`.
#[track_caller]
fn broken(node: &Node, pod: &Pod, conf: &Value, damage: impl FnOnce(&str), words: &[&str]) {
    let result = node.add(pod, conf).ok();
    node.check(pod, conf, &result).ok();
    damage(result["interfaces"][1]["name"].as_str().unwrap());
    node.check(pod, conf, &result).failed(102, words);
    node.del(pod, conf).ok();
}

fn damages(node: &Node, pod: &Pod, conf: &Value) {
    let address = if conf["bridge"].is_null() { "10.244.1." } else { "10.88.0." };
    let remove = |_: &str| {
        pod.ip(&format!("addr del {} dev eth0", pod.ips()[0]));
    };
    broken(node, pod, conf, remove, &["eth0", "does not have address", address]);
    let remove_v6 = |_: &str| drop(pod.ip(&format!("addr del {} dev eth0", pod.ips()[1])));
    broken(node, pod, conf, remove_v6, &["eth0", "does not have address", "fd"]);
    let route = |family: &str| drop(pod.ip(&format!("{family} route del default")));
    broken(node, pod, conf, |_| route("-4"), &["eth0", "does not have the route to 0.0.0.0/0 via"]);
    broken(node, pod, conf, |_| route("-6"), &["eth0", "does not have the route to ::/0 via"]);
    broken(node, pod, conf, |_| drop(pod.ip("link set eth0 down")), &["eth0", "not up"]);
    broken(node, pod, conf, |_| drop(pod.ip("link del eth0")), &["is gone"]);
    if pods_are_routed() && conf["bridge"].is_null() {
        return;
    }
    broken(node, pod, conf, |_| drop(pod.ip("link set eth0 address 02:00:00:00:00:99")), &["eth0", "MAC"]);
    broken(node, pod, conf, |host| drop(node.ip(&format!("link set {host} down"))), &["not up as a port"]);
    broken(
        node,
        pod,
        conf,
        |host| drop(node.ip(&format!("link set {host} nomaster"))),
        &["not up as a port"],
    );
}

/// While no daemon is there, which would put right what it finds amiss.
fn damages_of_routed(node: &Node, pod: &Pod) {
    let conf = node.conf(json!({}));
    for (damage, words) in [
        ("link set HOST down", "is down"),
        ("route del 10.244.1.2 dev HOST", "no route to 10.244.1.2 on"),
        ("-6 route del fd00:244:1::2 dev HOST", "no route to fd00:244:1::2 on"),
        ("neigh del proxy 10.244.1.2 dev offramp0", "no proxy entry for 10.244.1.2 on offramp0"),
    ] {
        let daemon = node.daemon(json!({}));
        let result = node.add(pod, &conf).ok();
        daemon.kill();
        node.ip(&damage.replace("HOST", result["interfaces"][0]["name"].as_str().unwrap()));
        node.check(pod, &conf, &result).failed(102, &[words]);
        node.del(pod, &conf).ok();
    }
}

#[test]
fn of_inline_mode() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    damages(&node, &pod, &node.inline(json!({})));
}

/// A default route from each network: the kernel makes one IPv6 route with two next hops of them.
#[test]
fn a_second_default_route_is_no_damage() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let conf = node.inline(json!({}));
    let result = node.add(&pod, &conf).ok();
    pod.ip("link add net1 up type veth peer name net1peer");
    pod.ip("link set net1peer up");
    for (family, address, gateway) in
        [("-4", "10.99.0.2/24", "10.99.0.1"), ("-6", "fd99::2/64 nodad", "fd99::1")]
    {
        pod.ip(&format!("addr add {address} dev net1"));
        pod.ip(&format!("{family} route append default via {gateway} dev net1"));
    }
    assert!(pod.ip("-6 route show default").contains("nexthop"));
    node.check(&pod, &conf, &result).ok();
    pod.ip("-6 route del default via fd88::1 dev eth0");
    node.check(&pod, &conf, &result).failed(102, &["does not have the route to ::/0 via fd88::1"]);
}

#[test]
fn of_the_gateways_of_inline_mode() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let conf = node.inline(json!({}));
    for i in 0..2 {
        let damage = |_: &str| drop(node.ip(&format!("addr del {} dev br0", node.addresses("br0")[i])));
        broken(&node, &pod, &conf, damage, &["br0", "does not have gateway address"]);
    }
}

#[test]
fn of_the_limits() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let limit = json!({"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 8_000_000, "egressBurst": 800_000});
    let conf = node.inline(json!({"runtimeConfig": {"bandwidth": limit}}));
    let unlimited = |host: &str| drop(node.run(&format!("tc qdisc del dev {host} root")));
    broken(&node, &pod, &conf, unlimited, &["does not limit ingress"]);
    let ifb = || node.links_of_kind("ifb").remove(0);
    broken(&node, &pod, &conf, |_| unlimited(&ifb()), &["does not limit egress"]);
    broken(&node, &pod, &conf, |_| drop(node.ip(&format!("link del {}", ifb()))), &["is gone"]);
}

#[test]
fn of_the_rules() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let ports = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
    let conf =
        node.inline(json!({"ipMasq": true, "macspoofchk": true, "runtimeConfig": {"portMappings": ports}}));
    let on_node = &node;
    let nft = |script: &'static str| move |_: &str| drop(on_node.run(&format!("nft {script}")));
    broken(&node, &pod, &conf, nft("flush set inet offramp masquerade6"), &["masquerade6", "fd"]);
    broken(&node, &pod, &conf, nft("flush set inet offramp hairpin4"), &["hairpin4", "127.0.0.0/8"]);
    broken(&node, &pod, &conf, nft("flush map inet offramp host_ports4"), &["host_ports4", "8080"]);
    broken(&node, &pod, &conf, nft("delete table bridge offramp"), &["bridge offramp"]);
    let stolen = nft(
        "flush map inet offramp host_ports4; add element inet offramp host_ports4 { tcp . 8080 : 10.9.9.9 . 80 }",
    );
    broken(&node, &pod, &conf, stolen, &["port 8080", "another pod's"]);
}

#[test]
fn of_node_mode() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let daemon = node.daemon(json!({}));
    damages(&node, &pod, &node.conf(json!({})));
    daemon.kill();
    if pods_are_routed() {
        damages_of_routed(&node, &pod);
    }
}

#[test]
fn against_the_runtimes_result() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let conf = node.inline(json!({}));
    let result = node.add(&pod, &conf).ok();
    node.check(&pod, &conf, &result).ok();
    // A later plugin of the chain may have added something.
    let more = over(result.clone(), json!({"dns": {"nameservers": ["10.0.0.1"]}}));
    node.check(&pod, &conf, &more).ok();
    let mut other_ip = result.clone();
    other_ip["ips"][0]["address"] = "10.88.0.99/24".into();
    node.check(&pod, &conf, &other_ip).failed(102, &["10.88.0.2/24"]);
    let mut other_mac = result;
    other_mac["interfaces"][2]["mac"] = "02:00:00:00:00:99".into();
    node.check(&pod, &conf, &other_mac).failed(102, &["eth0", "MAC"]);
    node.call_for("CHECK", &pod).config(&conf).run().failed(7, &["prevResult"]);
}

#[test]
fn in_another_namespace_or_of_a_stranger() {
    let lab = Lab::new();
    let (node, pod, other) = (lab.node("node"), lab.pod("pod"), lab.pod("other"));
    let conf = node.inline(json!({}));
    let result = node.add(&pod, &conf).ok();
    let with_result = over(conf.clone(), json!({"prevResult": result}));
    let elsewhere = node.call_for("CHECK", &pod).netns(other.path()).config(&with_result);
    elsewhere.run().failed(102, &["another namespace"]);
    node.check(&other, &conf, &result).failed(3, &[&other.container, "not attached"]);
    node.call_for("CHECK", &pod)
        .netns("/run/netns/gone")
        .config(&with_result)
        .run()
        .failed(3, &["/run/netns/gone"]);
    node.check(&pod, &conf, &result).ok();
}
