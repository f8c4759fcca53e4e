//! What pods moved: by `offrampd explain`, and by path for Prometheus, of which the sum never falls.

use offramp_tests::{Daemon, Lab, Node, Pod, over, traffic, until};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
const SENT: u64 = 4 * MIB;

/// The daemon's metrics as they are now, and not as of the last look: it looks at most once a second.
fn scraped(node: &Node, name: &str, labels: &[&str]) -> u64 {
    let text = node.run("curl -s http://127.0.0.1:9810/metrics");
    let is_it =
        |l: &&str| l.starts_with(&format!("{name}{{")) && labels.iter().all(|label| l.contains(label));
    let lines: Vec<_> = text.lines().filter(is_it).collect();
    assert_eq!(lines.len(), 1, "{name} {labels:?} in {text}");
    lines[0].rsplit(' ').next().unwrap().parse().unwrap()
}

fn total(node: &Node, direction: &str) -> u64 {
    scraped(node, "offramp_pod_bytes_total", &["path=\"veth\"", &format!("direction=\"{direction}\"")])
}

/// One pod sends to another, by one family.
fn move_bytes(from: &Pod, to: &Pod, v6: bool) {
    let received = traffic::bulk(from, to, &to.address(v6), 7000, SENT);
    assert_eq!(received, SENT);
}

/// What `explain` counts of eth0.
fn counted(daemon: &Daemon, pod: &Pod) -> Value {
    let told = daemon.ask(&format!("explain {}@eth0", pod.container));
    assert_eq!(told[0]["traffic"][0]["name"], "eth0", "{told}");
    told[0].clone()
}

/// Payload and what goes before it in each packet: segmentation makes that little, and at most 8 %.
fn is_about(bytes: &Value, payload: u64) -> bool {
    (payload..payload + payload / 10).contains(&bytes.as_u64().unwrap())
}

#[test]
fn explain_counts_both_directions_and_says_what_was_asked() {
    let lab = Lab::new();
    let (node, a, b) = (lab.node("node"), lab.pod("a"), lab.pod("b"));
    let daemon = node.daemon(json!({}));
    let conf = node.conf(json!({}));
    let preferred =
        json!({"io.kubernetes.cri.pod-annotations": {"offramp.dev/offload": "preferred", "other": "x"}});
    node.add(&a, &over(conf.clone(), json!({"runtimeConfig": preferred}))).ok();
    node.add(&b, &conf).ok();
    [false, true].into_iter().for_each(|v6| move_bytes(&a, &b, v6));

    let (of_a, of_b) = (counted(&daemon, &a), counted(&daemon, &b));
    let (eth0, peer) = (&of_a["traffic"][0], &of_b["traffic"][0]);
    assert!(
        is_about(&eth0["bytes"]["tx"], 2 * SENT) && is_about(&peer["bytes"]["rx"], 2 * SENT),
        "{eth0} {peer}"
    );
    assert!(eth0["bytes"]["rx"].as_u64().unwrap() < MIB, "only acknowledgements: {eth0}");
    assert_eq!((&eth0["path"], &eth0["cpu"]), (&json!("veth"), &eth0["bytes"]));
    assert!(eth0["queues"][0].as_u64().unwrap() > 0);
    assert_eq!((&of_a["share"]["byVf"], &of_a["share"]["unknown"]), (&json!(0), &json!(0)));
    assert_eq!((&of_a["asked"], of_b.get("asked")), (&json!({"offload": "preferred"}), None));

    // For people, and without the daemon.
    let explain = || {
        let mut command = node.command(offramp_tests::binary("offrampd"));
        let output = command.args(["explain", &a.container, "--socket"]).arg(node.socket()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let text = explain();
    let words = [
        "Asked       offload: preferred",
        "Path        veth: offload is preferred, but no VF can be eth0",
        " sent, all over the node's CPU",
        "100% of 8",
    ];
    words.iter().for_each(|w| assert!(text.contains(w), "{w} is not in\n{text}"));
    assert!(daemon.stop().success());
    assert!(explain().contains(" sent, all over the node's CPU"));

    let host_end = of_a["plan"]["steps"][0]["host"].as_str().unwrap();
    node.ip(&format!("link del {host_end}"));
    let text = explain();
    assert!(text.contains(&format!("eth0: unknown: {host_end}, the node's end of it, is gone")), "{text}");
}

#[test]
fn metrics_by_path_do_not_fall_when_pods_go() {
    let lab = Lab::new();
    let node = lab.node("node");
    let http = || json!({"http": {"address": "127.0.0.1:9810"}});
    let daemon = node.daemon(http());
    let conf = node.conf(json!({}));
    assert_eq!((total(&node, "received"), total(&node, "sent")), (0, 0));
    let stays = lab.pod("stays");
    node.add(&stays, &conf).ok();

    // One that comes and goes between two looks, and one that is looked at: both stay counted.
    for round in 1..=3 {
        let goes = lab.pod("goes");
        node.add(&goes, &conf).ok();
        move_bytes(&goes, &stays, round % 2 == 0);
        if round == 2 {
            until("the look", || total(&node, "sent") >= 2 * SENT);
        }
        node.del(&goes, &conf).ok();
        node.del(&goes, &conf).ok();
    }
    let sent = || total(&node, "sent");
    until("all that was sent", || sent() >= 3 * SENT);
    // Nothing is counted twice: what the pod that stays sent was acknowledgements.
    assert!(sent() < 3 * SENT + 3 * SENT / 10, "{}", sent());
    until("the other direction", || total(&node, "received") >= 3 * SENT);
    until("one interface", || scraped(&node, "offramp_pod_interfaces", &["counters=\"read\""]) == 1);
    assert_eq!(scraped(&node, "offramp_release_seconds_count", &["path=\"veth\""]), 3);

    // What was moved before the daemon began is not moved anew.
    assert!(daemon.stop().success());
    let _daemon = node.daemon(http());
    until("a look", || scraped(&node, "offramp_pod_interfaces", &["counters=\"read\""]) == 1);
    assert!(total(&node, "received") < MIB, "{}", total(&node, "received"));
    let last = lab.pod("last");
    node.add(&last, &conf).ok();
    move_bytes(&last, &stays, false);
    until("what was moved since", || total(&node, "received") >= SENT);
    assert!(total(&node, "received") < 2 * SENT);
}
