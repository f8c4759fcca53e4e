//! What must hold whenever nobody is at work.

use super::{Known, Slot, World};
use offramp_tests::{Netns, PATIENCE};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// Panics with everything that does not hold. The daemon runs, so that what died is taken back.
pub fn check<'a>(world: &World<'_>, slots: impl Iterator<Item = &'a Slot>, when: &str) {
    let records = quiet(world);
    let mut faults = Vec::new();
    faults.extend(given_twice(&records));
    faults.extend(links_without_record(world.node, &records));
    faults.extend(address_files(world, &records));
    for slot in slots {
        let record = records.get(&slot.id());
        match (&slot.known, record) {
            (Known::Attached(_), None) => faults.push(format!("{} is attached and has no record", slot.id())),
            (Known::Detached, Some(_)) => faults.push(format!("{} is detached and has a record", slot.id())),
            _ => {}
        }
        if let Some(record) = record {
            let missing = kernel_state(world.node, &slot.pod, record);
            faults.extend(missing.into_iter().map(|m| format!("{}: {m}", slot.id())));
        }
    }
    assert!(faults.is_empty(), "{when}:\n{}", faults.join("\n"));
}

/// The records, once the daemon has nothing more to take back.
fn quiet(world: &World<'_>) -> BTreeMap<String, Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let records = records(world);
        let mut left = torn(world, &records);
        left.extend(records.iter().filter(|(_, r)| r["state"] != "ready" || !lives(r)).map(|(id, r)| {
            let (state, netns) = (&r["state"], &r["netns"]);
            format!("{id}: {state}, its namespace {netns} {}", if lives(r) { "lives" } else { "is gone" })
        }));
        if left.is_empty() {
            return records;
        }
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain for these to be taken back: {left:#?}\nlinks: {}",
            world.node.ip("-br link show")
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What writers left that died before their record was in place. Beside a record it is nothing: a DEL that dies at its
/// first write leaves a live pod whole, and the next write or removal takes the file along.
fn torn(world: &World<'_>, records: &BTreeMap<String, Value>) -> Vec<String> {
    let of = |name: &String| Some(name.strip_prefix('.')?.rsplit_once(".json.")?.0.to_owned());
    let names = world.node.records().into_iter();
    names.filter(|name| of(name).is_some_and(|id| !records.contains_key(&id))).collect()
}

fn records(world: &World<'_>) -> BTreeMap<String, Value> {
    let dir = world.node.state().join("attachments");
    let names = world.node.records();
    names
        .into_iter()
        .filter_map(|name| {
            let id = name.strip_suffix(".json")?;
            let text = std::fs::read_to_string(dir.join(&name)).ok()?; // reclaimed by now
            Some((id.to_owned(), serde_json::from_str(&text).unwrap()))
        })
        .collect()
}

fn lives(record: &Value) -> bool {
    let path = record["netns"]["path"].as_str().unwrap_or_default();
    std::fs::metadata(path).is_ok_and(|m| Some(m.ino()) == record["netns"]["inode"].as_u64())
}

fn ips(record: &Value) -> Vec<String> {
    let all = record["plan"]["result"]["ips"].as_array().into_iter().flatten();
    all.map(|ip| ip["address"].as_str().unwrap().to_owned()).collect()
}

fn given_twice(records: &BTreeMap<String, Value>) -> Vec<String> {
    let mut holders: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (id, record) in records {
        ips(record).into_iter().for_each(|ip| holders.entry(ip).or_default().push(id));
    }
    holders.retain(|_, ids| ids.len() > 1);
    holders.into_iter().map(|(ip, ids)| format!("{ip} is held by {ids:?}")).collect()
}

/// Host ends and ifbs have names of their own: `of` or `ob` and 13 characters.
fn links_without_record(node: &Netns, records: &BTreeMap<String, Value>) -> Vec<String> {
    let known: BTreeSet<&str> = records
        .values()
        .flat_map(|r| r["plan"]["steps"].as_array().unwrap())
        .flat_map(|s| [&s["host"], &s["ifb"]])
        .filter_map(Value::as_str)
        .collect();
    let links = node.ip_json("link show");
    let names = links.as_array().unwrap().iter().filter_map(|l| l["ifname"].as_str());
    let ours = names.filter(|n| n.len() == 15 && (n.starts_with("of") || n.starts_with("ob")));
    ours.filter(|n| !known.contains(n)).map(|n| format!("link {n} has no record")).collect()
}

/// One file for each address of a record in inline mode, and no other.
fn address_files(world: &World<'_>, records: &BTreeMap<String, Value>) -> Vec<String> {
    let inline = records.iter().filter(|(_, r)| r["mode"] == "inline");
    let wanted: BTreeSet<(String, String)> = inline
        .flat_map(|(id, r)| {
            ips(r).into_iter().map(move |ip| (ip.split('/').next().unwrap().to_owned(), id.clone()))
        })
        .collect();
    let files = std::fs::read_dir(world.node.state().join("ipam/inline")).unwrap().map(|e| e.unwrap());
    let named =
        files.map(|f| (f.file_name().into_string().unwrap(), std::fs::read_to_string(f.path()).unwrap()));
    let is: BTreeSet<(String, String)> =
        named.filter(|(name, _)| name.contains(['.', ':']) && !name.starts_with("last")).collect();
    is.symmetric_difference(&wanted)
        .map(|(ip, id)| format!("address {ip} of {id}: in its record or in its file, not in both"))
        .collect()
}

/// The host end is up, in its bridge or with a route, and the pod's end has its MAC and addresses.
fn kernel_state(node: &Netns, pod: &Netns, record: &Value) -> Vec<String> {
    let interfaces = record["plan"]["result"]["interfaces"].as_array().unwrap();
    let mut missing = Vec::new();
    let (host, inner, wanted) = match &interfaces[..] {
        [bridge, host, inner] => (host, inner, vec![("address", &host["mac"]), ("master", &bridge["name"])]),
        [host, inner] => {
            missing.extend(unrouted(node, host["name"].as_str().unwrap(), record));
            (host, inner, Vec::new())
        }
        other => panic!("{other:?}"),
    };
    match node.link(host["name"].as_str().unwrap()) {
        None => missing.push("its host end is gone".to_owned()),
        Some(link) => {
            for (key, want) in wanted.into_iter().chain([("operstate", &"UP".into())]) {
                if link[key] != *want {
                    missing.push(format!("its host end's {key} is {}, not {want}", link[key]));
                }
            }
        }
    }
    match pod.link("eth0") {
        None => missing.push("its pod's end is gone".to_owned()),
        Some(link) if inner["mac"].is_string() && link["address"] != inner["mac"] => {
            missing.push("its pod's end has another MAC".to_owned())
        }
        Some(_) => {
            let has: BTreeSet<String> = pod.addresses("eth0").into_iter().collect();
            let wants: BTreeSet<String> = ips(record).into_iter().collect();
            if has != wants {
                missing.push(format!("its pod has {has:?}, not {wants:?}"));
            }
        }
    }
    missing
}

/// The pod's addresses to which the node has no route by its link.
fn unrouted(node: &Netns, link: &str, record: &Value) -> Vec<String> {
    let routes = ["-4", "-6"].map(|of| node.ip_json(&format!("{of} route show dev {link} proto 214")));
    let there = |ip: &str| routes.iter().flat_map(|r| r.as_array().unwrap()).any(|route| route["dst"] == ip);
    let ips = ips(record).into_iter().map(|address| address.split('/').next().unwrap().to_owned());
    ips.filter(|ip| !there(ip)).map(|ip| format!("no route to {ip}")).collect()
}
