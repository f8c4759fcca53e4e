//! A thousand nodes change within a second, again and again, while pods are added.

use super::meter::Meter;
use super::{remote, until};
use offramp_tests::{Cluster, Lab, Node};
use serde_json::json;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 10;
const PODS: u32 = 20;

pub fn measure(lab: &Lab, cluster: &Cluster, node: &Node, meter: &Meter, count: u32) {
    let quiet = add_pods(lab, node, "q");
    let cpu = meter.cpu_ms();
    let began = Instant::now();
    let (written, busy) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..=ROUNDS {
                for n in 0..count {
                    cluster.api.put(remote::object(n, 1 + round % 2));
                }
                let due = Duration::from_secs(u64::from(round));
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
            began.elapsed()
        });
        let busy = add_pods(lab, node, "f");
        (writer.join().unwrap(), busy)
    });
    let last = remote::endpoint(0, 1 + ROUNDS % 2);
    let moved = format!("dst {}.", last.split('.').take(2).collect::<Vec<_>>().join("."));
    let is_moved = |line: &&str| line.contains(&moved);
    let there = || node.run("bridge fdb show dev offramp-vxlan").lines().filter(is_moved).count();
    let end = Instant::now();
    until(|| there() >= count as usize);
    println!(
        "{count} nodes change {ROUNDS} times in {:.1} s: all in the kernel {:.2} s after the last; {:.0} ms of CPU; {}",
        written.as_secs_f64(),
        end.elapsed().as_secs_f64(),
        meter.cpu_ms() - cpu,
        meter.memory()
    );
    println!("  what waits is one order for the newest state, whatever came between");
    println!("  ADD of a pod: median {:.1} ms before it, {:.1} ms during it", ms(quiet), ms(busy));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The median of some ADDs; the pods go again.
fn add_pods(lab: &Lab, node: &Node, prefix: &str) -> Duration {
    let conf = node.conf(json!({}));
    let mut times: Vec<Duration> = (0..PODS)
        .map(|n| {
            let pod = lab.pod(&format!("{prefix}{n}"));
            let began = Instant::now();
            node.add(&pod, &conf).ok();
            let took = began.elapsed();
            node.del(&pod, &conf).ok();
            took
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
