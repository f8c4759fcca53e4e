//! `CNI_NETNS` that is no network namespace, or the wrong one.

use offramp_tests::{Lab, assert_same};
use serde_json::json;
use std::path::Path;

#[test]
fn is_told_by_what_it_is() {
    let lab = Lab::new();
    let (node, pod) = crate::node_and_pod(&lab);
    let _daemon = node.daemon(json!({}));
    let (file, fifo, link) = (node.dir().join("file"), node.dir().join("fifo"), node.dir().join("link"));
    std::fs::write(&file, "").unwrap();
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink(node.path(), &link).unwrap();
    let cases: [(&Path, u64, &[&str]); 9] = [
        (&file, 4, &["CNI_NETNS", "file"]),
        (&fifo, 4, &["CNI_NETNS", "fifo"]),
        (node.dir(), 4, &["CNI_NETNS"]),
        (Path::new("/dev/null"), 4, &["CNI_NETNS", "/dev/null"]),
        (Path::new("/proc/self/ns/mnt"), 4, &["CNI_NETNS", "another kind"]),
        (Path::new("/run/netns/gone"), 3, &["/run/netns/gone", "No such file"]),
        (Path::new("/proc/1/status/x"), 3, &["/proc/1/status/x"]),
        (&node.path(), 4, &["CNI_NETNS", "node's own"]),
        (&link, 4, &["CNI_NETNS", "node's own"]),
    ];
    for conf in [node.inline(json!({"name": "inline"})), node.conf(json!({}))] {
        let before = node.snapshot();
        for (path, code, words) in cases {
            node.call_for("ADD", &pod).netns(path).config(&conf).run().failed(code, words);
            assert_same(&before, &node.snapshot());
            // The DEL that follows has no more to go by, and succeeds.
            node.call_for("DEL", &pod).netns(path).config(&conf).run().ok();
            assert_same(&before, &node.snapshot());
        }
    }
}

/// A runtime's sandbox may be known by its process.
#[test]
fn of_a_process_is_as_good() {
    let lab = Lab::new();
    let (node, pod) = crate::node_and_pod(&lab);
    let mut child = pod.command("sleep").arg("1000").spawn().unwrap();
    let path = format!("/proc/{}/ns/net", child.id());
    let conf = node.inline(json!({}));
    node.call_for("ADD", &pod).netns(&path).config(&conf).run().ok();
    assert_eq!(pod.ips().len(), 2);
    node.call_for("DEL", &pod).netns(&path).config(&conf).run().ok();
    assert_eq!(pod.link("eth0"), None);
    child.kill().unwrap();
    child.wait().unwrap();
}
