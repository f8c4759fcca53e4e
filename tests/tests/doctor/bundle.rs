//! What a bug report needs, in one file.

use crate::site::Site;
use offramp_tests::binary;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn bundle(site: &Site, file: &str) -> Output {
    let mut command = site.node.command(binary("offrampd"));
    command.args(["bundle", file, "--config"]).arg(site.node.dir().join("offrampd.yaml"));
    command.arg("--bin-dir").arg(site.node.dir().join("bin")).output().unwrap()
}

/// Unpacked; where its files are.
fn unpack(file: &Path, to: &Path) -> std::path::PathBuf {
    std::fs::create_dir(to).unwrap();
    let done = Command::new("tar").arg("-xzf").arg(file).arg("-C").arg(to).status().unwrap();
    assert!(done.success());
    to.join("offramp-bundle")
}

#[test]
fn a_bundle_has_what_a_report_needs_and_no_secrets() {
    let site = Site::new();
    let daemon = site.start();
    let annotations = json!({
        "offramp.dev/offload": "preferred",
        "offramp.dev/interfaces": "[] # hunter2",
        "example.com/other": "hunter2",
    });
    let conf = json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}});
    site.node.add(&site.pod, &site.node.conf(conf)).ok();
    let other =
        json!({"name": "x", "cniVersion": "1.0.0", "plugins": [{"type": "x", "password": "hunter2"}]});
    std::fs::write(site.node.dir().join("net.d/99-x.conflist"), other.to_string()).unwrap();

    let file = site.node.dir().join("bundle.tar.gz");
    let made = bundle(&site, file.to_str().unwrap());
    assert!(made.status.success() && made.stderr.is_empty(), "{made:?}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let dir = unpack(&file, &site.node.dir().join("first"));
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let parsed = |name: &str| serde_json::from_str::<Value>(&read(name)).unwrap();
    assert_eq!(parsed("doctor.json"), json!([]));
    assert_eq!(parsed("status.json")["node"]["name"], "node");
    assert_eq!(parsed("facts.json")["overlay"]["Ok"]["tables"]["routes"].as_array().unwrap().len(), 4);
    assert_eq!((parsed("facts.json")["rules"].get("nft"), read("facts.json").lines().count()), (None, 1));
    assert_eq!(parsed("net.d/99-x.conflist")["plugins"][0]["password"], "(left out)");
    let record = format!("records/{}@eth0.json", site.pod.container);
    assert_eq!(parsed(&record)["state"], "ready");
    assert_eq!(parsed(&record)["asked"], json!({"offload": "preferred", "interfaces": "(left out)"}));
    for (name, words) in [
        ("versions.txt", "daemon: 0."),
        ("config.yaml", "peersFile"),
        ("net/links.txt", "offramp-vxlan"),
        ("net/addresses.txt", "10.244.1.1/29"),
        ("net/routes.txt", "10.244.9.0/24 via 10.244.9.0"),
        ("net/nft.json", "\"offramp\""),
        ("net/sysctls.txt", "ipv4/ip_forward = 1"),
        ("kernel/version.txt", "Linux"),
        ("log/offramp.log", &site.pod.container),
        ("contents.txt", "status.json: "),
        ("README.txt", "look through it"),
    ] {
        assert!(read(name).contains(words), "{words:?} is not in {name}: {}", read(name));
    }
    let leaks = Command::new("grep").args(["-rl", "hunter2"]).arg(&dir).output().unwrap();
    assert!(leaks.stdout.is_empty(), "{}", String::from_utf8_lossy(&leaks.stdout));

    // It replaces nothing.
    let again = bundle(&site, file.to_str().unwrap());
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("File exists"), "{again:?}");

    // Without the daemon, to standard output.
    daemon.kill();
    let piped = bundle(&site, "-");
    assert!(piped.status.success());
    let told = String::from_utf8_lossy(&piped.stderr).into_owned();
    assert!(told.contains("not in the bundle: status.json: offrampd is not running"), "{told}");
    let second = site.node.dir().join("second.tar.gz");
    std::fs::write(&second, &piped.stdout).unwrap();
    let dir = unpack(&second, &site.node.dir().join("second"));
    let contents = std::fs::read_to_string(dir.join("contents.txt")).unwrap();
    assert!(contents.contains("status.json: not here: offrampd is not running"), "{contents}");
    let doctor = std::fs::read_to_string(dir.join("doctor.json")).unwrap();
    assert!(doctor.contains("daemon-away"), "{doctor}");
}
