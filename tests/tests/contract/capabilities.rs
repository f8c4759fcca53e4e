//! `runtimeConfig` in inline mode: port mappings, MAC, DNS, annotations.

use crate::node_and_pod;
use offramp_tests::{Lab, Netns, Node, assert_same, over, traffic};
use serde_json::{Value, json};

/// As the conventions write it, and as containerd sends it.
fn both_casings(protocol: &str, port: u16, to: u16) -> [Value; 2] {
    [
        json!({"hostPort": port, "containerPort": to, "protocol": protocol}),
        json!({"HostPort": port, "ContainerPort": to, "Protocol": protocol.to_uppercase(), "HostIP": "", "Name": "x"}),
    ]
}

fn with_ports(node: &Node, mappings: Value) -> Value {
    node.inline(json!({"runtimeConfig": {"portMappings": mappings}}))
}

const NODE: [(bool, &str); 2] = [(false, "198.51.100.1"), (true, "2001:db8:51::1")];

fn answers(from: &Netns, ip: &str, port: u16, word: &str) {
    let to = traffic::at(ip, port);
    for answer in [traffic::tcp(from, to), traffic::udp(from, to)] {
        let answer = answer.unwrap_or_else(|e| panic!("{} to {to}: {e}", from.name()));
        assert!(answer.starts_with(word), "{answer}");
    }
}

#[test]
fn port_mappings_in_both_casings_from_everywhere() {
    let lab = Lab::new();
    let (node, outside, other) = (lab.node("node"), lab.netns("outside"), lab.pod("other"));
    node.uplink(&outside);
    node.add(&other, &node.inline(json!({}))).ok();
    for casing in 0..2 {
        let pod = lab.pod("pod");
        traffic::serve(&pod, "pod", 80);
        let mappings = ["tcp", "udp"].map(|p| both_casings(p, 8080, 80)[casing].clone());
        let conf = with_ports(&node, json!(mappings));
        let before = node.snapshot();
        node.add(&pod, &conf).ok();
        for (_, ip) in NODE {
            for from in [&outside, &*node, &*other, &*pod] {
                answers(from, ip, 8080, "pod");
            }
        }
        answers(&node, "127.0.0.1", 8080, "pod");
        node.del(&pod, &conf).ok();
        assert_same(&before, &node.snapshot());
        assert!(traffic::tcp(&outside, traffic::at(NODE[0].1, 8080)).is_err());
    }
}

#[test]
fn a_port_at_one_address_of_the_node() {
    let lab = Lab::new();
    let (node, pod, outside) = (lab.node("node"), lab.pod("pod"), lab.netns("outside"));
    node.uplink(&outside);
    node.ip("addr add 198.51.100.9/24 dev up0");
    traffic::serve(&pod, "pod", 80);
    let conf = with_ports(
        &node,
        json!([
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "198.51.100.9"},
            {"hostPort": 8081, "containerPort": 80, "protocol": "udp", "hostIP": "::"},
        ]),
    );
    node.add(&pod, &conf).ok();
    assert!(traffic::tcp(&outside, traffic::at("198.51.100.9", 8080)).is_ok());
    assert!(traffic::tcp(&outside, traffic::at("198.51.100.1", 8080)).is_err());
    assert!(traffic::udp(&outside, traffic::at("2001:db8:51::1", 8081)).is_ok());
    assert!(traffic::is_silent(&outside, traffic::at("198.51.100.1", 8081)));
}

#[test]
fn a_port_that_is_taken_is_error_11_and_leaves_nothing() {
    let lab = Lab::new();
    let (node, pod, second) = (lab.node("node"), lab.pod("pod"), lab.pod("second"));
    let conf = with_ports(&node, json!(both_casings("tcp", 8080, 80)[..1]));
    node.add(&pod, &conf).ok();
    let before = node.snapshot();
    node.add(&second, &conf).failed(11, &["8080", "tcp"]);
    assert_same(&before, &node.snapshot());
    assert_eq!(second.link("eth0"), None);
    node.del(&second, &conf).ok();
    assert_same(&before, &node.snapshot());
    node.del(&pod, &conf).ok();
    node.add(&second, &conf).ok();
}

#[test]
fn wrong_mappings_are_error_7() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let before = node.snapshot();
    for (mapping, code, words) in [
        (json!({"hostPort": 0, "containerPort": 80}), 7, ["portMappings[0].hostPort", "1 to 65535"]),
        (json!({"hostPort": 70_000, "containerPort": 80}), 7, ["portMappings[0].hostPort", "70000"]),
        (json!({"hostPort": 80}), 7, ["portMappings[0].containerPort", "missing"]),
        (
            json!({"hostPort": 80, "containerPort": 80, "protocol": "icmp"}),
            7,
            ["portMappings[0].protocol", "icmp"],
        ),
        (
            json!({"hostPort": 80, "containerPort": 80, "hostIP": "nowhere"}),
            7,
            ["portMappings[0].hostIP", "nowhere"],
        ),
        (json!({"hostPort": 80, "containerPort": 80, "sticky": true}), 2, ["portMappings[0].sticky", "true"]),
    ] {
        node.add(&pod, &with_ports(&node, json!([mapping]))).failed(code, &words);
    }
    assert_same(&before, &node.snapshot());
}

#[test]
fn the_mac_of_the_runtime_goes_before_that_of_the_args() {
    let lab = Lab::new();
    let (node, a, b) = (lab.node("node"), lab.pod("a"), lab.pod("b"));
    let by_capability = node.inline(json!({"runtimeConfig": {"mac": "02:00:00:00:00:0a"}}));
    let args = "MAC=02:00:00:00:00:0b";
    node.call_for("ADD", &a).args(args).config(&by_capability).run().ok();
    assert_eq!(a.link("eth0").unwrap()["address"], "02:00:00:00:00:0a");
    node.call_for("ADD", &b).args(args).config(&node.inline(json!({}))).run().ok();
    assert_eq!(b.link("eth0").unwrap()["address"], "02:00:00:00:00:0b");
    let multicast = node.inline(json!({"runtimeConfig": {"mac": "01:00:00:00:00:0a"}}));
    node.add(&lab.pod("c"), &multicast).failed(7, &["runtimeConfig.mac", "multicast"]);
}

#[test]
fn the_dns_of_the_runtime_goes_before_that_of_the_configuration() {
    let lab = Lab::new();
    let node = lab.node("node");
    let base = node.inline(json!({"dns": {"nameservers": ["10.0.0.1"]}}));
    let conventional = json!({"servers": ["10.96.0.10"], "searches": ["a.local"], "options": ["ndots:2"]});
    let go_cased = json!({"Servers": ["10.96.0.10"], "Searches": ["a.local"], "Options": ["ndots:2"]});
    for dns in [conventional, go_cased] {
        let result =
            node.add(&lab.pod("a"), &over(base.clone(), json!({"runtimeConfig": {"dns": dns}}))).ok();
        let expected = json!({"nameservers": ["10.96.0.10"], "search": ["a.local"], "options": ["ndots:2"]});
        assert_eq!(result["dns"], expected);
    }
    // A pod without dnsConfig: containerd sends the key all the same.
    let empty = json!({"Servers": null, "Searches": null, "Options": null});
    let result = node.add(&lab.pod("b"), &over(base, json!({"runtimeConfig": {"dns": empty}}))).ok();
    assert_eq!(result["dns"], json!({"nameservers": ["10.0.0.1"]}));
}

#[test]
fn half_a_mebibyte_of_stdin_and_no_more() {
    const LIMIT: usize = 512 << 10;
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let stdin = |size: usize| {
        let conf = |filler: usize| {
            let annotations = json!({"big": "x".repeat(filler)});
            node.inline(json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}}))
                .to_string()
        };
        conf(size - conf(0).len())
    };
    let before = node.snapshot();
    let too_large = stdin(LIMIT + 1);
    for verb in ["ADD", "DEL"] {
        node.call_for(verb, &pod).stdin(too_large.clone()).run().failed(6, &["524288"]);
    }
    assert_same(&before, &node.snapshot());
    let largest = stdin(LIMIT);
    assert_eq!(largest.len(), LIMIT);
    node.call_for("ADD", &pod).stdin(largest.clone()).run().ok();
    assert!(
        std::fs::metadata(node.record(&pod)).unwrap().len() < 16 << 10,
        "annotations are nothing to keep"
    );
    node.call_for("DEL", &pod).stdin(largest).run().ok();
    assert_same(&before, &node.snapshot());
}

/// The token bucket's rate in bytes a second, as `tc -j` shows it.
fn limits(node: &Node) -> Vec<u64> {
    let shown: Value = serde_json::from_str(&node.run("tc -j -d qdisc show")).unwrap();
    let limits = shown.as_array().unwrap().iter().filter(|q| q["kind"] == "tbf");
    let mut rates: Vec<u64> = limits.map(|q| q["options"]["rate"].as_u64().unwrap()).collect();
    rates.sort();
    rates
}

/// 8 Mbit/s to the pod, 16 from it. Whether the limits hold is for the tests of the shaping itself.
#[test]
fn bandwidth_in_both_casings_and_both_modes() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let _daemon = node.daemon(json!({}));
    let conventional = json!({"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 0});
    let go_cased = json!({"IngressRate": 8_000_000, "IngressBurst": 4_294_967_295_u64, "EgressRate": 16_000_000, "EgressBurst": 0});
    let before = node.snapshot();
    for conf in [node.inline(json!({"name": "inline"})), node.conf(json!({}))] {
        for bandwidth in [&conventional, &go_cased] {
            let conf = over(conf.clone(), json!({"runtimeConfig": {"bandwidth": bandwidth}}));
            let result = node.add(&pod, &conf).ok();
            assert_eq!(limits(&node), [1_000_000, 2_000_000]);
            assert!(traffic::ping(&pod, &pod.node_address("-4").unwrap()));
            node.check(&pod, &conf, &result).ok();
            node.del(&pod, &conf).ok();
            assert_same(&before, &node.snapshot());
        }
        for (bandwidth, words) in [
            (json!({"ingressBurst": 5}), ["bandwidth.ingressRate", "burst"]),
            (json!({"egressRate": 7}), ["bandwidth.egressRate", "7"]),
            (json!({"egressRate": -1}), ["bandwidth.egressRate", "-1"]),
        ] {
            let conf = over(conf.clone(), json!({"runtimeConfig": {"bandwidth": bandwidth}}));
            node.add(&pod, &conf).failed(7, &words);
        }
    }
}
