//! The plugin, or the process that it leaves behind to clean, is killed at every step boundary.

use crate::fault::is_ours;
use crate::lab::{Machine, state};
use offramp_tests::{Pod, over};
use serde_json::{Value, json};

type Way = fn(&Machine, &Pod, &Value);

const WAYS: [(&str, Way); 3] = [
    ("DEL", |m, pod, conf| drop(m.node.del(pod, conf).ok())),
    ("GC", |m, _, conf| drop(m.node.gc(conf, &[]).ok())),
    ("DEL of what is left, by another pod that wants the VF", |m, pod, conf| {
        m.node.del(pod, conf).ok();
        let next = m.pod();
        m.node.add(&next, conf).ok();
        m.node.del(&next, conf).ok();
    }),
];

fn conf(m: &Machine) -> Value {
    let info = json!({"CNIDeviceInfoFile": m.node.dir().join("devinfo")});
    let settings = json!({"vlan": 8, "trust": "on", "mac": "02:00:00:00:00:81", "runtimeConfig": info});
    m.conf(0, over(settings, json!({"mtu": 1400})))
}

/// One way each, in turn: every point is met by one of them, and each of them meets a third of the points.
fn at_every_point(verb: &str, least: usize) {
    let m = Machine::new();
    let before = state(0);
    let conf = conf(&m);
    for at in (1..).filter(|at| is_ours(*at)) {
        let pod = m.pod();
        if verb == "DEL" {
            m.node.add(&pod, &conf).ok();
        }
        let (answer, Some(point)) = m.killed(verb, &pod, &conf, &at.to_string()) else {
            assert!(at > least, "only {at} points: the plugin is built without the feature crash-points?");
            m.node.del(&pod, &conf).ok();
            m.assert_free_and_clean(0, &before);
            return;
        };
        let (way, clean) = WAYS[at % WAYS.len()];
        println!("{verb} killed at {point}, {:?}; then {way}", answer.code);
        clean(&m, &pod, &conf);
        m.assert_free_and_clean(0, &before);
        assert!(!m.node.dir().join("devinfo").exists());
    }
}

#[test]
fn add_at_every_point() {
    at_every_point("ADD", 15);
}

#[test]
fn del_at_every_point() {
    at_every_point("DEL", 15);
}
