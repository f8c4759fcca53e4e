//! A rolling update, or a rollback: plugin and daemon are of neighbouring releases. The one says what the other does not
//! know yet, or does not say what the other would like to know.

use offramp_core::wire::{frame_header, frame_len};
use offramp_tests::{Lab, Node, Pod, assert_same, traffic};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// What of a frame is of another release: where requests, answers and what is in them can grow.
const GROWS: [&str; 12] = [
    "",
    "/request",
    "/request/netns",
    "/request/pod",
    "/request/bandwidth",
    "/record",
    "/record/plan",
    "/record/netns",
    "/record/pod",
    "/record/plan/result",
    "/record/plan/firewall",
    "/error",
];

/// What a request of the first release does not have.
const LATER: [&str; 7] = [
    "runs_networks",
    "makes_netkit",
    "makes_netkit_l3",
    "steers_queues",
    "gives_addresses",
    "annotations",
    "device_info",
];

fn newer(mut frame: Value) -> Value {
    for place in GROWS {
        if let Some(Value::Object(object)) = frame.pointer_mut(place) {
            object.insert("fromALaterRelease".into(), json!({"any": ["thing"]}));
        }
    }
    frame
}

fn older(mut frame: Value) -> Value {
    if let Some(Value::Object(request)) = frame.pointer_mut("/request") {
        request.retain(|key, _| !LATER.contains(&key.as_str()));
    }
    frame
}

/// A socket behind which a node's daemon is, with what is said changed on the way.
fn between(node: &Node, request: fn(Value) -> Value, answer: fn(Value) -> Value) -> PathBuf {
    let (path, daemon) = (node.dir().join("between.sock"), node.socket());
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut plugin, mut daemon) = (stream.unwrap(), UnixStream::connect(&daemon).unwrap());
            let (mut back_to, mut back) = (plugin.try_clone().unwrap(), daemon.try_clone().unwrap());
            std::thread::spawn(move || pass_on(&mut plugin, &mut daemon, request));
            std::thread::spawn(move || pass_on(&mut back, &mut back_to, answer));
        }
    });
    path
}

fn pass_on(from: &mut UnixStream, to: &mut UnixStream, change: fn(Value) -> Value) {
    let mut header = [0; 4];
    while from.read_exact(&mut header).is_ok() {
        let mut payload = vec![0; frame_len(header).unwrap()];
        from.read_exact(&mut payload).unwrap();
        let payload = change(serde_json::from_slice(&payload).unwrap()).to_string();
        let header = frame_header(payload.len()).unwrap();
        if to.write_all(&[&header, payload.as_bytes()].concat()).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

fn lives(node: &Node, pod: &Pod, conf: &Value) {
    let result = node.add(pod, conf).ok();
    assert!(traffic::ping(pod, "10.244.1.1"));
    node.check(pod, conf, &result).ok();
    node.status(conf).ok();
    node.del(pod, conf).ok();
}

#[test]
fn neighbouring_releases_understand_each_other() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let _daemon = node.daemon(json!({}));
    let mapped = json!({
        "capabilities": {"portMappings": true},
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
    });
    lives(&node, &pod, &node.conf(json!({})));
    let before = node.snapshot();
    for (request, answer) in [(newer as fn(Value) -> Value, newer as fn(Value) -> Value), (older, newer)] {
        let socket = between(&node, request, answer);
        lives(&node, &pod, &node.conf(json!({"socket": socket})));
        lives(&node, &pod, &offramp_tests::over(node.conf(json!({"socket": socket})), mapped.clone()));
        // A refusal is one too.
        let taken = node.conf(json!({"socket": socket, "runtimeConfig": {"ips": ["192.0.2.9/24"]}, "capabilities": {"ips": true}}));
        node.add(&pod, &taken).failed(7, &["192.0.2.9"]);
        assert_same(&before, &node.snapshot());
    }
}

/// A plan that it does not know would be no plan to it.
#[test]
fn a_plugin_that_knows_no_netkit_gets_veth_or_a_refusal() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let old = ["older than the daemon", "no netkit"];
    for path in ["netkit", "netkit-l3"] {
        let daemon = node.daemon(json!({"path": path}));
        let conf = node.conf(json!({"socket": between(&node, older, newer)}));
        node.add(&pod, &conf).ok();
        let record: Value = serde_json::from_slice(&std::fs::read(node.record(&pod)).unwrap()).unwrap();
        let reason = record["plan"]["reason"].as_str().unwrap();
        assert!(record["plan"]["path"] == "veth" && old.iter().any(|why| reason.contains(why)), "{reason}");
        node.del(&pod, &conf).ok();
        daemon.kill();
        let daemon = node.daemon(json!({"path": format!("{path}-required")}));
        let refused = format!("path {path}-required is configured, but");
        let refused = node.add(&pod, &conf).failed(100, &[refused.as_str()]);
        assert!(old.iter().any(|why| refused.msg.contains(why)), "{refused:?}");
        daemon.kill();
    }
}

/// It would not ask the network's `ipam`, and the VF would have no address.
#[test]
fn a_plugin_that_asks_no_ipam_gets_no_vf_of_such_a_network() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let ranges = json!([[{"subnet": "10.97.0.0/24"}]]);
    let telco = json!({"cniVersion": "1.0.0", "type": "offramp", "pool": "telco", "ipam": {"type": "offramp", "ranges": ranges}});
    let _daemon = node.daemon(node.networks(&[("telco", telco)]));
    let asks = json!({"io.kubernetes.cri.pod-annotations": {"k8s.v1.cni.cncf.io/networks": "telco"}});
    let add = |request| {
        let conf = node.conf(json!({"socket": between(&node, request, newer), "runtimeConfig": asks}));
        let args = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod;K8S_POD_UID=1";
        node.call_for("ADD", &pod).args(args).config(&conf).run()
    };
    let before = node.snapshot();
    // What it said of annotations is all that a release had that knew no such network.
    let silent = |mut frame: Value| {
        if let Some(Value::Object(request)) = frame.pointer_mut("/request") {
            request.remove("gives_addresses");
        }
        frame
    };
    let refused = add(silent).failed(103, &["older than the daemon", "cannot attach networks"]);
    assert!(refused.details.contains("install the plugin"), "{refused:?}");
    // One that asks gets as far as the pool, which a node without VFs does not have.
    add(newer).failed(106, &["no VF for net1"]);
    assert_same(&before, &node.snapshot());
}

/// What a release wrote into its records its neighbours read: a daemon that is rolled back takes over the pods.
#[test]
fn a_record_of_a_later_release_is_taken_over() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let daemon = node.daemon(json!({}));
    let conf = node.conf(json!({}));
    lives(&node, &pod, &conf);
    let before = node.snapshot();
    let result = node.add(&pod, &conf).ok();
    daemon.kill();
    let record = std::fs::read(node.record(&pod)).unwrap();
    let wrapped = newer(json!({"record": serde_json::from_slice::<Value>(&record).unwrap()}));
    std::fs::write(node.record(&pod), wrapped["record"].to_string()).unwrap();
    let daemon = node.daemon(json!({}));
    assert_eq!(daemon.ask("status")["problems"], json!([]));
    node.check(&pod, &conf, &result).ok();
    node.del(&pod, &conf).ok();
    assert_same(&before, &node.snapshot());
}
