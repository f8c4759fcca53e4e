//! Node mode: the plugin is killed at every step, and the daemon at every message, step, and part of the cleaning. However
//! it is finished then, the VFs are free and as they were.

use crate::fault::{Fault, VFS, eth0, eth0_and_net1, is_ours, net1, network, wired};
use crate::sriov_node::of_pod;
use offramp_tests::{Daemon, Pod, until};
use serde_json::{Value, json};

type Way = fn(&mut Fault<'_>, Pod);

const BY_DEL: [(&str, Way); 2] = [
    ("DEL three times", |f, pod| (0..3).for_each(|_| f.del(&pod))),
    ("DEL without the daemon, then its start", |f, pod| {
        f.stop();
        (0..2).for_each(|_| f.del(&pod));
        f.start();
    }),
];

const BY_DAEMON: (&str, Way) = ("the daemon's restart, and the sandbox's end if it was ready", |f, pod| {
    let record = std::fs::read_to_string(f.w.m.node.record(&pod)).unwrap_or_default();
    let _pod = if record.contains(r#""state":"ready""#) { f.replaced(pod) } else { pod };
    f.stop();
    f.start();
});

const WAYS: [(&str, Way); 3] = [BY_DEL[0], BY_DAEMON, BY_DEL[1]];

/// The points that a call passes which nobody kills; the pod is detached then.
fn points_of_plugin(fault: &mut Fault<'_>, verb: &str, conf: &Value, with_daemon: bool) -> Vec<String> {
    let (w, pod) = (fault.w, fault.w.m.lab.pod("pod"));
    let trace = w.m.node.dir().join("plugin-trace");
    let traced = |verb: &str| {
        let call = w.m.node.call_for(verb, &pod).config(conf).args(&of_pod("default"));
        call.env("OFFRAMP_CRASH_TRACE", trace.to_str().unwrap()).run().ok();
    };
    if verb == "DEL" {
        fault.add_as(&pod, conf).ok();
    }
    if !with_daemon {
        fault.stop();
    }
    traced(verb);
    fault.start();
    fault.del(&pod);
    fault.assert_clean("no kill");
    let passed = std::fs::read_to_string(&trace).expect("built with the feature crash-points");
    std::fs::remove_file(&trace).unwrap();
    passed.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

/// At each point from the one named `from` on. Of the ways each has its turn.
fn plugin_at_every_point(verb: &str, conf: &Value, with_daemon: bool, from: &str) {
    plugin_and_ways(verb, conf, with_daemon, from, &WAYS);
}

fn plugin_and_ways(verb: &str, conf: &Value, with_daemon: bool, from: &str, ways: &[(&str, Way)]) {
    let w = wired();
    let mut fault = Fault::new(&w);
    let conf = fault.conf(conf);
    let points = points_of_plugin(&mut fault, verb, &conf, with_daemon);
    let first = points.iter().position(|p| p.starts_with(from)).unwrap_or_else(|| panic!("{points:?}"));
    let points = &points[first..];
    let ours = points.iter().enumerate().filter(|(n, _)| points.len() < 3 || is_ours(*n));
    let mut turn = 0;
    for (_, point) in ours {
        let pod = w.m.lab.pod("pod");
        if verb == "DEL" {
            fault.add_as(&pod, &conf).ok();
        }
        if !with_daemon {
            fault.stop();
        }
        let (answer, last) = w.m.killed(verb, &pod, &conf, point);
        let (way, clean) = ways[turn % ways.len()];
        println!("{verb} killed at {last:?}, {:?}; then {way}", answer.code);
        // How many messages it takes to read something may differ by a few.
        assert!(answer.code.is_none() || point.starts_with("netlink"), "{point}: {answer:?}");
        clean(&mut fault, pod);
        fault.start();
        fault.assert_clean(&format!("{verb} killed at {point}, then {way}"));
        turn += 1;
    }
    println!("{turn} points of {points:?}");
}

#[test]
fn add_of_eth0() {
    plugin_at_every_point("ADD", &eth0(), true, "node.planned");
}

/// On the bridge before its VF is touched it is a pod as any other.
#[test]
fn add_of_another_interface() {
    plugin_at_every_point("ADD", &net1(), true, "configure-vf");
}

/// The VF is in the pod by then, and the network's `ipam` is asked.
#[test]
fn add_of_a_network_with_its_own_addresses() {
    plugin_at_every_point("ADD", &network("telco"), true, "network.picked");
}

/// Only the plugin can tell the one that gave them.
#[test]
fn add_of_a_network_whose_plugin_gives_addresses() {
    plugin_and_ways("ADD", &network("host-local"), true, "network.begun", &BY_DEL);
}

/// The daemon does it, and dies in tests of its own.
#[test]
fn del() {
    plugin_at_every_point("DEL", &eth0_and_net1(), true, "node.released");
}

#[test]
fn del_without_the_daemon() {
    plugin_at_every_point("DEL", &eth0_and_net1(), false, "detach.marked");
}

/// The points that the daemon passes during ADD, DEL and the cleaning; of its many messages to the kernel, most of which
/// ask for something, each ninth.
fn points_of_daemon(fault: &mut Fault<'_>, conf: &Value) -> Vec<String> {
    fault.stop();
    let (w, pod) = (fault.w, fault.w.m.lab.pod("pod"));
    let trace = w.m.node.dir().join("daemon-trace");
    let daemon = w.start_in("OFFRAMP_CRASH_TRACE", trace.to_str().unwrap());
    let passed = || std::fs::read_to_string(&trace).unwrap_or_default();
    let at_start = passed().lines().count();
    w.m.node.add(&pod, conf).ok();
    fault.del(&pod);
    fault.assert_clean("no kill");
    daemon.kill();
    let passed = passed();
    let points = passed.lines().skip(at_start).map(|line| line.split(' ').nth(1).unwrap());
    let number = |point: &str| -> usize { point.split(':').nth(1).unwrap().parse().unwrap() };
    let is_message = |point: &str| point.starts_with("netlink.") || point.starts_with("nft.");
    points.filter(|p| !is_message(p) || number(p) % 9 == 0).map(str::to_owned).collect()
}

fn daemon_at_every_point(conf: &Value) {
    let w = wired();
    let mut fault = Fault::new(&w);
    let conf = fault.conf(conf);
    let points = points_of_daemon(&mut fault, &conf);
    assert!(points.iter().any(|p| p.starts_with("clean.verified")), "{points:?}");
    let (mut tried, mut died) = (0, 0);
    for (_, point) in points.iter().enumerate().filter(|(n, _)| is_ours(*n)) {
        tried += 1;
        let daemon = w.start_in("OFFRAMP_CRASH_AT", point);
        println!("offrampd is to be killed at {point}");
        died += usize::from(attached_and_detached(&mut fault, &conf, daemon, point));
        fault.assert_clean(&format!("offrampd killed at {point}"));
        fault.stop();
    }
    println!("the daemon died at {died} of {tried} points of {points:?}");
    assert!(died * 4 > tried * 3, "{died} of {tried}");
}

/// ADD and DEL, while a daemon dies and another one takes over; whether it died.
fn attached_and_detached<'a>(
    fault: &mut Fault<'a>,
    conf: &Value,
    mut daemon: Daemon<'a>,
    point: &str,
) -> bool {
    let (w, pod) = (fault.w, fault.w.m.lab.pod("pod"));
    let calls = || {
        let result = w.m.node.add(&pod, conf).ok();
        w.m.node.check(&pod, conf, &result).ok();
        (0..2).for_each(|_| drop(w.m.node.del(&pod, &w.m.node.conf(json!({}))).ok()));
    };
    let died = std::thread::scope(|scope| {
        let calls = scope.spawn(calls);
        until("the calls or the daemon to end", || calls.is_finished() || daemon.has_ended());
        let died = daemon.has_ended();
        if died {
            fault.start();
        }
        calls.join().unwrap_or_else(|_| panic!("offrampd was killed at {point}"));
        died
    });
    // It may die as it cleans.
    let free = || (0..VFS).all(|vf| w.m.claim(vf).is_none());
    until("the VFs to be free, or the daemon to end", || died || free() || daemon.has_ended());
    let died = died || daemon.has_ended();
    daemon.kill();
    fault.start();
    died
}

#[test]
fn the_daemon() {
    daemon_at_every_point(&eth0_and_net1());
}
