//! A bridge with the PF as a port, and a VF in a namespace of its own, both in the pods' subnets.

use offramp_tests::{Daemon, Lab, Netns, Node, Pod, traffic, until, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

pub struct Bench {
    pub lab: Lab,
    pub node: Node,
    pub vf: Netns,
}

impl Bench {
    /// `port`, a PF or a VLAN device on one, is a port of `br0`; VF 0 of `nic0` is in `vf`.
    pub fn new(port: &str) -> Self {
        let lab = Lab::of_vm();
        let (node, vf) = (lab.machine("machine"), lab.netns("vf"));
        node.ip("link add br0 address 02:00:00:00:00:99 type bridge");
        node.ip("link set nic0 up");
        node.ip(&format!("link set {port} master br0"));
        node.ip(&format!("link set {port} up"));
        node.ip("link set br0 up");
        node.ip(&format!("link set {} netns {} name vf0", vf_netdev(), vf.name()));
        vf.ip("link set vf0 up");
        for (subnet, length) in [("10.88.0.250", 24), ("10.244.1.250", 24)] {
            vf.ip(&format!("addr add {subnet}/{length} dev vf0"));
        }
        for subnet in ["fd88::fa", "fd00:244:1::fa"] {
            vf.ip(&format!("addr add {subnet}/64 dev vf0 nodad"));
        }
        until("the VF's carrier", || vf.link("vf0").is_some_and(|l| l["operstate"] == "UP"));
        Self { lab, node, vf }
    }

    /// The daemon, whose bridge is `br0`.
    pub fn daemon(&self) -> Daemon<'_> {
        self.node.daemon(json!({"bridge": {"name": "br0"}}))
    }

    /// The daemon with a bridge of its own; `br0` is the operator's.
    pub fn daemon_beside(&self) -> Daemon<'_> {
        self.node.daemon(json!({"embeddedSwitch": {"syncBridges": ["br0"]}}))
    }

    pub fn inline(&self) -> Value {
        self.node.inline(json!({"name": "inline"}))
    }

    /// A pod on `br0` by inline mode.
    pub fn pod(&self) -> Pod {
        let pod = self.lab.pod("pod");
        self.node.add(&pod, &self.inline()).ok();
        pod
    }

    /// What the PF's filter holds, but for multicast.
    pub fn filter(&self) -> Vec<String> {
        let shown: Value = serde_json::from_str(&self.node.run("bridge -j fdb show dev nic0")).unwrap();
        let own = shown.as_array().unwrap().iter().filter(|e| e["flags"].to_string().contains("self"));
        let macs = own.map(|e| e["mac"].as_str().unwrap().to_owned());
        macs.filter(|mac| !mac.starts_with("33:33") && !mac.starts_with("01:00:5e")).collect()
    }

    pub fn knows(&self, mac: &str) -> bool {
        self.filter().iter().any(|m| m == mac)
    }

    pub fn state(&self, file: &str) -> PathBuf {
        self.node.state().join("sync").join(file)
    }

    /// Whether the VF reaches both of a pod's addresses.
    pub fn reaches(&self, pod: &Pod) -> bool {
        self.asks(pod).iter().all(|ip| traffic::ping(&self.vf, ip))
    }

    /// Whether the VF reaches neither.
    pub fn misses(&self, pod: &Pod) -> bool {
        self.asks(pod).iter().all(|ip| traffic::ping_fails(&self.vf, ip))
    }

    /// A pod's addresses, its MAC told to the VF.
    fn asks(&self, pod: &Pod) -> [String; 2] {
        let ips = [false, true].map(|v6| pod.address(v6));
        self.tell(&ips[1], &mac(pod));
        ips
    }

    /// The emulated igb drops multicast from a VF to its PF, though the driver asks for all (VMOLR.MPME): so the VF cannot
    /// ask for an IPv6 neighbour. It is told, and what is tested is whether its unicast passes.
    pub fn tell(&self, ip: &str, mac: &str) {
        self.vf.ip(&format!("neigh replace {ip} lladdr {mac} dev vf0 nud permanent"));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.vf.delete();
        vf_netdev(); // it comes back
        for mac in self.filter() {
            self.node.run(&format!("bridge fdb del {mac} dev nic0 self"));
        }
        for link in ["v0", "br0", "offramp0"] {
            let _ = self.node.command("ip").args(["link", "del", link]).output();
        }
    }
}

fn vf_net() -> String {
    format!("{}/net", fs::canonicalize("/sys/class/net/nic0/device/virtfn0").unwrap().display())
}

fn vf_netdev() -> String {
    let name = || fs::read_dir(vf_net()).ok()?.next()?.ok()?.file_name().into_string().ok();
    wait_for("the VF's netdev", name)
}

/// A pod's address on the wire.
pub fn mac(pod: &Netns) -> String {
    pod.link("eth0").unwrap()["address"].as_str().unwrap().to_owned()
}
