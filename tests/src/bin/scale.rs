//! `hack/bench scale`: a daemon in a cluster of thousands of nodes, on a real kernel, against the API server double.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a panic is its report")]

use offramp_tests::{Cluster, Daemon, Lab, Node, Pod, wait_for};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(300);

/// Numbers in the order of the command line, or their defaults.
fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u32>().expect("a number"));
    let (nodes, pods) = (arguments.next().unwrap_or(5000), arguments.next().unwrap_or(250));
    let lab = Lab::new();
    let cluster = Cluster::new(&lab);
    let node = cluster.node(&lab, 1);
    for n in 0..nodes {
        cluster.api.put(remote(n, 0));
    }
    println!("{nodes} nodes, {pods} local pods");
    let began = Instant::now();
    let conf = json!({"overlay": {"mode": "vxlan"}, "log": {"level": "info"}});
    let daemon = node.daemon(cluster.conf(conf));
    until(|| fdb(&node) == nodes as usize);
    report("start to all tunnels in the kernel", began.elapsed(), &daemon);
    println!("  bytes received for the first lists: {}", cluster.api.sent());
    let floor = floor(&lab, &node);
    println!("  the kernel's own time for the same entries, from a file: {:.2} s", floor.as_secs_f64());
    let attached = attach(&lab, &node, pods);
    report(&format!("{pods} pods attached"), Duration::ZERO, &daemon);
    let (cpu, sent) = (ticks(&daemon), cluster.api.sent());
    let began = Instant::now();
    cluster.api.put(remote(7, 1));
    until(|| node.run("bridge fdb show dev offramp-vxlan").contains("dst 10.201."));
    report("one node's change in the kernel", began.elapsed(), &daemon);
    println!("  of CPU: {} ms; {} bytes received", 10 * (ticks(&daemon) - cpu), cluster.api.sent() - sent);
    flap(&cluster, &node, &daemon, nodes.min(1000));
    drop(attached);
}

/// A thousand nodes change at once, ten times in a second each.
fn flap(cluster: &Cluster, node: &Node, daemon: &Daemon, count: u32) {
    let (cpu, began) = (ticks(daemon), Instant::now());
    for round in 1..=10 {
        for n in 0..count {
            cluster.api.put(remote(n, 1 + round % 2));
        }
    }
    let written = began.elapsed();
    let moved = |text: &str| text.lines().filter(|line| line.contains("dst 10.201.")).count();
    until(|| moved(&node.run("bridge fdb show dev offramp-vxlan")) == count as usize);
    println!("  ({count} nodes changed ten times in {:.2} s)", written.as_secs_f64());
    report("a flap is absorbed", began.elapsed(), daemon);
    println!("  of CPU: {} ms", 10 * (ticks(daemon) - cpu));
}

/// A node as it says of itself; with what a real server adds, and another address in each version.
fn remote(n: u32, version: u32) -> Value {
    let [_, _, high, low] = n.to_be_bytes();
    let name = format!("node-{n:05}");
    json!({
        "apiVersion": "offramp.dev/v1alpha1", "kind": "OfframpNode",
        "metadata": {
            "name": name,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": format!("00000000-0000-4000-8000-{n:012}")}],
            "managedFields": [{"manager": "offrampd", "operation": "Apply", "apiVersion": "offramp.dev/v1alpha1",
                "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {
                    "f:metadata": {"f:ownerReferences": {}},
                    "f:spec": {"f:endpoints": {}, "f:mac": {}, "f:podCIDRs": {},
                        "f:offload": {"f:pools": {}}, "f:version": {}}}}],
        },
        "spec": {
            "endpoints": [format!("10.{}.{high}.{low}", 200 + version % 2)],
            "podCIDRs": [format!("10.{}.{low}.0/24", 101 + high), format!("fd45:{n:x}::/64")],
        },
        "status": {"version": "0.1.0", "offload": {"pools": [{"name": "fast", "mode": "netdev", "vfs": 8}]}},
    })
}

fn fdb(node: &Node) -> usize {
    let Some(_) = node.link("offramp-vxlan") else { return 0 };
    let routes = node.run("ip -6 route show proto 213").lines().count();
    node.run("bridge fdb show dev offramp-vxlan")
        .lines()
        .filter(|line| line.contains("dst "))
        .count()
        .min(routes)
}

/// What the kernel needs for these entries when `ip` and `bridge` hand them over in batches, in a namespace where they
/// are not yet.
fn floor(lab: &Lab, node: &Node) -> Duration {
    let fresh = lab.netns("floor");
    fresh.ip("link add up0 type bridge");
    fresh.ip("addr add 10.99.0.1/16 dev up0");
    fresh.ip("link set up0 up");
    fresh.ip("link add offramp-vxlan type vxlan id 1 local 10.99.0.1 dev up0 dstport 4789 nolearning");
    fresh.ip("link set offramp-vxlan up");
    let lines = |command: &str, form: &dyn Fn(&str) -> String| -> String {
        node.run(command).lines().filter(|l| !l.trim().is_empty()).map(|l| form(l) + "\n").collect()
    };
    let plain = |line: &str| line.replace("PERMANENT", "nud permanent").trim().to_owned();
    let dir = node.dir();
    let write = |name: &str, text: String| std::fs::write(dir.join(name), text).unwrap();
    let neighbours = |family: &str| {
        lines(&format!("ip {family} neigh show dev offramp-vxlan nud permanent"), &|l| {
            format!("neigh add {} dev offramp-vxlan", plain(l))
        })
    };
    let route = |l: &str| {
        let words: Vec<&str> = l.split_whitespace().collect();
        let via = words.iter().position(|w| *w == "via").map(|at| words[at + 1]).unwrap();
        format!("route add {} via {via} dev offramp-vxlan onlink proto 213", words[0])
    };
    write("neigh", neighbours("-4") + &neighbours("-6"));
    write(
        "fdb",
        lines("bridge fdb show dev offramp-vxlan", &|l| {
            let words: Vec<&str> = l.split_whitespace().collect();
            let dst = words.iter().position(|w| *w == "dst").map(|at| words[at + 1]).unwrap();
            format!("fdb add {} dev offramp-vxlan dst {dst} self permanent", words[0])
        }),
    );
    write("route", lines("ip -4 route show proto 213", &route));
    write("route6", lines("ip -6 route show proto 213", &route));
    let began = Instant::now();
    for (program, file) in [("ip", "neigh"), ("bridge", "fdb"), ("ip", "route"), ("ip -6", "route6")] {
        fresh.run(&format!("{program} -batch {}", dir.join(file).display()));
    }
    began.elapsed()
}

fn attach(lab: &Lab, node: &Node, count: u32) -> Vec<Pod> {
    let conf = node.conf(json!({}));
    wait_for("a node that serves", || (node.status(&conf).code == Some(0)).then_some(()));
    let attach = |n: u32| {
        let pod = lab.pod(&format!("p{n}"));
        node.add(&pod, &conf).ok();
        pod
    };
    (0..count).map(attach).collect()
}

fn until(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn report(what: &str, took: Duration, daemon: &Daemon) {
    println!(
        "{what}: {:.2} s; the daemon has {:.1} MiB resident, at most {:.1}",
        took.as_secs_f64(),
        memory(daemon, "VmRSS"),
        memory(daemon, "VmHWM")
    );
}

/// In MiB.
fn memory(daemon: &Daemon, key: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// CPU time in hundredths of a second.
fn ticks(daemon: &Daemon) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
