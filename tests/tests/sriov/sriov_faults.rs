//! Node mode: whatever is done to a pod's VFs behind our back, DEL works, and the VFs are free and as they were; or in
//! quarantine, with the reason, until what is in the way has gone.

use crate::fault::{Fault, annotated, eth0, net1, quarantined, wired};
use crate::lab::{netdev, pci, run, state};
use crate::sriov_node::{Wired, pool};
use crate::vfio::Held;
use offramp_tests::{Pod, until};
use serde_json::json;
use std::process::{Child, Stdio};

/// What the two kinds of pods have on a node where nothing else is lent.
const ETH0: usize = 0;
const NET1: usize = 2;

fn both(fault: &Fault<'_>) -> [Pod; 2] {
    let pods = [fault.w.m.lab.pod("pod"), fault.w.m.lab.pod("pod")];
    fault.add(&pods[0], &eth0()).ok();
    fault.add(&pods[1], &net1()).ok();
    assert!(fault.is_lent(ETH0, &pods[0]) && fault.is_lent(NET1, &pods[1]));
    pods
}

/// A process that stays in a namespace.
struct Left(Child);

impl Left {
    fn new(pod: &Pod) -> Self {
        Self(pod.command("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    fn links(&self) -> String {
        run(&format!("nsenter -n -t {} ip -br link", self.0.id()))
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_namespace_ends_and_nobody_calls_del() {
    let w = wired();
    let fault = Fault::new(&w);
    drop(both(&fault));
    fault.assert_clean("the namespaces' end");
}

/// The kernel keeps such a namespace, and the VFs in it. DEL takes them; without it, a pod that still is a port of the
/// bridge is left alone until its process has ended too.
#[test]
fn the_namespace_ends_with_a_process_in_it() {
    let w = wired();
    let fault = Fault::new(&w);
    for with_del in [true, false] {
        let pods = both(&fault);
        let left = [Left::new(&pods[0]), Left::new(&pods[1])];
        pods[0].netns.delete();
        pods[1].netns.delete();
        if with_del {
            pods.iter().for_each(|pod| (0..3).for_each(|_| fault.del(pod)));
            fault.assert_clean("the namespaces' end with processes, then DEL");
            assert!(!left[0].links().contains("eth0") && !left[1].links().contains("net1"));
        }
        drop(left);
        fault.assert_clean("the namespaces' end with processes, and theirs");
    }
}

/// Everything that the owner of a node, or of a pod, can turn.
#[test]
fn settings_are_changed_by_hand() {
    let w = wired();
    let fault = Fault::new(&w);
    let pods = both(&fault);
    for (pod, name, vf) in [(&pods[0], "eth0", ETH0), (&pods[1], "net1", NET1)] {
        run(&format!("ip link set nic0 vf {vf} vlan 77 qos 2"));
        run(&format!("ip link set nic0 vf {vf} trust on"));
        run(&format!("ip link set nic0 vf {vf} spoofchk off"));
        run(&format!("ip link set nic0 vf {vf} max_tx_rate 100"));
        run(&format!("ip link set nic0 vf {vf} mac 02:00:00:00:66:0{vf}"));
        pod.ip(&format!("link set {name} down"));
        pod.ip(&format!("link set {name} mtu 1300 alias spoilt promisc on allmulticast on"));
        pod.ip(&format!("link set {name} name other address 02:00:00:00:66:0{vf}"));
        pod.ip("link property add dev other altname another");
        pod.ip("link set other up");
    }
    pods.iter().for_each(|pod| (0..3).for_each(|_| fault.del(pod)));
    fault.assert_clean("changes by hand");
}

#[test]
fn the_interface_is_taken_out_of_the_pod_by_hand() {
    let w = wired();
    let fault = Fault::new(&w);
    for with_del in [true, false] {
        let pods = both(&fault);
        let thief = w.m.lab.pod("thief");
        pods[0].ip(&format!("link set eth0 netns {} name stolen0", thief.netns.name()));
        pods[1].ip("link set net1 netns 1 name stolen1");
        run("ip link set stolen1 up && ip addr add 203.0.113.1/24 dev stolen1");
        // Nobody else gets what was stolen: these are the pools' other ones.
        let others = both_others(&fault);
        if with_del {
            pods.iter().for_each(|pod| (0..3).for_each(|_| fault.del(pod)));
        }
        drop(pods);
        others.iter().for_each(|pod| fault.del(pod));
        fault.assert_clean(&format!("theft, DEL {with_del}"));
        assert!(thief.link("stolen0").is_none());
    }
}

/// The second of each pool.
fn both_others(fault: &Fault<'_>) -> [Pod; 2] {
    let pods = [fault.w.m.lab.pod("other"), fault.w.m.lab.pod("other")];
    fault.add(&pods[0], &annotated(json!({"offramp.dev/offload": "required"}))).ok();
    fault.add(&pods[1], &annotated(json!({"offramp.dev/interfaces": "- {name: net1, pool: telco}"}))).ok();
    assert!(fault.is_lent(ETH0 + 1, &pods[0]) && fault.is_lent(NET1 + 1, &pods[1]));
    pods
}

/// The node's own address and route go with the link, and are its operator's to bring back.
fn pf_up() {
    run("ip link set nic0 up && ip route replace default via 192.0.2.254 dev nic0");
    run("ip addr replace 2001:db8::1/64 dev nic0 nodad");
}

#[test]
fn the_pf_is_down() {
    let w = wired();
    let fault = Fault::new(&w);
    let pods = both(&fault);
    run("ip link set nic0 down");
    pods.iter().for_each(|pod| (0..3).for_each(|_| fault.del(pod)));
    let pod = w.m.lab.pod("pod");
    let refused = fault.add(&pod, &net1()).error();
    assert!(refused.code == 11 && refused.msg.contains("port that is down"), "{refused:?}");
    let refused = fault.add(&pod, &eth0()).error();
    assert!(refused.msg.contains("pod network") || refused.msg.contains("port that is down"), "{refused:?}");
    assert!(w.m.node.records().is_empty());
    pf_up();
    fault.assert_clean("the PF was down");
    until("a VF to be lent again", || {
        fault.add(&pod, &eth0()).code == Some(0) || !pod.ip("-br link").contains("eth0")
    });
    both_once_more(&fault, &pod);
}

fn both_once_more(fault: &Fault<'_>, pod: &Pod) {
    fault.del(pod);
    fault.assert_clean("and once more");
    both(fault).iter().for_each(|pod| fault.del(pod));
    fault.assert_clean("and again");
}

/// Somebody writes another number of VFs, under the pods.
#[test]
fn the_vfs_vanish_and_come_back() {
    let w = wired();
    let numvfs = "/sys/class/net/nic0/device/sriov_numvfs";
    let there = |count: usize| {
        run(&format!("echo {count} > {numvfs}"));
        until("the VFs", || (0..count).all(|vf| state(vf)["netdev"].is_object()));
    };
    for back_before_del in [false, true] {
        let fault = Fault::new(&w);
        let pods = both(&fault);
        let claims = [ETH0, NET1].map(|vf| w.m.claim_file(vf));
        there(0);
        if back_before_del {
            there(4);
            // They are the pods' still, though without an interface.
            assert!(fault.is_lent(ETH0, &pods[0]) && fault.is_lent(NET1, &pods[1]));
        }
        pods.iter().for_each(|pod| (0..3).for_each(|_| fault.del(pod)));
        until("the claims to go", || claims.iter().all(|file| !file.exists()));
        assert!(w.m.node.records().is_empty());
        if back_before_del {
            // Made anew, a VF is what it was before.
            assert_eq!([ETH0, NET1].map(state), [ETH0, NET1].map(|vf| fault.before(vf).clone()));
        } else {
            there(4);
        }
    }
    let fault = Fault::new(&w);
    both(&fault).iter().for_each(|pod| fault.del(pod));
    fault.assert_clean("VFs made anew");
}

#[test]
fn another_link_took_the_name() {
    let w = wired();
    let names = [ETH0, NET1].map(netdev);
    let fault = Fault::new(&w);
    let pods = both(&fault);
    names.iter().for_each(|name| drop(run(&format!("ip link add name {name} type dummy"))));
    pods.iter().for_each(|pod| (0..3).for_each(|_| fault.del(pod)));
    for (vf, name) in [ETH0, NET1].into_iter().zip(&names) {
        quarantined(&fault, vf, &format!("name {name}: File exists"));
        let shown = fault.daemon().ask("status")["problems"].to_string();
        assert!(shown.contains(&pci(vf)) && shown.contains("File exists"), "{shown}");
        run(&format!("ip link del {name}"));
    }
    fault.assert_clean("the name is free again");
}

/// A VF for userspace whose device a process holds, by the group's file or by nothing but the device's descriptor, of
/// which older kernels do not tell: unbinding hangs there, in a child that nobody waits for.
#[test]
fn a_device_is_held_open() {
    run("modprobe vfio-pci; modprobe vfio_iommu_type1");
    let vfio = json!({"mode": "vfio", "policy": {"vlans": ["100-199"]}});
    let w = Wired::with_pools(json!([pool("dpdk", "3", vfio)]));
    let fault = Fault::new(&w);
    let asked = "- {name: net1, pool: dpdk, vlan: 100, ips: [192.168.10.5/24]}";
    let conf = annotated(json!({"offramp.dev/interfaces": asked}));
    let next = w.m.lab.pod("next");
    for group_stays_open in [true, false] {
        let pod = w.m.lab.pod("pod");
        fault.add(&pod, &conf).ok();
        assert_eq!(state(3)["driver"], "vfio-pci");
        let held = Held::new(&pci(3), group_stays_open);
        (0..3).for_each(|_| fault.del(&pod));
        assert!(w.m.node.records().is_empty());
        let why = if group_stays_open || Held::is_told() {
            format!("held open by process {}", std::process::id())
        } else {
            "hangs in the kernel".to_owned()
        };
        quarantined(&fault, 3, &why);
        fault.add(&next, &conf).failed(11, &["pool dpdk", "quarantine", &why]);
        drop(held);
        fault.assert_clean("the device was held open");
    }
    fault.add(&next, &conf).ok();
    fault.del(&next);
    fault.assert_clean("lent again");
}
