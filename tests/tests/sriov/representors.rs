//! VFs in switchdev mode, which no emulated NIC has, put together of two that have half of it each: nic0's VFs, and the
//! representors of a simulated port, which has none. nic0 is the wire between them, and sysfs says that the VFs are the
//! simulated port's. So a pod's frames pass its VF, its representor, and the bridge, by the CPU.

use crate::lab::{pci, run, state};
use serde_json::Value;

/// The PCI function that is the port's device.
const PORT: &str = "0000:7f:00.0";
const DEVICES: &str = "/sys/bus/pci/devices";
const SIMULATED: &str = "/sys/bus/netdevsim/devices";
/// Of netdevsim.
const NUMBER: u32 = 30;

/// A port in switchdev mode with nic0's first two VFs; gone when dropped.
pub struct Switch {
    /// Its netdev.
    pub port: String,
    /// Of VFs 0 and 1.
    pub representors: [String; 2],
    before: [Value; 2],
}

impl Switch {
    pub fn new() -> Self {
        let device = format!("/sys/devices/netdevsim{NUMBER}");
        run("ip link set nic0 up");
        run(&format!("echo '{NUMBER} 1' > /sys/bus/netdevsim/new_device; echo 2 > {device}/sriov_numvfs"));
        run(&format!("devlink dev eswitch set netdevsim/netdevsim{NUMBER} mode switchdev"));
        let named = |name: &str| {
            let file = run(&format!("grep -lx {name} {device}/net/*/phys_port_name"));
            file.rsplit('/').nth(1).unwrap().to_owned()
        };
        let [port, first, second] = ["p1", "pf0vf0", "pf0vf1"].map(named);
        run(&format!("ip link set {port} up"));
        pretend(&device);
        let representors = [first, second];
        (0..2).for_each(|vf| wire(vf, &representors[vf]));
        let before = [0, 1].map(|vf| Self::told(vf, &representors[vf]));
        Self { port, representors, before }
    }

    /// Pods can send to these MACs: what nic0 does not know leaves by its wire, which leads nowhere.
    pub fn lead_to(&self, macs: &[&str]) {
        macs.iter().for_each(|mac| drop(run(&format!("bridge fdb replace {mac} dev nic0 self"))));
    }

    /// What iproute2 tells of a VF and its representor.
    fn told(vf: usize, representor: &str) -> Value {
        let link = &json(&format!("ip -j link show dev {representor}"))[0];
        let up = link["flags"].as_array().unwrap().contains(&"UP".into());
        serde_json::json!({"vf": state(vf), "mtu": link["mtu"], "up": up, "controller": link["master"]})
    }

    /// The bridge that a VF's representor is a port of.
    pub fn bridge(&self, vf: usize) -> Option<String> {
        Self::told(vf, &self.representors[vf])["controller"].as_str().map(str::to_owned)
    }

    /// Both VFs and their representors are as they were at first.
    #[track_caller]
    pub fn assert_as_before(&self, what: &str) {
        for vf in 0..2 {
            assert_eq!(Self::told(vf, &self.representors[vf]), self.before[vf], "VF {vf}: {what}");
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        run(&format!("umount {SIMULATED} {DEVICES}; tc qdisc del dev nic0 clsact; bridge fdb show dev nic0 |
            while read -r mac _ self _; do [ \"$self\" != self ] || bridge fdb del $mac dev nic0 self; done || :
            echo {NUMBER} > /sys/bus/netdevsim/del_device"));
    }
}

pub fn json(command: &str) -> Value {
    serde_json::from_str(&run(command)).unwrap()
}

/// Covers the lists of two buses by ones in which nic0 has no VFs, and the simulated device is a PCI function with them.
fn pretend(device: &str) {
    let vfs = [0, 1].map(pci);
    let real = |pci: &str| run(&format!("readlink -f {DEVICES}/{pci}")).trim().to_owned();
    let [first, second] = [&vfs[0], &vfs[1]].map(|pci| real(pci));
    let nic0 = run("readlink -f /sys/class/net/nic0/device").trim().to_owned();
    let igb = nic0.rsplit('/').next().unwrap();
    run(&format!(
        "set -e
        all=$(readlink -f {DEVICES}/*)
        mount -t tmpfs none {DEVICES}
        mount -t tmpfs none {SIMULATED}
        cd {DEVICES}
        ln -s $all .
        rm {igb}
        mkdir {igb} {PORT}
        ln -s {nic0}/net {nic0}/driver /sys/bus/pci {igb}
        ln -s {device}/net {device}/driver /sys/bus/pci {PORT}
        for function in {igb} {PORT}; do mv $function/pci $function/subsystem; done
        ln -s {first} {PORT}/virtfn0
        ln -s {second} {PORT}/virtfn1
        echo 2 | tee {PORT}/sriov_totalvfs > {PORT}/sriov_numvfs
        ln -s {DEVICES}/{PORT} {SIMULATED}/netdevsim{NUMBER}"
    ));
}

/// What a VF sends comes in at its representor, and what its representor sends goes to the VF, but for what comes from
/// there: nic0 would hear it again.
fn wire(vf: usize, representor: &str) {
    let mac = state(vf)["netdev"]["mac"].as_str().unwrap().to_owned();
    run(&format!(
        "tc qdisc add dev nic0 clsact 2>/dev/null || :
        tc filter add dev nic0 ingress protocol all pref 1 flower src_mac {mac} action mirred ingress redirect dev {representor}
        tc qdisc add dev {representor} clsact
        tc filter add dev {representor} egress protocol all pref 1 flower src_mac {mac} action drop
        tc filter add dev {representor} egress protocol all pref 2 matchall action mirred egress redirect dev nic0"
    ));
}
