//! What must hold whenever nobody is at work.

use super::{Known, Slot, World};
use crate::fault::VFS;
use crate::lab::{pci, states};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Enough for what a hung call, a killed cleaner and its successor's pauses take.
const BOUND: Duration = Duration::from_secs(60);

/// Panics with everything that does not hold. The daemon runs, so that what died is taken back.
pub fn check<'a>(world: &World<'_>, slots: impl Iterator<Item = &'a Slot>, when: &str) {
    let slots: Vec<&Slot> = slots.collect();
    let records = quiet(world, &slots, when);
    let mut faults = given_twice(&records);
    let now = states(VFS);
    for (index, now) in now.iter().enumerate() {
        let before = world.fault.before(index);
        match world.fault.w.m.claim(index) {
            Some(claim) => faults.extend(held(&claim, &records, &slots, index)),
            None if now != before => faults.push(format!("VF {index} is free and {now}, was {before}")),
            None => {}
        }
    }
    for slot in slots {
        match (&slot.known, records.get(&slot.id())) {
            (Known::Attached(_), None) => faults.push(format!("{} is attached and has no record", slot.id())),
            (Known::Detached, Some(_)) => faults.push(format!("{} is detached and has a record", slot.id())),
            (_, Some(record)) => faults.extend(without_claim(world, &slot.id(), record)),
            (_, None) => {}
        }
    }
    assert!(faults.is_empty(), "{when}:\n{}", faults.join("\n"));
}

/// The records, once the daemon has nothing more to take back, and nothing to clean.
fn quiet(world: &World<'_>, slots: &[&Slot], when: &str) -> BTreeMap<String, Value> {
    let deadline = Instant::now() + BOUND;
    loop {
        let records = records(world);
        let lives = |id: &String, record: &Value| {
            let slot = slots.iter().find(|s| s.id() == *id);
            record["state"] == "ready"
                && slot.is_some_and(|s| record["netns"]["inode"].as_u64() == Some(s.pod.netns.inode()))
        };
        let mut left: Vec<String> = records
            .iter()
            .filter(|(id, r)| !lives(id, r))
            .map(|(id, r)| format!("{id}: {}", r["state"]))
            .collect();
        let claims = (0..VFS).filter_map(|vf| world.fault.w.m.claim(vf));
        left.extend(claims.filter(|c| c["state"]["is"] != "lent").map(|c| c.to_string()));
        left.extend(torn(world).filter(|id| !records.contains_key(id)).map(|id| format!("{id}: torn")));
        if left.is_empty() {
            return records;
        }
        assert!(Instant::now() < deadline, "{when}: waited {BOUND:?} in vain for {left:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn records(world: &World<'_>) -> BTreeMap<String, Value> {
    let node = &world.fault.w.m.node;
    let read = |name: &String| {
        let text = std::fs::read_to_string(node.state().join("attachments").join(name)).ok()?;
        Some((name.strip_suffix(".json")?.to_owned(), serde_json::from_str(&text).ok()?))
    };
    node.records().iter().filter_map(read).collect()
}

/// Whose record was being written by somebody who was killed. The next to write or remove the record takes that along; where
/// there is no record, nobody does but the daemon.
fn torn(world: &World<'_>) -> impl Iterator<Item = String> {
    let id = |name: String| Some(name.strip_prefix('.')?.rsplit_once(".json.")?.0.to_owned());
    world.fault.w.m.node.records().into_iter().filter_map(id)
}

/// The moves into pods, by the VF's address: the steps of a plan.
fn moves(record: &Value) -> impl Iterator<Item = &Value> {
    record["plan"]["steps"].as_array().unwrap().iter().filter(|step| step["step"] == "move-vf")
}

fn given_twice(records: &BTreeMap<String, Value>) -> Vec<String> {
    let mut holders: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (id, record) in records {
        let ips = record["plan"]["result"]["ips"].as_array().into_iter().flatten();
        let ips = ips.map(|ip| ip["address"].to_string());
        let vfs = moves(record).map(|step| step["vf"]["pci"].to_string());
        ips.chain(vfs).for_each(|what| holders.entry(what).or_default().push(id));
    }
    holders.retain(|_, ids| ids.len() > 1);
    holders.into_iter().map(|(what, ids)| format!("{what} is held by {ids:?}")).collect()
}

/// A claim's holder has a record that names the VF, and the VF's netdev is in its pod, with its name and MAC.
fn held(claim: &Value, records: &BTreeMap<String, Value>, slots: &[&Slot], index: usize) -> Option<String> {
    let id = format!("{}@{}", claim["holder"]["container"].as_str()?, claim["holder"]["ifname"].as_str()?);
    let Some(record) = records.get(&id) else {
        return Some(format!("VF {index} is lent to {id}, which has no record"));
    };
    let Some(step) = moves(record).find(|step| step["vf"]["pci"] == pci(index).as_str()) else {
        return Some(format!("VF {index} is lent to {id}, whose record does not name it"));
    };
    let pod = &slots.iter().find(|s| s.id() == id)?.pod;
    let inside = pod.ip_json("link show");
    let netdev = inside.as_array()?.iter().find(|l| l["parentdev"] == pci(index).as_str());
    match netdev {
        Some(l) if l["ifname"] == step["name"] && l["address"] == step["mac"] => None,
        other => Some(format!("VF {index} is lent to {id}, whose pod has {other:?} and not {step}")),
    }
}

/// Each VF of a record is its own.
fn without_claim(world: &World<'_>, id: &str, record: &Value) -> Vec<String> {
    let is_claimed = |step: &&Value| {
        let index = (0..VFS).find(|vf| step["vf"]["pci"] == pci(*vf).as_str());
        let claim = index.and_then(|index| world.fault.w.m.claim(index)).unwrap_or_default();
        let holder = &claim["holder"];
        holder["container"]
            .as_str()
            .zip(holder["ifname"].as_str())
            .is_some_and(|(c, i)| id == format!("{c}@{i}"))
    };
    moves(record)
        .filter(|step| !is_claimed(step))
        .map(|step| format!("{id} has {step} without a claim"))
        .collect()
}
