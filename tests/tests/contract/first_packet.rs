//! ADD returns when the first packet will pass: it is sent at once, and once.

use offramp_tests::{Lab, Node, Pod, traffic};
use serde_json::{Value, json};

const ROUNDS: usize = 30;

/// From the node to the pod over UDP and ICMP, then from the pod to the node and to another pod.
fn attach_and_send(lab: &Lab, node: &Node, conf: &Value, gateways: [&str; 2]) {
    let other = lab.pod("other");
    node.add(&other, conf).ok();
    traffic::serve(&other, "other", 80);
    traffic::serve(node, "node", 90);
    let others = [other.address(false), other.address(true)];
    for round in 0..ROUNDS {
        let pod = lab.pod("pod");
        traffic::serve(&pod, "pod", 80);
        let result = node.add(&pod, conf).ok();
        let ip =
            |i: usize| result["ips"][i]["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
        // Each is the first packet of some round, in its family and direction.
        let v6 = round % 2;
        match round % 8 / 2 {
            0 => from_node_udp(node, &ip(v6)),
            1 => {
                assert!(traffic::ping(node, &ip(v6)), "round {round}: the first echo to {} was lost", ip(v6))
            }
            2 => from_pod(&pod, gateways[v6], 90, round),
            _ => from_pod(&pod, &others[v6], 80, round),
        }
        for (v6, gateway) in gateways.iter().enumerate() {
            from_node_udp(node, &ip(v6));
            from_pod(&pod, gateway, 90, round);
            from_pod(&pod, &others[v6], 80, round);
        }
        node.del(&pod, conf).ok();
    }
}

fn from_node_udp(node: &Node, ip: &str) {
    let answer = traffic::udp(node, traffic::at(ip, 80));
    assert!(answer.is_ok(), "the first datagram to {ip} was lost: {answer:?}");
}

fn from_pod(pod: &Pod, to: &str, port: u16, round: usize) {
    let answer = traffic::udp(pod, traffic::at(to, port));
    assert!(answer.is_ok(), "round {round}: the first datagram to {to} was lost: {answer:?}");
}

#[test]
fn in_inline_mode() {
    let lab = Lab::new();
    let node = lab.node("node");
    attach_and_send(&lab, &node, &node.inline(json!({})), ["10.88.0.1", "fd88::1"]);
}

#[test]
fn in_node_mode() {
    let lab = Lab::new();
    let node = lab.node("node");
    let _daemon = node.daemon(json!({}));
    attach_and_send(&lab, &node, &node.conf(json!({})), ["10.244.1.1", "fd00:244:1::1"]);
}
