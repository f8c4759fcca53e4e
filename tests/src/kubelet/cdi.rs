//! How a container runtime finds devices by name (Container Device Interface, SPEC.md 0.5.0 and its schema.json).

use serde_json::{Map, Value};
use std::path::Path;

/// The device nodes of a device, `VENDOR/CLASS=NAME`. Panics at a file that a runtime would not take.
pub fn device_nodes(dir: &Path, name: &str) -> Option<Vec<String>> {
    let (kind, name) = name.split_once('=').expect("VENDOR/CLASS=NAME");
    let files = std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    let specs: Vec<Value> =
        files.filter(|path| path.extension().is_some_and(|e| e == "json")).map(read).collect();
    let of_kind = specs.iter().filter(|spec| spec["kind"] == kind);
    let mut found = of_kind.flat_map(|s| s["devices"].as_array().unwrap()).filter(|d| d["name"] == name);
    let device = found.next()?;
    assert!(found.next().is_none(), "{name} is there twice: a runtime takes neither");
    let nodes = device["containerEdits"]["deviceNodes"].as_array().unwrap().iter();
    Some(nodes.map(|node| node["path"].as_str().unwrap().to_owned()).collect())
}

fn read(path: impl AsRef<Path>) -> Value {
    let spec: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let root = keys(&spec, &["cdiVersion", "kind", "devices"], &["containerEdits"]);
    let version: Vec<u32> = text(root, "cdiVersion").split('.').map(|n| n.parse().unwrap()).collect();
    assert!(version.len() == 3 && version >= vec![0, 3, 0], "{version:?}");
    let (vendor, class) = text(root, "kind").split_once('/').unwrap();
    for word in [vendor, class] {
        assert!(word.starts_with(|c: char| c.is_ascii_alphabetic()) && is_word(word, "_-."), "{word}");
    }
    let devices = root["devices"].as_array().unwrap();
    assert!(!devices.is_empty());
    for device in devices {
        let device = keys(device, &["name", "containerEdits"], &[]);
        let name = text(device, "name");
        // A device's name may begin with a digit from 0.5.0 on.
        let first = if version >= vec![0, 5, 0] { char::is_alphanumeric } else { char::is_alphabetic };
        assert!(name.starts_with(first) && is_word(name, "_-.:"), "{name}");
        let edits = keys(&device["containerEdits"], &[], &["env", "deviceNodes", "mounts", "hooks"]);
        assert!(!edits.is_empty(), "{name} does nothing");
        for node in edits["deviceNodes"].as_array().unwrap() {
            let node = keys(node, &["path"], &["hostPath", "type", "major", "minor", "permissions"]);
            assert!(text(node, "path").starts_with('/') && "rwm".contains(text(node, "permissions")));
        }
    }
    spec
}

/// An object with all of these keys, and else only some of those.
fn keys<'a>(value: &'a Value, required: &[&str], optional: &[&str]) -> &'a Map<String, Value> {
    let map = value.as_object().unwrap();
    assert!(required.iter().all(|key| map.contains_key(*key)), "{required:?} in {value}");
    assert!(map.keys().all(|key| required.contains(&&**key) || optional.contains(&&**key)), "{value}");
    map
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map[key].as_str().unwrap()
}

/// Letters and digits, and between them these.
fn is_word(text: &str, between: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(plain) && text.ends_with(plain) && text.chars().all(|c| plain(c) || between.contains(c))
}
