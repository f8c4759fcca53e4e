use super::*;
use crate::config::{Cni, CniVersion, Paths};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn program(dir: &Path, content: &str) -> PathBuf {
    let path = dir.join("program");
    std::fs::write(&path, format!("\x7fELF{content}")).unwrap();
    path
}

fn paths(state: &str) -> Paths {
    Paths {
        state_dir: state.into(),
        socket: Path::new(state).join(crate::SOCKET_NAME),
        kubelet: crate::DEFAULT_KUBELET_DIR.into(),
        cdi: crate::DEFAULT_CDI_DIR.into(),
        sysfs: "/sys".into(),
        sysctl: "/proc/sys/net".into(),
    }
}

fn cni(dir: &Path) -> Cni {
    Cni {
        conf_dir: dir.join("net.d"),
        conf_file: "05-offramp.conflist".into(),
        version: CniVersion::Negotiated,
    }
}

#[test]
fn the_plugin_is_installed_once_and_replaced_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (bin, first) = (dir.path().join("opt/cni/bin"), program(dir.path(), "one"));
    let (path, put) = plugin(&first, &bin).unwrap();
    assert_eq!((path.as_path(), put), (bin.join("offramp").as_path(), Put::Written));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o755);

    let inode = path.metadata().unwrap().ino();
    assert_eq!(plugin(&first, &bin).unwrap().1, Put::UpToDate);
    assert_eq!(path.metadata().unwrap().ino(), inode, "what is right is not touched");

    let running = std::fs::File::open(&path).unwrap();
    assert_eq!(plugin(&program(dir.path(), "two"), &bin).unwrap().1, Put::Written);
    assert_eq!(std::io::read_to_string(running).unwrap(), "\x7fELFone", "who has the old one keeps it");
    assert_eq!(std::fs::read(&path).unwrap(), b"\x7fELFtwo");
    assert_eq!(std::fs::read_dir(&bin).unwrap().count(), 1);
}

#[test]
fn a_lost_mode_and_what_a_killed_one_left_are_mended() {
    let dir = tempfile::tempdir().unwrap();
    let first = program(dir.path(), "one");
    let path = plugin(&first, dir.path()).unwrap().0;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(dir.path().join(".offramp.new"), "half").unwrap();
    assert_eq!(plugin(&first, dir.path()).unwrap().1, Put::Written);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    assert!(!dir.path().join(".offramp.new").exists());
}

#[test]
fn what_is_no_program_or_cannot_be_written_is_told_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let told = plugin(&script, &dir.path().join("bin")).unwrap_err().to_string();
    assert!(told.ends_with("script: it is not a program of Linux (ELF)"), "{told}");
    assert!(!dir.path().join("bin").exists());

    std::fs::create_dir_all(dir.path().join("bin/offramp/full")).unwrap();
    let told = plugin(&program(dir.path(), ""), &dir.path().join("bin")).unwrap_err().to_string();
    assert!(told.contains("bin/offramp: "), "{told}");
    assert!(!dir.path().join("bin/.offramp.new").exists());
}

#[test]
fn the_network_configuration_negotiates() {
    let written =
        |version, paths: &Paths| -> Value { serde_json::from_str(&conflist::text(version, paths)).unwrap() };
    let negotiated = written(CniVersion::Negotiated, &paths("/run/offramp"));
    assert_eq!(negotiated["name"], "offramp");
    assert_eq!(negotiated["cniVersion"], "1.0.0");
    assert_eq!(negotiated["cniVersions"], json!(["1.0.0", "1.1.0"]));
    assert_eq!(negotiated["plugins"][0]["capabilities"]["io.kubernetes.cri.pod-annotations"], true);
    assert_eq!(negotiated["plugins"][0].as_object().unwrap().len(), 2);
    let old = written(CniVersion::V1_0, &paths("/x"));
    assert_eq!((&old["cniVersion"], &old["cniVersions"]), (&json!("1.0.0"), &Value::Null));
    assert_eq!(old["plugins"][0]["stateDir"], "/x");
    assert_eq!(old["plugins"][0]["socket"], Value::Null);
    assert_eq!(written(CniVersion::V1_1, &paths("/x"))["cniVersion"], "1.1.0");
    let elsewhere = Paths { socket: "/s".into(), ..paths("/run/offramp") };
    assert_eq!(written(CniVersion::V1_1, &elsewhere)["plugins"][0]["socket"], "/s");
}

/// The plugin itself understands it, with what runtimes add.
#[test]
fn the_plugin_reads_what_is_written() {
    let list: Value =
        serde_json::from_str(&conflist::text(CniVersion::Negotiated, &paths("/run/offramp"))).unwrap();
    let mut conf = list["plugins"][0].clone();
    conf["name"] = list["name"].clone();
    conf["cniVersion"] = json!("1.1.0");
    let conf = offramp_core::cni::NetConf::parse(conf.to_string().as_bytes(), false);
    assert_eq!(conf.unwrap().name.as_str(), "offramp");
}

#[test]
fn only_our_own_network_configuration_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let cni = cni(dir.path());
    assert!(!conflist::remove(&cni).unwrap());
    conflist::put(&cni, &paths("/run/offramp")).unwrap();
    assert!(conflist::remove(&cni).unwrap());
    std::fs::write(cni.path(), json!({"name": "offramp", "plugins": [{"type": "bridge"}]}).to_string())
        .unwrap();
    let told = conflist::remove(&cni).unwrap_err().to_string();
    assert!(told.ends_with("it is not Offramp's network configuration"), "{told}");
    assert!(cni.path().exists());
}

#[test]
fn other_network_configurations_are_seen_in_the_runtimes_order() {
    let dir = tempfile::tempdir().unwrap();
    let cni = cni(dir.path());
    assert!(conflist::others(&cni).unwrap().is_empty(), "there is no folder yet");
    conflist::put(&cni, &paths("/run/offramp")).unwrap();
    for name in ["10-flannel.conflist", "00-multus.conf", "README", ".05-offramp.conflist.new", "9.json"] {
        std::fs::write(cni.conf_dir.join(name), "{}").unwrap();
    }
    std::fs::create_dir(cni.conf_dir.join("dir.conf")).unwrap();
    let others = conflist::others(&cni).unwrap();
    let names: Vec<_> = others.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["00-multus.conf", "10-flannel.conflist", "9.json"]);
    let calls = |text: Value| {
        std::fs::write(&others[0], text.to_string()).unwrap();
        conflist::calls_us(&others[0])
    };
    assert!(
        calls(json!({"type": "offramp"})) && calls(json!({"plugins": [{"type": "a"}, {"type": "offramp"}]}))
    );
    assert!(calls(json!({"type": "bridge", "ipam": {"type": "offramp"}})), "for its addresses");
    assert!(!calls(json!({"name": "offramp", "plugins": [{"type": "bridge"}]})));
}
