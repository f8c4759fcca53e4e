//! `offrampd install`: the plugin's program.

use super::conflist;
use offramp_tests::{Lab, Node, binary};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn install(node: &Node, plugin: &Path, change: impl FnOnce(&mut Command)) -> Output {
    let mut command = node.command(binary("offrampd"));
    command.arg("install").arg("--plugin").arg(plugin).arg("--bin-dir").arg(bin(node));
    change(&mut command);
    command.output().unwrap()
}

fn bin(node: &Node) -> PathBuf {
    node.dir().join("bin")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn it_says_what_it_did() {
    let lab = Lab::new();
    let node = lab.node("node");
    let path = bin(&node).join("offramp");
    let plugin = binary("offramp");
    let first = install(&node, &plugin, |_| {});
    assert_eq!(said(&first), format!("installed: {}\n", path.display()));
    let warned =
        |output: &Output| String::from_utf8_lossy(&output.stderr).contains("bin/loopback is not there");
    assert!(warned(&first), "{first:?}");
    std::fs::write(bin(&node).join("loopback"), "").unwrap();
    assert!(!warned(&install(&node, &plugin, |_| {})));
    assert_eq!(said(&install(&node, &plugin, |_| {})), format!("up to date: {}\n", path.display()));
    let version = Command::new(&path).env("CNI_COMMAND", "VERSION").stdin(Stdio::null()).output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).contains("1.1.0"), "{version:?}");
    assert!(!conflist(&node).exists(), "the network configuration is the daemon's affair");
}

#[test]
fn a_running_plugin_is_replaced() {
    let lab = Lab::new();
    let node = lab.node("node");
    // Any program that stays: it is open for execution, and writing it would fail with ETXTBSY.
    std::fs::create_dir(bin(&node)).unwrap();
    std::fs::copy("/bin/sleep", bin(&node).join("offramp")).unwrap();
    let mut running = Command::new(bin(&node).join("offramp")).arg("60").spawn().unwrap();
    let output = install(&node, &binary("offramp"), |_| {});
    assert!(running.try_wait().unwrap().is_none(), "it goes on");
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(said(&output).starts_with("installed"));
    let same =
        std::fs::read(bin(&node).join("offramp")).unwrap() == std::fs::read(binary("offramp")).unwrap();
    assert!(same);
}

#[test]
fn killed_before_the_last_step_it_has_changed_nothing() {
    let lab = Lab::new();
    let node = lab.node("node");
    std::fs::create_dir(bin(&node)).unwrap();
    std::fs::copy("/bin/true", bin(&node).join("offramp")).unwrap();
    let killed = install(&node, &binary("offramp"), |c| {
        c.env("OFFRAMP_CRASH_AT", "install.written:1");
    });
    assert!(!killed.status.success(), "built without the feature crash-points? {killed:?}");
    let there = std::fs::read(bin(&node).join("offramp")).unwrap();
    assert!(there == std::fs::read("/bin/true").unwrap(), "the old one, whole");
    assert!(said(&install(&node, &binary("offramp"), |_| {})).starts_with("installed"));
    let names: Vec<_> = std::fs::read_dir(bin(&node)).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["offramp"]);
}

#[test]
fn many_at_once_leave_one_whole_program() {
    let lab = Lab::new();
    let node = lab.node("node");
    let plugin = binary("offramp");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| said(&install(&node, &plugin, |_| {})));
        }
    });
    let same = std::fs::read(bin(&node).join("offramp")).unwrap() == std::fs::read(&plugin).unwrap();
    assert!(same);
    assert_eq!(std::fs::read_dir(bin(&node)).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_installed_is_named() {
    let lab = Lab::new();
    let node = lab.node("node");
    let output = install(&node, Path::new("/none/offramp"), |_| {});
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("offrampd: read /none/offramp: No such file"), "{told}");
}
