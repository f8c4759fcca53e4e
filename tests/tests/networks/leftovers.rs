//! The daemon takes back no network: it may be in another mount namespace than the node. What it finds dead it hands to
//! the next call of the plugin.

use super::fake::Fake;
use super::{asks, call, define};
use offramp_tests::{Lab, Pod, assert_same, wait_for};
use serde_json::json;

#[test]
fn a_pod_whose_del_never_came() {
    let lab = Lab::new();
    let node = lab.node("node");
    let fake = Fake::new(&node, &["one"]);
    let _daemon =
        node.daemon(define(&node, &[("team-a/one", json!({"cniVersion": "1.0.0", "type": "one"}))]));
    let conf = asks(&node, &json!("one"));
    let (dead, next) = (lab.pod("dead"), lab.pod("next"));
    let add = |pod: &Pod| call(&node, "ADD", pod, &conf).env("CNI_PATH", fake.path()).run();
    let before = node.snapshot();
    add(&dead).ok();
    fake.calls();
    dead.delete();
    wait_for("the daemon to find it", || {
        let record = std::fs::read_to_string(node.record(&dead)).unwrap();
        record.contains(r#""state":"deleting""#).then_some(())
    });
    assert_eq!(fake.calls(), [""; 0], "the daemon starts no plugin");
    // The daemon tells a plugin of it at its next look.
    wait_for("the next pods to take it back", || {
        let pod = lab.pod("passing");
        add(&pod).ok();
        call(&node, "DEL", &pod, &conf).run().ok();
        (node.records().is_empty()).then_some(())
    });
    let told: Vec<String> =
        fake.calls().into_iter().filter(|c| c.starts_with("DEL one net1 netns= ")).collect();
    assert!(!told.is_empty());
    add(&next).ok();
    call(&node, "DEL", &next, &conf).run().ok();
    assert_same(&before, &node.snapshot());
}
