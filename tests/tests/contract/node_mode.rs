//! Node mode with a daemon that is there.

use offramp_tests::{Lab, assert_same, in_pod, over, pods_are_routed, traffic, until};
use serde_json::{Value, json};

const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

#[test]
fn attaches_checks_collects_and_detaches() {
    let lab = Lab::new();
    let (node, outside, pod) = (lab.node("node"), lab.netns("outside"), lab.pod("pod"));
    node.uplink(&outside);
    let daemon = node.daemon(json!({}));
    let conf = node.conf(json!({}));
    let before = node.snapshot();
    node.status(&conf).ok();
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1";
    let result = node.call_for("ADD", &pod).args(args).config(&conf).run().ok();
    assert_eq!(pod.ips(), in_pod(["10.244.1.2/24", "fd00:244:1::2/64"]));
    if pods_are_routed() {
        assert_eq!(result["interfaces"][1]["name"], "eth0");
        assert_eq!(result["ips"][1]["gateway"], "fe80::1");
    } else {
        assert_eq!(result["interfaces"][0]["name"], "offramp0");
        assert_eq!(result["ips"][1]["gateway"], "fd00:244:1::1");
    }
    traffic::serve(&outside, "outside", 80);
    for (out, node_ip) in [("198.51.100.2", "198.51.100.1"), ("2001:db8:51::2", "2001:db8:51::1")] {
        let answer = traffic::tcp(&pod, traffic::at(out, 80)).unwrap();
        assert_eq!(answer, format!("outside {node_ip}"), "masqueraded");
    }
    node.check(&pod, &conf, &result).ok();
    let shown = daemon.ask("attachments");
    let text = shown.to_string();
    assert!(text.contains(&pod.container) && text.contains("10.244.1.2") && text.contains("web"), "{text}");
    node.gc(&conf, &[&pod]).ok();
    node.check(&pod, &conf, &result).ok();
    node.del(&pod, &conf).ok();
    assert_same(&before, &node.snapshot());
}

#[test]
fn ports_of_the_node_lead_to_the_pod() {
    let lab = Lab::new();
    let (node, outside, pod, second) =
        (lab.node("node"), lab.netns("outside"), lab.pod("pod"), lab.pod("second"));
    node.uplink(&outside);
    let _daemon = node.daemon(json!({}));
    let port = |to: u16| json!({"HostPort": 8080, "ContainerPort": to, "Protocol": "tcp", "HostIP": ""});
    let conf = node.conf(json!({"runtimeConfig": {"portMappings": [port(80)]}}));
    let before = node.snapshot();
    traffic::serve(&pod, "pod", 80);
    node.add(&pod, &conf).ok();
    for ip in ["198.51.100.1", "2001:db8:51::1"] {
        for from in [&outside, &*node, &*pod] {
            let answer = traffic::tcp(from, traffic::at(ip, 8080)).unwrap();
            assert!(answer.starts_with("pod "), "{answer}");
        }
    }
    let taken = node.snapshot();
    node.add(&second, &conf).failed(11, &["tcp/8080", &pod.container]);
    node.del(&second, &conf).ok();
    assert_same(&taken, &node.snapshot());
    node.del(&pod, &conf).ok();
    assert_same(&before, &node.snapshot());
    node.add(&second, &conf).ok();
}

#[test]
fn addresses_that_are_asked_for_and_the_mac() {
    let lab = Lab::new();
    let (node, pod, second) = (lab.node("node"), lab.pod("pod"), lab.pod("second"));
    let _daemon = node.daemon(json!({}));
    let wanted = json!({"ips": ["10.244.1.77/24", "fd00:244:1::77"], "mac": "02:00:00:00:00:77"});
    let conf = node.conf(json!({"runtimeConfig": wanted}));
    node.add(&pod, &conf).ok();
    assert_eq!(pod.ips(), ["10.244.1.77/24", "fd00:244:1::77/64"]);
    assert_eq!(pod.link("eth0").unwrap()["address"], "02:00:00:00:00:77");
    node.add(&second, &conf).failed(11, &["10.244.1.77", "taken"]);
    let by_args = node
        .call_for("ADD", &second)
        .args("IP=10.244.1.78;MAC=02:00:00:00:00:78")
        .config(&node.conf(json!({})));
    by_args.run().ok();
    assert_eq!(second.address(false), "10.244.1.78");
    assert_eq!(second.link("eth0").unwrap()["address"], "02:00:00:00:00:78");
    node.del(&second, &conf).ok();
    let outside = node.conf(json!({"runtimeConfig": {"ips": ["10.9.9.9"]}}));
    node.add(&second, &outside).failed(7, &["10.9.9.9", "none of the ranges"]);
}

#[test]
fn without_free_addresses_it_is_11_and_status_50() {
    let lab = Lab::new();
    let (node, a, b) = (lab.node("node"), lab.pod("a"), lab.pod("b"));
    let _daemon = node.daemon(json!({"cluster": {"podCIDRs": ["10.244.1.0/30"]}}));
    let conf = node.conf(json!({}));
    node.add(&a, &conf).ok();
    assert_eq!(a.ips(), ["10.244.1.2/30"]);
    let before = node.snapshot();
    node.status(&conf).failed(50, &["no free address"]);
    node.add(&b, &conf).failed(11, &["no free address", "10.244.1"]);
    assert_same(&before, &node.snapshot());
    assert_eq!(b.link("eth0"), None);
    node.del(&a, &conf).ok();
    node.status(&conf).ok();
    node.add(&b, &conf).ok();
}

#[test]
fn several_pod_networks_of_a_family_follow_each_other() {
    let lab = Lab::new();
    let (node, a, b) = (lab.node("node"), lab.pod("a"), lab.pod("b"));
    let cidrs = ["10.244.1.0/30", "10.244.9.0/30", "fd00:244:1::/64"];
    let _daemon = node.daemon(json!({"cluster": {"podCIDRs": cidrs}}));
    let conf = node.conf(json!({}));
    node.add(&a, &conf).ok();
    node.add(&b, &conf).ok();
    assert_eq!(a.ips(), ["10.244.1.2/30", "fd00:244:1::2/64"]);
    assert_eq!(b.ips(), ["10.244.9.2/30", "fd00:244:1::3/64"]);
    for pod in [&a, &b] {
        assert!(traffic::ping(pod, &pod.default_gateway("-4").unwrap()));
    }
    assert!(traffic::ping(&a, "10.244.9.2"));
}

fn annotated(conf: Value, key: &str, value: &str) -> Value {
    over(conf, json!({"runtimeConfig": {ANNOTATIONS: {key: value}}}))
}

#[test]
fn offload_none_preferred_required() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let daemon = node.daemon(json!({}));
    let wish = |value: &str| annotated(node.conf(json!({})), "offramp.dev/offload", value);
    for (value, reason) in [("none", "no offload was asked for"), ("preferred", "no pool")] {
        node.add(&pod, &wish(value)).ok();
        let told = daemon.ask(&format!("explain {}@eth0", pod.container)).to_string();
        assert!(told.contains(reason), "{told}");
        node.del(&pod, &wish(value)).ok();
    }
    let before = node.snapshot();
    node.add(&pod, &wish("required")).failed(106, &["required", "no pool", "preferred"]);
    node.add(&pod, &wish("maybe")).failed(7, &["offramp.dev/offload", "maybe"]);
    let other = annotated(node.conf(json!({})), "offramp.dev/teleport", "yes");
    node.add(&pod, &other).failed(2, &["offramp.dev/teleport", "yes"]);
    assert_same(&before, &node.snapshot());
    // Not an ADD of a plain pod: STATUS knows nothing of it.
    node.status(&node.conf(json!({}))).ok();
    node.del(&pod, &wish("required")).ok();
}

#[test]
fn large_annotations_are_no_burden() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let _daemon = node.daemon(json!({}));
    let conf = annotated(
        node.conf(json!({})),
        "kubectl.kubernetes.io/last-applied-configuration",
        &"x".repeat(500_000),
    );
    node.add(&pod, &conf).ok();
    assert!(std::fs::metadata(node.record(&pod)).unwrap().len() < 16 << 10);
    node.del(&pod, &conf).ok();
}

#[test]
fn a_node_of_one_family() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    for cidr in ["10.244.1.0/24", "fd00:244:1::/64"] {
        let daemon = node.daemon(json!({"cluster": {"podCIDRs": [cidr]}}));
        let conf = node.conf(json!({}));
        let result = node.add(&pod, &conf).ok();
        assert_eq!(result["ips"].as_array().unwrap().len(), 1);
        assert!(traffic::ping(&pod, result["ips"][0]["gateway"].as_str().unwrap()));
        node.del(&pod, &conf).ok();
        assert!(daemon.stop().success());
    }
}

#[test]
fn plugin_and_daemon_share_one_state_directory() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let _daemon = node.daemon(json!({}));
    let at = |dir: &str| node.conf(json!({"stateDir": node.dir().join(dir), "socket": node.socket()}));
    let before = node.snapshot();
    let ours = node.state();
    node.add(&pod, &at("elsewhere")).failed(7, &["stateDir", "paths.stateDir", ours.to_str().unwrap()]);
    assert_same(&before, &node.snapshot());
    assert_eq!(pod.link("eth0"), None);
    // By another path it is the same one.
    std::os::unix::fs::symlink(&ours, node.dir().join("link")).unwrap();
    node.add(&pod, &at("link")).ok();
    node.del(&pod, &at("link")).ok();
    assert_same(&before, &node.snapshot());
}

#[test]
fn a_range_that_runs_short_is_told_of() {
    let lab = Lab::new();
    let (node, pods) = (lab.node("node"), ["a", "b", "c", "d"].map(|name| lab.pod(name)));
    // Five addresses but the gateway's: four are 80 %.
    let daemon = node.daemon(json!({"cluster": {"podCIDRs": ["10.244.1.0/29"]}}));
    let conf = node.conf(json!({}));
    let warnings = || daemon.log().matches("addresses run short").count();
    let problems = || daemon.ask("status")["problems"].clone();
    let [first_three @ .., last] = &pods;
    first_three.iter().for_each(|pod| drop(node.add(pod, &conf).ok()));
    assert_eq!((problems(), warnings()), (json!([]), 0));
    node.add(last, &conf).ok();
    let told = json!(["range 10.244.1.0/29 is at 80%: 1 address left"]);
    assert_eq!((problems(), warnings()), (told.clone(), 1));
    node.status(&conf).ok();
    // One that comes and goes makes no new warning; more room than that does.
    for (leave, warned) in [(1, 1), (2, 2)] {
        pods[..leave].iter().for_each(|pod| drop(node.del(pod, &conf).ok()));
        assert_eq!((problems(), warnings()), (json!([]), 1));
        pods[..leave].iter().for_each(|pod| drop(node.add(pod, &conf).ok()));
        assert_eq!(warnings(), warned);
    }
    assert_eq!((problems(), warnings()), (told, 2));
}

/// With other nodes a pod's MTU depends on the uplink: until it is there, pods would be given one that is too large.
#[test]
fn with_peers_a_node_is_not_ready_before_its_uplink() {
    let lab = Lab::new();
    let (node, outside) = (lab.node("node"), lab.netns("outside"));
    let peers = node.dir().join("peers.yaml");
    std::fs::write(&peers, "peers: []\n").unwrap();
    let daemon = node.daemon_unready(json!({"cluster": {"peersFile": peers}}), |_| {});
    let conf = node.conf(json!({}));
    until("the daemon to say what it lacks", || {
        let answer = node.status(&conf);
        answer.code != Some(0) && answer.error().msg.contains("MTU")
    });
    node.uplink(&outside);
    node.ip("route add default via 198.51.100.2");
    until("the uplink to be found", || node.status(&conf).code == Some(0));
    assert!(daemon.ask("status")["bridge"]["mtu"].is_u64());
}
