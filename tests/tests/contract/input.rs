//! Bad input: a clear error with the right code, and nothing changed.

use crate::{node_and_pod, plain};
use offramp_tests::{Call, Lab, Node, Pod, Snapshot, assert_same, over};
use serde_json::json;

/// Runs `test` with a function that expects a refusal and no change.
fn refusals(test: impl Fn(&Node, &Pod, &dyn Fn(Call, u64, &[&str]))) {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let (before, pod_before) = (node.snapshot(), Snapshot::take(&pod));
    let refused = |call: Call, code: u64, words: &[&str]| {
        call.run().failed(code, words);
        assert_same(&before, &node.snapshot());
        assert_same(&pod_before, &Snapshot::take(&pod));
    };
    test(&node, &pod, &refused);
}

#[test]
fn malformed_stdin() {
    refusals(|node, pod, refused| {
        let name = |n: &str| over(node.inline(json!({})), json!({"name": n})).to_string();
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for (stdin, code, words) in [
            ("".to_owned(), 6, ["stdin", "EOF"]),
            ("{".to_owned(), 6, ["stdin", "EOF"]),
            ("\u{0}\u{1}".to_owned(), 6, ["stdin", "line 1"]),
            ("[]".to_owned(), 6, ["object", "list"]),
            ("\"offramp\"".to_owned(), 6, ["object", "string"]),
            ("null".to_owned(), 6, ["object", "null"]),
            (deep, 6, ["stdin", "recursion"]),
            ("{}".to_owned(), 1, ["cniVersion", "\"\""]),
            (r#"{"cniVersion": 1}"#.to_owned(), 7, ["cniVersion", "1"]),
            (r#"{"cniVersion": "1.1"}"#.to_owned(), 1, ["cniVersion", "1.1"]),
            (r#"{"cniVersion": "1.1.0"}"#.to_owned(), 7, ["name", "missing"]),
            (name("../../etc"), 7, ["network name", "../../etc"]),
            (name(".."), 7, ["network name", ".."]),
            (name("a b"), 7, ["network name", "a b"]),
            (name(&"n".repeat(300)), 7, ["network name", "200 bytes"]),
        ] {
            refused(node.call_for("ADD", pod).stdin(stdin), code, &words);
        }
        let not_utf8 =
            [b"{\"cniVersion\": \"1.1.0\", \"name\": \"".as_slice(), &[0xff, 0xfe], b"\"}"].concat();
        refused(node.call_for("ADD", pod).stdin(not_utf8), 6, &["stdin"]);
    });
}

#[test]
fn wrong_environment() {
    refusals(|node, pod, refused| {
        let add = || node.call_for("ADD", pod).config(&plain(node));
        refused(add().env("CNI_COMMAND", "FLY"), 4, &["CNI_COMMAND", "FLY", "STATUS"]);
        refused(add().env("CNI_COMMAND", "add"), 4, &["CNI_COMMAND", "add"]);
        for key in ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"] {
            refused(add().without(key), 4, &[key]);
            refused(add().env(key, ""), 4, &[key]);
        }
        let bare = add().without("CNI_CONTAINERID").without("CNI_IFNAME").without("CNI_NETNS");
        refused(bare, 4, &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"]);
        for id in ["../x", "a/b", ".hidden", "-dash", "a b", "\u{e4}", &"x".repeat(201)] {
            refused(add().container(id), 4, &["CNI_CONTAINERID", "container ID"]);
        }
        for name in ["a/b", "..", ".", "a:b", "a b", "0123456789abcdef", "a\tb"] {
            refused(add().ifname(name), 4, &["CNI_IFNAME", "interface name"]);
        }
        for args in ["x", "NOT=known", "IP=nope", "MAC=ff:ff:ff:ff:ff:ff", "MAC=1"] {
            refused(add().args(args), 4, &["CNI_ARGS"]);
        }
    });
}

#[test]
fn del_gets_by_with_little_and_refuses_paths() {
    refusals(|node, pod, refused| {
        let del = || node.call_for("DEL", pod).config(&plain(node));
        refused(del().without("CNI_CONTAINERID"), 4, &["CNI_CONTAINERID"]);
        refused(del().container("../../etc/passwd"), 4, &["CNI_CONTAINERID"]);
        refused(del().ifname("../eth0"), 4, &["CNI_IFNAME"]);
        refused(del().stdin("{"), 6, &["stdin"]);
        let conf = over(plain(node), json!({"runtimeConfig": {"mac": 7}, "mtu": "x", "frobnicate": 1}));
        del().config(&conf).args("broken").without("CNI_NETNS").run().ok();
    });
}

#[test]
fn an_interface_of_that_name_is_there() {
    let lab = Lab::new();
    let node = lab.node("node");
    let _daemon = node.daemon(json!({}));
    for conf in [node.inline(json!({"name": "inline"})), node.conf(json!({}))] {
        let pod = lab.pod("pod");
        pod.ip("link add eth0 type veth peer name eth9");
        pod.ip("addr add 10.1.2.3/24 dev eth0");
        let (before, pod_before) = (node.snapshot(), Snapshot::take(&pod));
        node.add(&pod, &conf).failed(101, &["interface eth0", "pod"]);
        assert_same(&before, &node.snapshot());
        assert_same(&pod_before, &Snapshot::take(&pod));
    }
}

#[test]
fn attached_already() {
    let lab = Lab::new();
    let node = lab.node("node");
    let _daemon = node.daemon(json!({}));
    for conf in [node.inline(json!({"name": "inline"})), node.conf(json!({}))] {
        let pod = lab.pod("pod");
        node.add(&pod, &conf).ok();
        let (before, pod_before) = (node.snapshot(), Snapshot::take(&pod));
        node.add(&pod, &conf).failed(101, &[&pod.container, "DEL"]);
        assert_same(&before, &node.snapshot());
        assert_same(&pod_before, &Snapshot::take(&pod));
        node.del(&pod, &conf).ok();
    }
}
