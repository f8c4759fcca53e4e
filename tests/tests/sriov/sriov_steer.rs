//! Pods to whose addresses a NIC is to dedicate queues. No NIC of the lab can: what drivers say, and what pods get then.

use crate::lab::run;
use crate::sriov_node::Wired;
use offramp_tests::{Answer, Pod};
use serde_json::{Value, json};

const NUMBER: u32 = 81;

/// Queues of the uplink, which is an igb, and of a NIC by which no pod's packets come.
fn node(away: &str) -> Wired {
    let policy = json!({"namespaces": ["*"], "maxQueues": 2});
    let pool = |name: &str, nic: &str| json!({"name": name, "queues": {"kind": "steer", "nics": [nic]}, "policy": policy});
    Wired::with_pools(json!([pool("led", "nic0#0"), pool("away", away)]))
}

fn add(w: &Wired, pod: &Pod, offload: &str, pool: &str) -> Answer {
    let (offload, pool) = (offload.to_owned(), pool.to_owned());
    let wish = json!({"offramp.dev/offload": offload, "offramp.dev/pool": pool, "offramp.dev/queues": "1"});
    w.add(pod, "default", wish)
}

fn plan(w: &Wired, pod: &Pod) -> Value {
    let record = std::fs::read(w.m.node.record(pod)).unwrap();
    serde_json::from_slice::<Value>(&record).unwrap()["plan"].clone()
}

#[test]
fn a_driver_that_leads_no_packets_to_queues_is_quoted_and_preferred_falls_back() {
    let w = node("nic1#0");
    let daemon = w.start();
    let [a, b] = ["a", "b"].map(|n| w.m.lab.pod(n));
    let before = run("ethtool -x nic0; ethtool -n nic0");
    let words = "its driver, igb, leads no packets to queues: RSS contexts: Operation not supported";
    add(&w, &a, "required", "led").failed(106, &["offload of eth0 is required", "pool led, nic0", words]);
    add(&w, &b, "preferred", "led").ok();
    let got = plan(&w, &b);
    assert_eq!(got["path"], "veth");
    assert!(got["reason"].as_str().unwrap().contains(words), "{got}");
    let status = daemon.ask("status").to_string();
    assert!(status.contains(words), "{status}");
    b.run("ping -n -c 1 -W 2 10.244.1.1");
    w.del(&b);
    assert_eq!(run("ethtool -x nic0; ethtool -n nic0"), before, "who is asked is not touched");
    assert_eq!(std::fs::read_dir(w.m.node.state().join("queues")).map_or(0, |dir| dir.count()), 0);
}

#[test]
fn queues_of_a_nic_by_which_no_packets_for_pods_come_are_refused() {
    run(&format!("echo '{NUMBER} 1 8' > /sys/bus/netdevsim/new_device"));
    let nic = run(&format!("ls /sys/bus/netdevsim/devices/netdevsim{NUMBER}/net")).trim().to_owned();
    run(&format!("ip link set {nic} up"));
    let w = node(&format!("{nic}#4"));
    let _daemon = w.start();
    let pod = w.m.lab.pod("pod");
    let words = format!("pods' packets come by the uplink nic0, and not by {nic}");
    add(&w, &pod, "required", "away").failed(106, &["pool away", &words]);
    run(&format!("echo {NUMBER} > /sys/bus/netdevsim/del_device"));
}
