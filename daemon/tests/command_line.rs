//! The binary as a user meets it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::path::Path;
use std::process::{Command, Output};

fn offrampd(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offrampd"));
    command.args(args).env_remove("OFFRAMP_SOCKET").output().expect("offrampd starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn write(dir: &Path, yaml: &str) -> String {
    let path = dir.join("offrampd.yaml");
    std::fs::write(&path, yaml).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn it_tells_its_version() {
    let out = offrampd(&["--version"]);
    assert!(out.status.success());
    assert_eq!(text(&out.stdout), format!("offrampd {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_configuration_can_be_checked() {
    let dir = tempfile::tempdir().unwrap();
    let head = "node: {name: n}\ncluster: {source: standalone, podCIDRs: [10.244.1.0/24]}\n";
    let good = offrampd(&["run", "--check", "--config", &write(dir.path(), head)]);
    assert_eq!((good.status.code(), text(&good.stdout).as_str()), (Some(0), "The configuration is valid.\n"));

    let path = write(dir.path(), &format!("{head}overlay: {{vnid: 7}}\n"));
    let bad = offrampd(&["run", "--check", "--config", &path]);
    assert_eq!(bad.status.code(), Some(1));
    assert_eq!(
        text(&bad.stderr),
        format!(
            "offrampd: {path}: line 3, column 11: overlay.vnid: unknown field `vnid`, expected one of mode, vni, \
             port, device, underlay\n"
        )
    );
}

#[test]
fn without_a_daemon_it_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("offrampd.sock");
    let status = offrampd(&["status", "--socket", socket.to_str().unwrap()]);
    assert_eq!((status.status.code(), status.stdout.len()), (Some(1), 0));
    let told = text(&status.stderr);
    assert!(told.starts_with("offrampd: offrampd is not running on this node (connect "), "{told}");
    assert!(told.contains("Start it: offrampd run --config "), "{told}");

    std::fs::create_dir(dir.path().join("attachments")).unwrap();
    let json = offrampd(&["attachments", "-o", "json", "--socket", socket.to_str().unwrap()]);
    assert_eq!((json.status.code(), text(&json.stdout).as_str()), (Some(0), "[]\n"));
    assert!(text(&json.stderr).contains("this is from the records in "), "{}", text(&json.stderr));

    let explain = offrampd(&["explain", "default/web", "--socket", socket.to_str().unwrap()]);
    assert_eq!(explain.status.code(), Some(1));
    let told = text(&explain.stderr);
    assert!(
        told.ends_with(
            "no attachment on this node matches pod default/web; `offrampd attachments` lists them all\n"
        ),
        "{told}"
    );
}

#[test]
fn nics_come_from_the_kernel_when_the_daemon_is_away() {
    assert!(std::env::var_os("OFFRAMP_LAB").is_some(), "this test changes the network: run it by hack/lab");
    let ip =
        |line: &str| assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "{line}");
    ip("link add offramp-vxlan type vxlan id 7 dstport 4789");
    ip("link add v0 type veth peer name v1");
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("offrampd.sock");
    let nics = |more: &[&str]| {
        let out = offrampd(&[&["nics", "--socket", socket.to_str().unwrap()], more].concat());
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, table, told) = nics(&[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("this is from the kernel"), "{told}");
    assert!(table.contains("\nofframp-vxlan  vxlan  "), "{table}");
    assert!(!table.contains("v0"), "{table}");
    let (_, wide, _) = nics(&["-o", "wide"]);
    assert!(wide.contains("\nvxlan            there"), "{wide}");
    let (_, one, _) = nics(&["offramp-vxlan"]);
    assert!(one.starts_with("Device        offramp-vxlan (vxlan)\n"), "{one}");
    assert!(one.contains("\n  tx-checksum-ip-generic  on\n"), "{one}");
    let (_, json, _) = nics(&["offramp-vxlan", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["offload"]["devices"].as_object().unwrap().len(), 1);
    let (code, _, told) = nics(&["v0"]);
    assert_eq!(code, Some(1));
    assert!(
        told.ends_with("this node has no NIC \"v0\"; `offrampd nics` lists them, and what is on them\n"),
        "{told}"
    );
}
