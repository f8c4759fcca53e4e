//! Whoever runs nft holds the firewall's lock, and nft keeps it: no change of a killed caller's comes behind a change
//! of whoever has the lock next.

use crate::node_and_pod;
use offramp_tests::{Lab, Node, over};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A directory for PATH with an nft that notes its open files before it becomes the real one.
fn nft_that_tells(node: &Node) -> (String, PathBuf) {
    let (dir, told) = (node.dir().join("bin"), node.dir().join("told"));
    std::fs::create_dir(&dir).unwrap();
    let script = format!(
        "#!/bin/sh\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin\n{{ echo began:; ls -l /proc/$$/fd; }} >> {}\nexec nft \"$@\"\n",
        told.display()
    );
    std::fs::write(dir.join("nft"), script).unwrap();
    std::fs::set_permissions(dir.join("nft"), std::fs::Permissions::from_mode(0o755)).unwrap();
    (format!("{}:{}", dir.display(), std::env::var("PATH").unwrap()), told)
}

fn every_nft_had_the_lock(told: &PathBuf, at_least: usize) {
    let text = std::fs::read_to_string(told).unwrap();
    let runs: Vec<&str> = text.split("began:\n").skip(1).collect();
    assert!(runs.len() >= at_least, "{text}");
    runs.iter().for_each(|files| assert!(files.contains("/locks/firewall\n"), "{files}"));
    std::fs::remove_file(told).unwrap();
}

fn port() -> Value {
    json!({"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}})
}

#[test]
fn of_the_plugin() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let (path, told) = nft_that_tells(&node);
    let conf = node.inline(port());
    let call =
        |verb: &str, conf: &Value| node.call_for(verb, &pod).config(conf).env("PATH", &path).run().ok();
    let result = call("ADD", &conf);
    every_nft_had_the_lock(&told, 1);
    call("CHECK", &over(conf.clone(), json!({"prevResult": result})));
    every_nft_had_the_lock(&told, 2);
    call("DEL", &conf);
    every_nft_had_the_lock(&told, 1);
}

#[test]
fn of_the_daemon() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let (path, told) = nft_that_tells(&node);
    let _daemon = node.daemon_as(json!({"reconcile": {"interval": "1h"}}), |command| {
        command.env("PATH", &path);
    });
    let replaced = std::fs::read_to_string(&told).unwrap();
    assert!(replaced.contains("/locks/firewall\n"), "{replaced}");
    std::fs::remove_file(&told).unwrap();
    let conf = node.conf(port());
    node.add(&pod, &conf).ok();
    node.del(&pod, &conf).ok();
    let text = std::fs::read_to_string(&told).unwrap();
    assert!(text.matches("/locks/firewall\n").count() >= 2, "{text}");
}
