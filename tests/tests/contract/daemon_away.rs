//! Node mode while the daemon is away, and after it is back.

use offramp_tests::{Lab, Node, assert_same, traffic, until};
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

/// As if the daemon had last been seen so many seconds ago.
fn seen(node: &Node, ago: u64) {
    let file = std::fs::File::options().write(true).open(node.state().join("offrampd.seen")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(ago)).unwrap();
}

#[test]
fn status_is_fine_during_an_upgrade_and_50_after_it() {
    let lab = Lab::new();
    let node = lab.node("node");
    let conf = node.conf(json!({}));
    node.status(&conf).failed(50, &["offrampd", "away"]);
    let daemon = node.daemon(json!({}));
    until("the daemon's mark", || node.state().join("offrampd.seen").exists());
    node.status(&conf).ok();
    daemon.kill();
    seen(&node, 5);
    node.status(&conf).ok();
    seen(&node, 25);
    node.status(&conf).ok();
    seen(&node, 31);
    node.status(&conf).failed(50, &["offrampd", "away"]);
    let _daemon = node.daemon(json!({}));
    node.status(&conf).ok();
}

/// Listens where the daemon would.
fn listener(node: &Node) -> UnixListener {
    std::fs::create_dir_all(node.state()).unwrap();
    let _ = std::fs::remove_file(node.socket());
    UnixListener::bind(node.socket()).unwrap()
}

#[test]
fn add_waits_for_a_daemon_that_starts() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let conf = node.conf(json!({}));
    let dying = listener(&node);
    std::thread::scope(|scope| {
        let add = scope.spawn(|| node.add(&pod, &conf));
        for _ in 0..3 {
            drop(dying.accept().unwrap()); // it asked, and asks again
        }
        std::fs::remove_file(node.socket()).unwrap();
        drop(dying);
        let _daemon = node.daemon(json!({}));
        add.join().unwrap().ok();
        assert!(traffic::ping(&pod, "10.244.1.1"));
    });
}

#[test]
fn add_gives_up_on_a_daemon_that_does_not_start() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let before = node.snapshot();
    let conf = node.conf(json!({}));
    node.add(&pod, &conf).failed(11, &["offrampd", node.socket().to_str().unwrap(), "offrampd status"]);
    assert_same(&before, &node.snapshot());
    node.del(&pod, &conf).ok();
}

#[test]
fn a_daemon_that_hangs_keeps_no_pod() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let conf = node.conf(json!({}));
    let daemon = node.daemon(json!({}));
    let before = node.snapshot();
    node.add(&pod, &conf).ok();
    daemon.kill();
    let _silent = listener(&node);
    node.del(&pod, &conf).ok();
    assert_same(&before, &node.snapshot());
}

#[test]
fn del_and_gc_and_check_need_no_daemon() {
    let lab = Lab::new();
    let (node, pods) = (lab.node("node"), [lab.pod("a"), lab.pod("b"), lab.pod("c")]);
    let ports =
        |port: u16| json!({"runtimeConfig": {"portMappings": [{"hostPort": port, "containerPort": 80}]}});
    let daemon = node.daemon(json!({}));
    let before = node.snapshot();
    let mut results: Vec<Value> = Vec::new();
    for (pod, port) in pods.iter().zip([8080, 8081, 8082]) {
        results.push(node.add(pod, &node.conf(ports(port))).ok());
    }
    daemon.kill();
    let conf = node.conf(json!({}));
    let [a, b, c] = &pods;
    node.check(a, &conf, &results[0]).ok();
    node.del(a, &conf).ok();
    assert_eq!(a.link("eth0"), None);
    b.delete();
    node.call_for("DEL", b).netns("").config(&conf).run().ok();
    assert!(traffic::ping(c, "10.244.1.1"));
    node.gc(&conf, &[]).ok();
    assert_eq!(c.link("eth0"), None);
    assert_same(&before, &node.snapshot());
}

#[test]
fn what_is_attached_survives_a_restart() {
    let lab = Lab::new();
    let (node, outside, pod) = (lab.node("node"), lab.netns("outside"), lab.pod("pod"));
    node.uplink(&outside);
    let conf =
        node.conf(json!({"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}}));
    traffic::serve(&pod, "pod", 80);
    let daemon = node.daemon(json!({}));
    let empty = node.snapshot();
    let result = node.add(&pod, &conf).ok();
    let reach = || traffic::tcp(&outside, traffic::at("198.51.100.1", 8080)).is_ok();
    // Before the snapshot, since traffic brings back a neighbour that the kernel has forgotten meanwhile.
    assert!(reach());
    let (before, ips) = (node.snapshot(), pod.ips());
    daemon.kill();
    assert!(reach(), "the daemon is not in the way of packets");
    let daemon = node.daemon(json!({}));
    assert_same(&before, &node.snapshot());
    assert_eq!(ips, pod.ips());
    assert!(reach());
    node.check(&pod, &conf, &result).ok();
    // Its addresses and its port are held.
    let second = lab.pod("second");
    node.add(&second, &conf).failed(11, &["8080", &pod.container]);
    let same = node.conf(json!({"runtimeConfig": {"ips": ["10.244.1.2"]}}));
    node.add(&second, &same).failed(11, &["10.244.1.2"]);
    node.del(&second, &same).ok();
    node.del(&pod, &conf).ok();
    assert_same(&empty, &node.snapshot());
    assert!(daemon.stop().success());
}

#[test]
fn what_died_meanwhile_is_freed() {
    let lab = Lab::new();
    let (node, dead, alive) = (lab.node("node"), lab.pod("dead"), lab.pod("alive"));
    let reclaim = json!({"reclaim": {"interval": "1s"}});
    let daemon = node.daemon(reclaim.clone());
    let conf = node.conf(json!({}));
    node.add(&alive, &conf).ok();
    let before = node.snapshot();
    node.add(&dead, &conf).ok();
    daemon.kill();
    dead.delete();
    let _daemon = node.daemon(reclaim);
    until("the dead attachment to be reclaimed", || !node.record(&dead).exists());
    assert_same(&before, &node.snapshot());
    assert!(traffic::ping(&alive, "10.244.1.1"));
    // A late DEL finds nothing, and harms nobody.
    node.call_for("DEL", &dead).netns("").config(&conf).run().ok();
    assert_same(&before, &node.snapshot());
}

#[test]
fn what_was_detached_without_the_daemon_is_free_for_the_next() {
    let lab = Lab::new();
    let (node, a, b) = (lab.node("node"), lab.pod("a"), lab.pod("b"));
    let _daemon = node.daemon(json!({"cluster": {"podCIDRs": ["10.244.1.0/30"]}}));
    let conf =
        node.conf(json!({"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}}));
    node.add(&a, &conf).ok();
    // A plugin that does not reach the socket detaches by itself.
    let cut_off = node.conf(json!({"socket": "/nowhere/offrampd.sock"}));
    node.del(&a, &cut_off).ok();
    node.status(&conf).ok();
    node.add(&b, &conf).ok();
    assert_eq!(b.ips(), ["10.244.1.2/30"]);
}
