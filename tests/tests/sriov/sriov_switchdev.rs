//! What embedded switches take over of bridges, and what not: rocker takes all, netdevsim nothing.

use crate::lab::{Machine, run};
use offramp_tests::until;
use serde_json::{Value, json};

/// Gone when dropped.
struct Bridge;

impl Drop for Bridge {
    fn drop(&mut self) {
        run("{ ip link del br7; ip link set sw1p2 down; echo 20 > /sys/bus/netdevsim/del_device; } || :");
    }
}

/// The representor of a simulated VF.
fn representor() -> String {
    run("echo '20 1' > /sys/bus/netdevsim/new_device");
    run("echo 1 > /sys/bus/netdevsim/devices/netdevsim20/sriov_numvfs");
    run("devlink dev eswitch set netdevsim/netdevsim20 mode switchdev");
    run("grep -l pf0vf0 /sys/class/net/*/phys_port_name | cut -d/ -f5").trim().to_owned()
}

#[test]
fn what_takes_the_cpu_is_shown() {
    let m = Machine::new();
    let _bridge = Bridge;
    let representor = representor();
    run("ip link add br7 type bridge; ip link set br7 up");
    for (port, mac) in [("sw1p2", "02:00:00:00:00:71"), (&representor, "02:00:00:00:00:72")] {
        run(&format!("ip link set {port} master br7 up; bridge fdb add {mac} dev {port} master static"));
    }
    let daemon = m.node.daemon(json!({
        "embeddedSwitch": {"syncBridges": ["br7"]}, "reconcile": {"interval": "300ms"}, "overlay": {"mode": "none"},
    }));
    let shown = |port: &str| -> Value {
        let status = daemon.ask("status");
        let ports = status["offload"].as_array().unwrap();
        ports.iter().find(|p| p["port"] == port).cloned().unwrap_or_default()
    };
    // Each is in the port's VLAN, and in none.
    let port =
        |port: &str, offloaded| json!({"port": port, "bridge": "br7", "entries": 2, "offloaded": offloaded});
    until("the switch's port to be shown", || shown("sw1p2") == port("sw1p2", 2));
    until("the representor to be shown", || shown(&representor) == port(&representor, 0));
    let problems = || daemon.ask("status")["problems"].to_string();
    let words = format!("2 of 2 forwarding entries of br7 to {representor} are not offloaded");
    assert!(problems().contains(&words) && !problems().contains("sw1p2"), "{}", problems());
    run(&format!("ip link set {representor} nomaster"));
    until("what is no port to be forgotten", || {
        shown(&representor).is_null() && !problems().contains(&words)
    });
}
