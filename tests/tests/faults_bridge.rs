//! The bridge that an ADD of inline mode made goes with it if it fails, unless somebody else uses it.

#[path = "faults/mod.rs"]
mod faults;

use faults::{AFTER_ADD, Crash, Fault};
use offramp_tests::{Lab, Node, over, traffic, until};
use serde_json::{Value, json};

fn has_bridge(node: &Node) -> bool {
    node.link("br0").is_some()
}

/// Fails behind the link's making: the one address that host-local has is somebody else's.
fn failing(node: &Node) -> Value {
    let data = node.dir().join("host-local");
    std::fs::create_dir_all(data.join("failing")).unwrap();
    std::fs::write(data.join("failing/10.90.0.2"), "another\r\neth0").unwrap();
    let range = json!({"subnet": "10.90.0.0/24", "rangeStart": "10.90.0.2", "rangeEnd": "10.90.0.2"});
    let more = json!({"cniVersion": "1.0.0", "name": "failing", "ipam": null});
    let ipam = json!({"type": "host-local", "dataDir": data, "ranges": [[range]]});
    over(node.inline(more), json!({"ipam": ipam}))
}

#[test]
fn at_whichever_point_its_add_is_killed() {
    let lab = Lab::new();
    let node = lab.node("node");
    let mut fault = Fault::new(&lab, &node, false);
    let conf = node.inline(json!({}));
    let (mut at, mut made, mut kept) = (1, 0, 0);
    while let Crash::At(point) = fault.killed("ADD", &conf, at) {
        for (way, clean) in AFTER_ADD {
            if way != AFTER_ADD[0].0 {
                fault.killed("ADD", &conf, at);
            }
            made += u32::from(has_bridge(&node));
            if fault.record().contains(r#""state":"ready""#) {
                // From here on it is everybody's.
                clean(&mut fault, &conf);
                assert!(has_bridge(&node), "ADD killed at {at} ({point}), then {way}");
                node.ip("link del br0");
                kept += 1;
            } else {
                clean(&mut fault, &conf);
                until(&format!("the bridge's end: ADD killed at {at} ({point}), then {way}"), || {
                    !has_bridge(&node)
                });
            }
        }
        at += 1;
    }
    assert!(made > 10 && kept > 0, "{at} points, {made} had a bridge, {kept} kept it");
    fault.del(&conf);
    assert!(has_bridge(&node), "what an ADD that succeeded made stays");
}

/// Also an ADD that finds a bridge which is about to go must have one that stays.
#[test]
fn not_while_others_use_it() {
    let lab = Lab::new();
    let node = lab.node("node");
    let (good, bad) = (lab.pod("good"), lab.pod("bad"));
    let (conf, failing) = (node.inline(json!({})), failing(&node));
    node.add(&bad, &failing).error();
    assert!(!has_bridge(&node));
    for _ in 0..25 {
        let (added, _) = std::thread::scope(|scope| {
            let refused = scope.spawn(|| node.add(&bad, &failing).error());
            let added = node.add(&good, &conf).ok();
            (added, refused.join().unwrap())
        });
        assert!(traffic::ping(&good, "10.88.0.1") && traffic::ping(&good, "fd88::1"));
        node.check(&good, &conf, &added).ok();
        // One that fails beside it takes nothing away, and neither does its DEL.
        node.add(&bad, &failing).error();
        node.del(&bad, &failing).ok();
        assert!(has_bridge(&node));
        node.del(&good, &conf).ok();
        let _ = node.command("ip").args(["link", "del", "br0"]).output().unwrap();
    }
}

/// What somebody else made is not taken for the ADD's own, though it has no port.
#[test]
fn not_if_it_was_there_before() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    node.ip("link add br0 type bridge");
    node.add(&pod, &failing(&node)).error();
    assert!(has_bridge(&node));
}
