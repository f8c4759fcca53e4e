//! The state directory in bad shape: unreadable and half-written records, a full disk, a log that cannot be written.

use crate::node_and_pod;
use offramp_tests::{Lab, Node, Pod, Snapshot, assert_same, over};
use serde_json::{Value, json};
use std::path::Path;

fn in_both_modes(test: impl Fn(&Lab, &Node, &Value)) {
    let lab = Lab::new();
    let node = lab.node("node");
    let _daemon = node.daemon(json!({}));
    for conf in [node.inline(json!({"name": "inline"})), node.conf(json!({}))] {
        test(&lab, &node, &conf);
    }
}

#[test]
fn a_record_that_is_none_is_error_6_and_left_alone() {
    in_both_modes(|lab, node, conf| {
        let pod = lab.pod("pod");
        let whole = {
            node.add(&pod, conf).ok();
            let text = std::fs::read_to_string(node.record(&pod)).unwrap();
            node.del(&pod, conf).ok();
            text
        };
        let newer = whole.replacen("\"format\":1", "\"format\":99", 1);
        let foreign = whole.replacen(&pod.container, "somebody-else", 1);
        for (text, word) in [
            ("", "EOF"),
            (&whole[..whole.len() / 2], "EOF"),
            ("{}", "format"),
            (&newer, "99"),
            (&foreign, "somebody-else"),
        ] {
            std::fs::write(node.record(&pod), text).unwrap();
            let (before, pod_before) = (node.snapshot(), Snapshot::take(&pod));
            let path = node.record(&pod);
            for verb in ["ADD", "DEL"] {
                let answer = node.call_for(verb, &pod).config(conf).run();
                answer.failed(6, &[path.to_str().unwrap(), word]);
                assert_same(&before, &node.snapshot());
                assert_same(&pod_before, &Snapshot::take(&pod));
            }
        }
        std::fs::remove_file(node.record(&pod)).unwrap();
        node.add(&pod, conf).ok();
        node.del(&pod, conf).ok();
    });
}

#[test]
fn a_record_that_cannot_be_read_is_error_5() {
    in_both_modes(|lab, node, conf| {
        let pod = lab.pod("pod");
        std::fs::create_dir_all(node.record(&pod)).unwrap();
        let before = node.snapshot();
        node.add(&pod, conf).failed(5, &[node.record(&pod).to_str().unwrap(), "not a regular file"]);
        assert_same(&before, &node.snapshot());
        std::fs::remove_dir(node.record(&pod)).unwrap();
    });
}

#[test]
fn a_fifo_for_a_record_keeps_nobody_waiting() {
    let lab = Lab::new();
    let (node, pod, other) = (lab.node("node"), lab.pod("pod"), lab.pod("other"));
    let dir = node.state().join("attachments");
    std::fs::create_dir_all(&dir).unwrap();
    for fifo in [node.record(&pod), dir.join(format!(".{}@eth0.json.plugin", other.container))] {
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let daemon = node.daemon(json!({"reclaim": {"interval": "200ms"}}));
    for conf in [node.inline(json!({"name": "inline"})), node.conf(json!({}))] {
        for verb in ["ADD", "DEL"] {
            let answer = node.call_for(verb, &pod).config(&conf).run();
            answer.failed(5, &[node.record(&pod).to_str().unwrap(), "not a regular file"]);
        }
        node.add(&other, &conf).ok();
        node.gc(&conf, &[&other]).error();
        node.del(&other, &conf).ok();
    }
    let problems = daemon.ask("status")["problems"].to_string();
    assert!(problems.contains("not a regular file"), "{problems}");
    std::fs::remove_file(node.record(&pod)).unwrap();
    node.add(&pod, &node.conf(json!({}))).ok();
}

#[test]
fn others_records_in_bad_shape_hinder_nobody() {
    in_both_modes(|lab, node, conf| {
        let pod = lab.pod("pod");
        let dir = node.state().join("attachments");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("broken@eth0.json"), "{").unwrap();
        std::fs::write(dir.join(".torn@eth0.json.999999"), "{").unwrap();
        node.add(&pod, conf).ok();
        node.del(&pod, conf).ok();
    });
}

/// A tmpfs of a few pages, filled up.
struct FullDisk<'a>(&'a Path);

impl<'a> FullDisk<'a> {
    fn mount(at: &'a Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let run = |line: String| {
            let words: Vec<&str> = line.split(' ').collect();
            assert!(
                std::process::Command::new(words[0]).args(&words[1..]).status().unwrap().success(),
                "{line}"
            );
        };
        run(format!("mount -t tmpfs -o size=64k tmpfs {}", at.display()));
        Self(at)
    }

    fn fill(&self) {
        let written = std::fs::write(self.0.join("filler"), vec![0; 1 << 20]);
        assert_eq!(written.unwrap_err().raw_os_error(), Some(nix::libc::ENOSPC));
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for FullDisk<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn on_a_full_disk(node: &Node, pod: &Pod, conf: &Value, disk: &FullDisk) {
    let (before, pod_before) = (node.snapshot(), Snapshot::take(pod));
    disk.fill();
    node.add(pod, conf).failed(5, &[node.state().to_str().unwrap(), "No space left"]);
    assert_same(&pod_before, &Snapshot::take(pod));
    node.del(pod, conf).ok();
    disk.clear();
    assert_same(&before, &node.snapshot());
    node.add(pod, conf).ok();
    disk.fill();
    node.del(pod, conf).ok(); // a release needs no room
    assert_same(&pod_before, &Snapshot::take(pod));
    disk.clear();
    assert_same(&before, &node.snapshot());
}

#[test]
fn a_full_disk_in_inline_mode() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let state = node.state();
    let disk = FullDisk::mount(&state);
    let conf = node.inline(json!({"logFile": "/dev/null"}));
    node.add(&pod, &conf).ok(); // there are directories and locks
    node.del(&pod, &conf).ok();
    on_a_full_disk(&node, &pod, &conf, &disk);
}

#[test]
fn a_full_disk_in_node_mode() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let state = node.state();
    let disk = FullDisk::mount(&state);
    let _daemon = node.daemon(json!({}));
    let conf = node.conf(json!({"logFile": "/dev/null"}));
    node.add(&pod, &conf).ok();
    node.del(&pod, &conf).ok();
    on_a_full_disk(&node, &pod, &conf, &disk);
}

#[test]
fn a_log_that_cannot_be_written_fails_no_call() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    for log in ["/nowhere/offramp.log", "/proc/offramp.log", "/dev/full"] {
        let conf = node.inline(json!({"logFile": log}));
        assert_eq!(node.add(&pod, &conf).ok()["ips"].as_array().unwrap().len(), 2);
        assert_eq!(node.del(&pod, &conf).stdout, "");
    }
}

#[test]
fn the_log_tells_what_was_refused_and_is_always_json() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let log = node.dir().join("calls.log");
    let conf = |extra: Value| over(node.inline(json!({"logFile": log, "logLevel": "debug"})), extra);
    node.add(&pod, &conf(json!({"frobnicate": 1}))).failed(2, &["frobnicate"]);
    node.add(&pod, &conf(json!({"name": "\"".repeat(9000)}))).failed(7, &["network name"]);
    node.call_for("FLY", &pod).config(&conf(json!({}))).run().failed(4, &["FLY"]);
    let args = "IgnoreUnknown=1;K8S_POD_NAME=".to_owned() + &"p".repeat(9000);
    node.call_for("ADD", &pod).config(&conf(json!({}))).args(&args).run().ok();
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let codes: Vec<_> = lines.iter().map(|l| (l["verb"].as_str().unwrap(), l["code"].as_u64())).collect();
    assert_eq!(codes, [("ADD", Some(2)), ("ADD", Some(7)), ("FLY", Some(4)), ("ADD", None)]);
    let last = &lines[3];
    assert!(last["stdin_bytes"].as_u64().unwrap() > 100 && last["netns"].is_string(), "{last}");
    assert_eq!(last["args"].as_str().unwrap().len(), 1000);

    let (link, target) = (node.dir().join("link.log"), node.dir().join("target"));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    node.del(&pod, &node.inline(json!({"logFile": link}))).ok();
    assert!(!target.exists(), "the log follows no link");
}

#[test]
fn the_log_has_a_line_a_call_and_a_bound() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let log = node.dir().join("calls.log");
    let conf = node.inline(json!({"logFile": log, "logMaxBytes": 2000}));
    node.add(&pod, &conf).ok();
    node.add(&pod, &conf).error();
    node.del(&pod, &conf).ok();
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let outcomes: Vec<_> = lines.iter().map(|l| (l["verb"].clone(), l["outcome"].clone())).collect();
    let expected = [("ADD", "ok"), ("ADD", "error"), ("DEL", "ok")].map(|(v, o)| (json!(v), json!(o)));
    assert_eq!(outcomes, expected);
    assert_eq!(lines[0]["attachment"], format!("{}@eth0", pod.container));
    assert!(lines[0]["steps"]["create-veth"].is_u64(), "{}", lines[0]);
    assert_eq!(lines[1]["code"], 101);
    for _ in 0..20 {
        node.del(&pod, &conf).ok();
    }
    let size = |path: &Path| std::fs::metadata(path).unwrap().len();
    // A line that begins below the bound is written to its end.
    assert!(size(&log) < 2000 + 4096 && size(&log.with_extension("log.1")) < 2000 + 4096);
    let quiet = node.inline(json!({"logFile": node.dir().join("none.log"), "logLevel": "none"}));
    node.add(&pod, &quiet).ok();
    assert!(!node.dir().join("none.log").exists());
}
