//! A switch that takes bridges over: rocker, with two ports on one PCI function, wired to each other.

use crate::lab::*;
use offramp_kernel::netlink::Socket;
use offramp_kernel::switchdev::fdb;
use std::collections::BTreeSet;

/// Gone when dropped.
struct Bridge;

impl Bridge {
    /// Of sw1p2; what sw1p1 sends comes in there.
    fn new() -> Self {
        let bridge = Self;
        sh("ip link add br8 type bridge; ip link set sw1p2 master br8; ip addr add 192.0.2.1/24 dev sw1p1");
        sh("for link in br8 sw1p1 sw1p2; do ip link set $link up; done");
        bridge
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        sh("ip link del br8 || :; ip addr flush dev sw1p1; ip link set sw1p1 down; ip link set sw1p2 down");
    }
}

/// MAC, VLAN, and whether the hardware has it.
type Entries = BTreeSet<(String, Option<u64>, bool)>;

fn read() -> Entries {
    let entries = fdb(&mut Socket::open().unwrap(), port("sw1p2").ifindex).unwrap();
    entries.into_iter().map(|e| (e.mac.to_string(), e.vlan.map(u64::from), e.offloaded)).collect()
}

/// The same by iproute2.
fn told() -> Entries {
    let told = json("bridge -j fdb show brport sw1p2");
    let has = |flags: &serde_json::Value, flag: &str| flags.as_array().unwrap().contains(&flag.into());
    let forwarded = |e: &&serde_json::Value| e["state"] != "permanent" && !has(&e["flags"], "self");
    let entries = told.as_array().unwrap().iter().filter(forwarded);
    let mac = |e: &serde_json::Value| e["mac"].as_str().unwrap().to_owned();
    entries.map(|e| (mac(e), e["vlan"].as_u64(), has(&e["flags"], "offload"))).collect()
}

#[test]
fn forwarding_entries_that_the_hardware_has_are_told() {
    let _lab = enter();
    let _bridge = Bridge::new();
    let fixed = "02:00:00:00:00:77";
    sh(&format!("bridge fdb add {fixed} dev sw1p2 master static"));
    let learned = port("sw1p1").mac.unwrap().to_string();
    eventually("the switch to have learned", || {
        sh("ping -c 1 -W 1 -I sw1p1 192.0.2.2 || :");
        read().iter().any(|(mac, ..)| *mac == learned)
    });
    // The driver answers the bridge later.
    eventually("the switch to have all", || read().iter().all(|(.., offloaded)| *offloaded));
    let entries = read();
    assert_eq!(entries, told());
    let of = |mac: &str| entries.iter().any(|(m, _, offloaded)| m == mac && *offloaded);
    assert!(of(fixed) && of(&learned), "{entries:?}");
}

#[test]
fn two_ports_of_one_function_are_two() {
    let _lab = enter();
    let ports = ["sw1p1", "sw1p2"].map(port);
    assert_eq!(ports[0].key.device, ports[1].key.device);
    assert_ne!(ports[0].key, ports[1].key);
    assert!(ports.iter().all(|p| p.driver == "rocker" && p.switch_id == ports[0].switch_id), "{ports:?}");
    assert!(ports[0].switch_id.is_some());
    for port in &ports {
        assert_eq!(inventory().port(&port.key), Some(port));
    }
}
