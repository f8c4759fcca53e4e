//! What a daemon costs when nothing happens: measured for a while, and told for an hour.

use super::meter::{Meter, received};
use offramp_tests::{Cluster, Node, until};
use serde_json::json;
use std::time::Duration;

/// kubelet posts its Node's status so often, even if nothing changes (nodeStatusReportFrequency).
const POSTS: f64 = 12.0;
/// All is listed anew every four hours.
const LISTS: f64 = 0.25;

pub fn measure(cluster: &Cluster, node: &Node, meter: &Meter, idle: Duration, list: u64) {
    let (cpu, bytes) = (meter.cpu_ms(), received(node));
    std::thread::sleep(idle);
    let part = 3600.0 / idle.as_secs_f64();
    let (cpu, watches) = ((meter.cpu_ms() - cpu) * part, (received(node) - bytes) as f64 * part);
    let before = received(node);
    let posted = posted(cluster);
    // The event is longer by what names it.
    let least = posted.to_string().len() as u64;
    cluster.api.put(posted);
    until("the Node's status at the daemon", || received(node) - before >= least);
    let posts = (received(node) - before) as f64 * POSTS;
    let lists = list as f64 * LISTS;
    println!(
        "an hour of nothing: {:.2} MB received: {:.0} KB for bookmarks ({} s measured), {:.0} KB for the Node's status \
         (one of {POSTS} measured), {:.0} KB for the list of all nodes every 4 hours; {:.1} s of CPU",
        (watches + posts + lists) / 1e6,
        watches / 1e3,
        idle.as_secs(),
        posts / 1e3,
        lists / 1e3,
        cpu / 1e3
    );
}

/// This node's Node with a status of a real one's size, some 50 images above all.
fn posted(cluster: &Cluster) -> serde_json::Value {
    let mut node = cluster.api.get("nodes", None, "n1").unwrap();
    let image = |n: u32| {
        let digest = format!("{n:064x}");
        json!({"names": [format!("registry.example/team/app-{n}@sha256:{digest}")], "sizeBytes": 100_000_000 + n})
    };
    node["status"]["images"] = (0..50).map(image).collect();
    node
}
