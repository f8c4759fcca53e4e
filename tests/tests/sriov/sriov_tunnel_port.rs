//! A NIC that keeps a table of tunnels' ports, and whose feature for it somebody has turned off: a simulated one.

use crate::lab::run;
use crate::sriov_node::Wired;
use offramp_tests::{Daemon, until};
use serde_json::{Value, json};

const NUMBER: u32 = 83;
const FEATURE: &str = "rx-udp_tunnel-port-offload";

/// Gone when dropped.
struct Simulated(String);

impl Simulated {
    fn new() -> Self {
        run(&format!("echo '{NUMBER} 1' > /sys/bus/netdevsim/new_device"));
        let nic = run(&format!("ls /sys/bus/netdevsim/devices/netdevsim{NUMBER}/net")).trim().to_owned();
        run(&format!("ip addr add 198.51.100.1/24 dev {nic}; ip link set {nic} up"));
        Self(nic)
    }

    fn is_on(&self) -> bool {
        run(&format!("ethtool -k {}", self.0)).contains(&format!("{FEATURE}: on"))
    }

    fn told(&self) -> bool {
        run(&format!("ethtool --show-tunnels {}", self.0)).contains("port 4789, vxlan")
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        run(&format!("echo {NUMBER} > /sys/bus/netdevsim/del_device"));
    }
}

/// What is decided of the tunnel's port.
fn port(daemon: &Daemon<'_>) -> String {
    let status = daemon.ask("status");
    let all = status["overlay"]["decisions"].as_array().cloned().unwrap_or_default();
    let of_port = |d: &&Value| d["scope"] == "vxlan" && d["topic"] == "port";
    all.iter().find(of_port).map(|d| format!("{} ({})", d["is"], d["why"])).unwrap_or_default()
}

#[test]
fn a_nic_is_told_of_the_tunnels_port_and_is_as_it_was_when_that_is_not_wanted() {
    let w = Wired::with_pools(json!([]));
    let nic = Simulated::new();
    run(&format!("ethtool -K {} {FEATURE} off", nic.0));
    let conf = |tunnel_port: &str| {
        let offloads = json!({"probe": false, "tunnelPort": tunnel_port});
        json!({"node": {"uplink": nic.0}, "overlay": {"mode": "vxlan"}, "offloads": offloads})
    };
    let leaves = w.start_with(conf("leave"));
    until("it is told", || port(&leaves).contains(&format!("{FEATURE} of {} is off", nic.0)));
    assert!(!nic.is_on());
    leaves.stop();

    let auto = w.start_with(conf("auto"));
    until("the NIC was told", || nic.is_on() && nic.told());
    until("it is said why", || port(&auto).contains("was off: offloads.tunnelPort is auto"));
    run(&format!("ethtool -K {} {FEATURE} off", nic.0));
    // The interval is half a minute: it is heard of.
    until("somebody's change is put right", || nic.is_on() && nic.told());
    auto.kill();

    let leaves = w.start_with(conf("leave"));
    until("it is as it was", || !nic.is_on());
    assert_eq!(leaves.ask("status")["problems"], json!([]));
}
