//! The uplink is a link on the PF.

use crate::pair::{Pair, pool};
use crate::pods::ips;
use offramp_tests::traffic::{ping, ping_fails};
use offramp_tests::{Netns, until};
use serde_json::{Value, json};
use std::process::Command;

/// Links for a test; they go with it.
struct Links(&'static [&'static str]);

impl Links {
    fn new(made: &'static [&'static str], undo: &'static [&'static str]) -> Self {
        made.iter().for_each(|line| ip(line));
        Self(undo)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for line in self.0 {
            let _ = Command::new("ip").args(line.split(' ')).status();
        }
    }
}

fn ip(line: &str) {
    assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "ip {line}");
}

#[test]
fn a_vlan_on_the_pf() {
    let _links = Links::new(
        &["link set nic0 up", "link add link nic0 name nic0.7 type vlan id 7"],
        &["link del nic0.7"],
    );
    let pair = Pair::new("vlan", "nic0.7");
    let _daemon = pair.daemon(json!({}));
    let pods = pair.pods(83);
    assert!(pair.node.ip("link show nic0").contains("vlan 7"));
    assert!(pair.node.ip("route show proto 214").contains("dev nic0.7"));
    pods.all_reach_all();
    pods.largest_packets_pass(1500);
    pods.end();
    assert!(!pair.node.ip("link show nic0").contains("vlan 7"));
}

#[test]
fn a_bridge_of_the_operator() {
    let mac = |node: u8| format!("02:00:00:00:99:0{node}");
    let me = if std::env::var("NODE").unwrap() == "a" { 1 } else { 2 };
    ip(&format!("link add br0 address {} type bridge", mac(me)));
    let _links = Links::new(
        &["link set nic0 up", "link set nic0 master br0", "link set br0 up"],
        &["link set nic0 nomaster", "link del br0"],
    );
    let pair = Pair::new("bridge", "br0");
    // The emulated igb passes no multicast to a bridge, though the driver asks for all: so the nodes, whatever they
    // do with VFs, cannot ask for each other by IPv6.
    let (ip6, lladdr) = (format!("2001:db8::{}", pair.other()), mac(pair.other()));
    ip(&format!("neigh replace {ip6} lladdr {lladdr} dev br0 nud permanent"));
    let refused = pair.daemon(json!({}));
    let pod = pair.lab.pod("refused");
    pair.add(&pod, "refused", "required", json!({})).failed(106, &["br0", "MAC", "syncBridges"]);
    refused.stop();

    let _daemon = pair.daemon(json!({"embeddedSwitch": {"syncBridges": ["br0"]}}));
    let pods = pair.pods(84);
    pods.all_reach_all();
    pods.end();
}

fn problems(daemon: &offramp_tests::Daemon<'_>) -> String {
    daemon.ask("status")["problems"].to_string()
}

#[test]
fn a_bond_where_it_is_allowed() {
    let _links = Links::new(
        &[
            "link add bond0 type bond mode active-backup miimon 100",
            "link set nic0 down",
            "link set nic1 down",
            "link set nic0 master bond0",
            "link set nic1 master bond0",
            "link set bond0 up",
            "link set bond0 type bond active_slave nic0",
        ],
        &["link del bond0", "link set nic0 up", "link set nic1 up"],
    );
    let pair = Pair::new("bond", "bond0");
    until("both ports' link", || {
        ["nic0", "nic1"].iter().all(|nic| pair.node.link(nic).unwrap()["operstate"] == "UP")
    });
    refused_unless_allowed(&pair);

    let daemon = pair.daemon(json!({"pools": [pool(json!({"allowBond": true}))]}));
    let pods = pair.pods(85);
    pods.all_reach_all();
    let told = daemon.ask("explain default/vf").to_string();
    assert!(told.contains("bond0 fails over without the VFs") && told.contains("nic0"), "{told}");
    assert_eq!(problems(&daemon), "[]");

    pair.meet("before the failover");
    ip("link set bond0 type bond active_slave nic1");
    pair.meet("after the failover");
    until("the pod that is cut off to be named", || {
        let told = problems(&daemon);
        told.contains("pod default/vf is cut off") && told.contains("bond0's active port is nic1")
    });
    assert!(ping(&pair.node, &pods.there.host[0]));
    assert!(ping(&pods.bridge, &pods.there.bridge[0]));
    assert!(ping_fails(&pods.bridge, &pods.there.vf[0]));

    // New pods are on the new active port.
    let new = pair.lab.pod("new");
    let result = pair.add(&new, "new", "required", json!({})).ok();
    assert_eq!(port_of(&result), "nic1");
    let there: [String; 2] = serde_json::from_value(pair.swap("new pods", &json!(ips(&result)))).unwrap();
    reach(&new, &there);
    reach(&new, &pods.here.bridge);
    assert!(!problems(&daemon).contains("default/new"));

    pair.meet("before the way back");
    ip("link set bond0 type bond active_slave nic0");
    pair.meet("after the way back");
    until("the other pod to be named", || {
        let told = problems(&daemon);
        told.contains("pod default/new is cut off") && !told.contains("default/vf")
    });
    reach(&pods.vf, &pods.there.vf);
    pair.meet("before the end");
    pair.del(&new);
    pods.end();
}

fn refused_unless_allowed(pair: &Pair) {
    let daemon = pair.daemon(json!({}));
    let pod = pair.lab.pod("refused");
    pair.add(&pod, "refused", "required", json!({})).failed(107, &["bond0", "allowBond"]);
    let fallback = pair.add(&pod, "fallback", "preferred", json!({})).ok();
    assert_eq!(ips(&fallback).len(), 2);
    let told = daemon.ask("explain default/fallback").to_string();
    assert!(told.contains("veth") && told.contains("allowBond"), "{told}");
    pair.del(&pod);
    daemon.stop();
}

fn reach(from: &Netns, to: &[String]) {
    for ip in to {
        assert!(ping(from, ip), "no answer from {ip}");
    }
}

/// The PF that a result's VF is of.
fn port_of(result: &Value) -> String {
    let pci = result["interfaces"][0]["pciID"].as_str().unwrap();
    let entries = std::fs::read_dir(format!("/sys/bus/pci/devices/{pci}/physfn/net")).unwrap();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).next().unwrap()
}
