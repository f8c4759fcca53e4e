//! Taking back: all of it, as often as it is asked for, and nothing that is somebody else's.

use crate::lab::{self, BRIDGE, Pod, apply, ip, json, plan_of, run, spec, undo};
use offramp_core::spec::{Bandwidth, Rate, Spec};
use offramp_core::step::{Neighbours, Step};
use serde_json::Value;

/// Everything of a namespace that a plan could have touched, but for the bridge, which is shared and stays.
fn snapshot(ns: &str) -> Vec<(String, Vec<Value>)> {
    let commands = [
        "ip -j -d link show",
        "ip -j addr show",
        "ip -j -4 route show table all",
        "ip -j -6 route show table all",
        "ip -j neigh show",
        "ip -j rule show",
        "tc -j qdisc show",
    ];
    let of_bridge = |v: &Value| v["ifname"] == BRIDGE || (v["dev"] == BRIDGE && v["lladdr"].is_null());
    let look = |command: &str| {
        let all = json(&command.replacen(' ', &format!(" {ns} "), 1));
        let kept = all.as_array().unwrap().iter().filter(|v| !of_bridge(v)).cloned().collect();
        (command.to_owned(), kept)
    };
    commands.map(look).into()
}

fn snapshots(pod: &Pod) -> Vec<(String, Vec<Value>)> {
    [snapshot(""), snapshot(&format!("-n {}", pod.name))].concat()
}

fn everything() -> Spec {
    let rate = Some(Rate::new(1_000_000_000, 0));
    Spec { bandwidth: Bandwidth { ingress: rate, egress: rate }, ..spec(2) }
}

#[test]
fn every_prefix_of_a_plan_can_be_taken_back() {
    lab::enter();
    let (pod, wanted) = (Pod::new(), everything());
    let plan = plan_of(2, &wanted);
    // The shared bridge is there already.
    apply(&mut pod.executor(), &plan.steps[..1]).unwrap();
    let before = snapshots(&pod);
    for done in 1..=plan.steps.len() {
        let mut executor = pod.executor();
        apply(&mut executor, &plan.steps[..done]).unwrap();
        // As DEL does: it does not know how far ADD came.
        undo(&mut executor, &plan.steps);
        assert_eq!(snapshots(&pod), before, "after {done} steps");
        let fdb = run("bridge fdb show");
        let macs = [wanted.mac, wanted.host_mac].map(|m| m.to_string());
        assert!(!macs.iter().any(|m| fdb.contains(m)), "after {done} steps: {fdb}");
        undo(&mut executor, &plan.steps);
        assert_eq!(snapshots(&pod), before, "after {done} steps, again");
    }
}

#[test]
fn taking_back_needs_no_pod() {
    lab::enter();
    let (pod, wanted) = (Pod::new(), everything());
    let plan = plan_of(2, &wanted);
    apply(&mut pod.executor(), &plan.steps[..1]).unwrap();
    let before = snapshot("");
    apply(&mut pod.executor(), &plan.steps).unwrap();
    drop(pod);
    undo(&mut offramp_kernel::Executor::new(None).unwrap(), &plan.steps);
    assert_eq!(snapshot(""), before);
}

#[test]
fn a_link_of_the_same_name_but_another_mac_is_left() {
    lab::enter();
    let (pod, wanted) = (Pod::new(), everything());
    let plan = plan_of(2, &wanted);
    apply(&mut pod.executor(), &plan.steps[..1]).unwrap();
    let ifb = offramp_core::plan::ifb_name(&lab::id(2));
    run(&format!("ip link add {} type veth peer name other", wanted.host_ifname));
    run(&format!("ip link add {ifb} type ifb"));
    let before = snapshots(&pod);
    undo(&mut pod.executor(), &plan.steps);
    assert_eq!(snapshots(&pod), before);
}

#[test]
fn a_newer_holders_neighbour_entry_is_left() {
    lab::enter();
    let (old, new) = (Pod::new(), Pod::new());
    let first = spec(2);
    let heir = Spec { addresses: first.addresses.clone(), ..spec(3) };
    let plan = plan_of(2, &first);
    apply(&mut old.executor(), &plan.steps).unwrap();
    apply(&mut new.executor(), &plan_of(3, &heir).steps).unwrap();
    undo(&mut old.executor(), &plan.steps);
    for pod_ip in ["10.88.0.2", "fd88::2"] {
        let entry = &ip(&format!("neigh show to {pod_ip} dev {BRIDGE}"))[0];
        assert_eq!(entry["lladdr"], heir.mac.to_string(), "{pod_ip}");
    }
}

#[test]
fn neighbours_of_a_bridge_that_went_are_forgotten() {
    lab::enter();
    let wanted = spec(2);
    let step = Step::Neighbours(Neighbours {
        bridge: BRIDGE.parse().unwrap(),
        ips: wanted.addresses.iter().map(|a| a.ip.ip()).collect(),
        mac: wanted.mac,
    });
    undo(&mut offramp_kernel::Executor::new(None).unwrap(), &[step]);
}
