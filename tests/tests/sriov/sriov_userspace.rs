//! VFs that are bound to vfio-pci before: only the PF's side is set.

use crate::lab::{Machine, netdev, pci, run, state};
use offramp_tests::until;
use serde_json::{Value, json};
use std::fs::File;

fn bind(index: usize, driver: &str) {
    let (pci, devices) = (pci(index), "/sys/bus/pci/devices");
    run(&format!("[ ! -e {devices}/{pci}/driver ] || echo {pci} > {devices}/{pci}/driver/unbind"));
    run(&format!(
        "echo {driver} > {devices}/{pci}/driver_override && echo {pci} > /sys/bus/pci/drivers_probe"
    ));
}

/// A VF for userspace; a network interface again at the end.
pub struct Userspace(usize);

impl Userspace {
    pub fn new(index: usize) -> Self {
        run("modprobe vfio-pci");
        assert!(!netdev(index).is_empty());
        bind(index, "vfio-pci");
        Self(index)
    }

    /// Its group's file, `/dev/vfio/N`.
    pub fn file(&self) -> String {
        let group = run(&format!("basename $(readlink /sys/bus/pci/devices/{}/iommu_group)", pci(self.0)));
        format!("/dev/vfio/{}", group.trim())
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        bind(self.0, "igbvf");
        run(&format!("echo > /sys/bus/pci/devices/{}/driver_override", pci(self.0)));
    }
}

fn conf(m: &Machine) -> Value {
    let info = json!({"CNIDeviceInfoFile": m.node.dir().join("devinfo")});
    m.conf(3, json!({"vlan": 12, "mac": "02:00:00:00:00:91", "spoofchk": "off", "runtimeConfig": info}))
}

#[test]
fn only_the_pf_is_told() {
    let m = Machine::new();
    let _vf = Userspace::new(3);
    let before = state(3);
    assert_eq!(before["driver"], "vfio-pci");
    let (pod, conf) = (m.pod(), conf(&m));
    let result = m.node.add(&pod, &conf).ok();
    let interface = &result["interfaces"][0];
    assert_eq!((&interface["pciID"], &interface["mac"]), (&json!(pci(3)), &json!("02:00:00:00:00:91")));
    assert_eq!(result["ips"][0]["address"], "10.56.217.2/24");
    assert!(pod.link("net1").is_none());
    assert_eq!(state(3)["pf"]["vlan_list"][0]["vlan"], 12);
    assert!(m.node.dir().join("devinfo").exists());
    m.node.check(&pod, &conf, &result).ok();
    m.node.add(&pod, &conf).failed(101, &["attached already"]);
    m.node.del(&pod, &conf).ok();
    m.assert_free_and_clean(3, &before);
}

/// DEL does not wait for a process that has the device open; the VF stays in quarantine until it lets go.
#[test]
fn a_device_that_is_held_open_is_not_lent() {
    let m = Machine::new();
    let vf = Userspace::new(3);
    let before = state(3);
    let (pod, next, conf) = (m.pod(), m.pod(), conf(&m));
    m.node.add(&pod, &conf).ok();
    let open = File::options().read(true).write(true).open(vf.file()).unwrap();
    m.node.del(&pod, &conf).ok();
    until("an attempt to clean it", || m.claim(3).is_some_and(|c| c["state"]["attempts"] != 0));
    let held = format!("process {}", std::process::id());
    m.node.add(&next, &conf).failed(11, &["VF 3 of nic0", "quarantine", "held open by", &held]);
    drop(open);
    m.node.add(&next, &conf).ok();
    m.node.del(&next, &conf).ok();
    m.assert_free_and_clean(3, &before);
}

/// By GC, which finds VFs that nobody cleans any more. One that cannot be cleaned keeps no other waiting, and is gone on
/// with: it comes first.
#[test]
fn vfs_are_cleaned_beside_one_that_cannot_be() {
    let m = Machine::new();
    let userspace = Userspace::new(0);
    let before = [0, 1, 2].map(state);
    let confs = [0, 1, 2].map(|vf| m.conf(vf, json!({"vlan": 5})));
    for conf in &confs {
        let pod = m.pod();
        m.node.add(&pod, conf).ok();
        let (_, died) = m.killed("DEL", &pod, conf, "detach.forgotten:1");
        assert!(died.is_some());
    }
    let in_quarantine = |vf: usize| m.claim(vf).is_some_and(|c| c["state"]["is"] == "quarantine");
    assert!((0..3).all(in_quarantine) && m.node.records().is_empty());
    let open = File::options().read(true).write(true).open(userspace.file()).unwrap();
    m.node.gc(&confs[0], &[]).ok();
    for vf in [1, 2] {
        m.assert_vf_free(vf, &before[vf]);
    }
    assert!(in_quarantine(0));
    drop(open);
    m.assert_vf_free(0, &before[0]);
}
