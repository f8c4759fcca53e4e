//! The network configuration of the pod network. It is written when the daemon can serve for the first time, kept as it
//! should be while the daemon lives, and stays when it ends.

use super::{InstallError, PLUGIN, Put, files};
use crate::config::{Cni, CniVersion, Paths};
use crate::node::Node;
use inotify::{Inotify, WatchMask};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The network's name, for ever: runtimes keep the results of attachments by it.
const NETWORK: &str = "offramp";
/// What a runtime must understand to be of use.
const OLDEST: &str = "1.0.0";
/// The one with STATUS and GC.
const NEWEST: &str = "1.1.0";
/// How soon a daemon that cannot serve yet is asked again.
const UNTIL_READY: Duration = Duration::from_millis(250);

/// The configuration's text.
///
/// A runtime says by itself which version it speaks: libcni takes the newest of `cniVersions` that it knows (CNI 1.1,
/// SPEC.md, "Version considerations"), and one that is older than this key goes by `cniVersion`.
pub fn text(version: CniVersion, paths: &Paths) -> String {
    let mut plugin = json!({
        "type": PLUGIN,
        "capabilities": {
            "portMappings": true,
            "bandwidth": true,
            "ips": true,
            "mac": true,
            "io.kubernetes.cri.pod-annotations": true,
        },
    });
    let state_dir = Path::new(crate::DEFAULT_STATE_DIR);
    if paths.state_dir != state_dir {
        plugin["stateDir"] = json!(paths.state_dir);
    }
    if paths.socket != paths.state_dir.join(crate::SOCKET_NAME) {
        plugin["socket"] = json!(paths.socket);
    }
    let mut list = json!({"cniVersion": OLDEST, "name": NETWORK, "plugins": [plugin]});
    match version {
        CniVersion::Negotiated => list["cniVersions"] = json!([OLDEST, NEWEST]),
        CniVersion::V1_0 => {}
        CniVersion::V1_1 => list["cniVersion"] = json!(NEWEST),
    }
    format!("{list:#}\n")
}

/// Writes it where runtimes look for it.
pub fn put(cni: &Cni, paths: &Paths) -> Result<Put, InstallError> {
    let path = cni.path();
    std::fs::create_dir_all(&cni.conf_dir).map_err(InstallError::io("make directory", &cni.conf_dir))?;
    files::put(&path, 0o644, text(cni.version, paths).as_bytes()).map_err(InstallError::io("write", &path))
}

/// Whether a file is a network configuration of ours: of the pod network's name, by our plugin alone.
fn is_ours(path: &Path) -> bool {
    parse(path).is_some_and(|list| {
        let plugins = list["plugins"].as_array();
        list["name"] == NETWORK && plugins.is_some_and(|all| all.iter().all(|p| p["type"] == PLUGIN))
    })
}

/// Takes it away, if it is ours; false if it is not there.
pub fn remove(cni: &Cni) -> Result<bool, InstallError> {
    let path = cni.path();
    if path.exists() && !is_ours(&path) {
        let source = std::io::Error::other("it is not Offramp's network configuration");
        return Err(InstallError::Io { what: "remove", path, source });
    }
    files::remove(&path).map_err(InstallError::io("remove", &path))
}

/// The network configurations in the folder that are not ours, in the runtimes' order.
pub fn others(cni: &Cni) -> Result<Vec<PathBuf>, InstallError> {
    let entries = match std::fs::read_dir(&cni.conf_dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(InstallError::io("list", &cni.conf_dir)(e)),
    };
    let suffixes = ["conf", "conflist", "json"];
    let is_conf =
        |path: &Path| path.extension().and_then(|e| e.to_str()).is_some_and(|e| suffixes.contains(&e));
    let mut others: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| is_conf(p)).collect();
    others.retain(|p| *p != cni.path() && p.is_file());
    others.sort();
    Ok(others)
}

/// Whether a network configuration, of whomever, calls our plugin: by itself, in a list, for addresses, or as a
/// delegate.
pub fn calls_us(path: &Path) -> bool {
    fn names_us(value: &Value) -> bool {
        match value {
            Value::Object(map) => value["type"] == PLUGIN || map.values().any(names_us),
            Value::Array(list) => list.iter().any(names_us),
            _ => false,
        }
    }
    parse(path).is_some_and(|conf| names_us(&conf))
}

fn parse(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Keeps the configuration there, from the first time on that it is needed. One of before is left as it is until then.
pub fn run(node: &Node, cni: &Cni) {
    while !is_needed(node) {
        std::thread::sleep(UNTIL_READY);
    }
    loop {
        // Before the look, so that nothing is missed in between.
        let watch = watch(&cni.conf_dir);
        node.ran("conflist", look(node, cni).map_err(|e| e.to_string()));
        wait(watch, node.config.reconcile_interval);
    }
}

/// A pod could be attached; or one is, and could not be detached without it: its address may be what others wait for.
fn is_needed(node: &Node) -> bool {
    node.not_ready().is_empty() || node.store.ids().is_ok_and(|ids| !ids.is_empty())
}

/// Says how much was not as it should be.
fn look(node: &Node, cni: &Cni) -> Result<u64, InstallError> {
    let put = put(cni, &node.config.paths)?;
    let first = others(cni)?.into_iter().next().filter(|other| *other < cni.path());
    let shadow = first.map(|other| {
        format!("{} comes before {}: the runtime goes by it", other.display(), cni.path().display())
    });
    let mut view = node.view();
    if view.shadowed != shadow {
        if let Some(shadow) = &shadow {
            tracing::warn!("{shadow}");
        }
        view.shadowed = shadow;
    }
    drop(view);
    if put == Put::Written {
        tracing::info!(path = %cni.path().display(), "the network configuration is written");
    }
    Ok(u64::from(put == Put::Written))
}

fn watch(dir: &Path) -> Option<Inotify> {
    let mask = WatchMask::CLOSE_WRITE
        | WatchMask::MOVED_TO
        | WatchMask::MOVED_FROM
        | WatchMask::DELETE
        | WatchMask::DELETE_SELF;
    std::fs::create_dir_all(dir).ok()?; // what stands in the way is told when the file is written
    let inotify = Inotify::init().ok()?;
    inotify.watches().add(dir, mask).ok()?;
    Some(inotify)
}

/// Until something happens in the folder, or it is time.
fn wait(watch: Option<Inotify>, interval: Duration) {
    let Some(watch) = watch else { return std::thread::sleep(interval) };
    let timeout = PollTimeout::try_from(interval).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, timeout).is_ok_and(|n| n > 0) {
        // Events come in swarms; and somebody who fights us does not get all of the processor.
        std::thread::sleep(UNTIL_READY);
    }
}
