//! `hack/bench scale`: a daemon in a cluster of thousands of nodes, on a real kernel, against the API server double, which
//! speaks TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a panic is its report")]

mod flood;
mod floor;
mod goals;
mod meter;
mod remote;
mod steady;

use goals::Goals;
use meter::{Meter, received};
use offramp_tests::{Cluster, Lab, Node, Pod, wait_for};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(300);
/// Of which the mean is told.
const CHANGES: u32 = 10;

/// Numbers in the order of the command line, or their defaults.
fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u32>().expect("a number"));
    let (nodes, pods) = (arguments.next().unwrap_or(5000), arguments.next().unwrap_or(250));
    let idle = Duration::from_secs(u64::from(arguments.next().unwrap_or(120)));
    let lab = Lab::new();
    let cluster = Cluster::secure(&lab);
    let node = cluster.node(&lab, 1);
    for n in 0..nodes {
        cluster.api.put(remote::object(n, 0));
    }
    println!("{nodes} nodes, {pods} local pods, API over TLS");
    let floor = floor::measure(&lab, nodes);
    let mut goals = Goals::default();

    let (began, before) = (Instant::now(), received(&node));
    let conf = json!({"overlay": {"mode": "vxlan"}, "log": {"level": "info"}});
    let daemon = node.daemon(cluster.conf(conf));
    let meter = Meter::of(&daemon);
    until(|| entries(&node) == nodes as usize);
    let start = began.elapsed();
    let list = received(&node) - before;
    println!(
        "start to all tunnels in the kernel: {:.2} s; kernel's own time for the same messages: {:.2} s in {} batches",
        start.as_secs_f64(),
        floor.time.as_secs_f64(),
        floor.batches
    );
    println!("  CPU: {:.0} ms; bytes received: {list}; {}", meter.cpu_ms(), meter.memory());
    goals.at_most(
        "start, beyond the kernel's time",
        start.saturating_sub(floor.time).as_secs_f64(),
        2.0,
        "s",
    );

    let attached = attach(&lab, &node, 0..pods);
    println!("{pods} pods attached: {}", meter.memory());
    change(&cluster, &node, &meter);
    flood::measure(&lab, &cluster, &node, &meter, nodes.min(1000));
    steady::measure(&cluster, &node, &meter, idle, list);
    goals.at_most("memory, the most ever resident", meter.most_mib(), 30.0, "MiB");
    println!("\n{goals}");
    drop(attached);
}

/// A node moves; then another.
fn change(cluster: &Cluster, node: &Node, meter: &Meter) {
    let mut heard = FdbMonitor::start(node);
    let (cpu, bytes) = (meter.cpu_ms(), received(node));
    let mut took = Duration::ZERO;
    for n in 0..CHANGES {
        let began = Instant::now();
        cluster.api.put(remote::object(n, 1));
        let messages = heard.wait_for(&remote::endpoint(n, 1));
        took += began.elapsed();
        assert_eq!(messages, 1, "one node's move is one message");
    }
    let each = |total: f64| total / f64::from(CHANGES);
    println!(
        "one node's change in the kernel: {:.0} ms (100 of them for what may follow), {:.1} ms of CPU, 1 netlink message, \
         {:.0} bytes received",
        each(took.as_secs_f64() * 1e3),
        each(meter.cpu_ms() - cpu),
        each((received(node) - bytes) as f64)
    );
}

/// `bridge monitor fdb`
struct FdbMonitor {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl FdbMonitor {
    fn start(node: &Node) -> Self {
        let mut command = node.command("bridge");
        let mut child = command.args(["monitor", "fdb"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        std::thread::sleep(Duration::from_millis(500)); // until it listens
        Self { child, lines }
    }

    /// Waits for an entry of the tunnel to this endpoint; the changes of the tunnel until then.
    fn wait_for(&mut self, endpoint: &str) -> usize {
        let end = format!("dst {endpoint} ");
        let mut seen = 0;
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "bridge monitor ended");
            seen += usize::from(line.contains("offramp-vxlan"));
            if line.contains(&end) {
                return seen;
            }
        }
    }
}

impl Drop for FdbMonitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The peers that have a forwarding entry and both routes.
fn entries(node: &Node) -> usize {
    let Some(_) = node.link("offramp-vxlan") else { return 0 };
    let routes = node.run("ip -6 route show proto 213").lines().count();
    node.run("bridge fdb show dev offramp-vxlan").lines().filter(|l| l.contains("dst ")).count().min(routes)
}

fn attach(lab: &Lab, node: &Node, numbers: std::ops::Range<u32>) -> Vec<Pod> {
    let conf = node.conf(json!({}));
    wait_for("a node that serves", || (node.status(&conf).code == Some(0)).then_some(()));
    let attach = |n: u32| {
        let pod = lab.pod(&format!("p{n}"));
        node.add(&pod, &conf).ok();
        pod
    };
    numbers.map(attach).collect()
}

fn until(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}");
        // Each look dumps all entries, under the lock that the daemon's messages need.
        std::thread::sleep(Duration::from_millis(100));
    }
}
