//! `offrampd doctor` on a node with VFs: nothing is wrong with one that has pods with VFs, and each fault that is planted
//! is found. Those that need no NIC are in `doctor`.

use crate::lab::{Machine, netdev, pci, run, state};
use crate::representors::Switch;
use crate::sriov_node::{Wired, ips, pool, reach, required};
use offramp_core::ids::AttachmentId;
use offramp_core::nic::PortKey;
use offramp_core::vf::{Claim, Claimed, VfMode, VfRef, VfState};
use offramp_tests::doctor::{Doctor, IN_VM, until_ready};
use offramp_tests::{Node, binary, over, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub fn doctor<T>(node: &Node, with: impl FnOnce(&Doctor<'_>) -> T) -> T {
    let (config, bin_dir) = (node.dir().join("offrampd.yaml"), binary("offramp"));
    with(&Doctor { netns: node, config: &config, bin_dir: bin_dir.parent().unwrap() })
}

/// A fault, with the words that show it.
struct Fault {
    ids: &'static [&'static str],
    without_daemon: bool,
    plant: fn(&Machine),
    lift: fn(&Machine),
    words: &'static [&'static str],
}

const OF_NICS: &[Fault] = &[
    Fault {
        ids: &["vf-leftover"],
        without_daemon: false,
        plant: |_| {
            run("ip link set nic0 vf 1 vlan 7 qos 2; ip link set nic0 vf 2 trust on");
            run("ip link set nic0 vf 3 mac 02:00:00:00:77:03; ip link set nic0 vf 1 max_tx_rate 100");
        },
        lift: |_| {
            run("ip link set nic0 vf 1 vlan 0; ip link set nic0 vf 2 trust off");
            let own = state(3)["netdev"]["mac"].as_str().unwrap().to_owned();
            run(&format!("ip link set nic0 vf 3 mac {own}; ip link set nic0 vf 1 max_tx_rate 0"));
        },
        words: &[
            "VF 1 of nic0",
            "vlan 7 qos 2, max_tx_rate 100",
            "trust on",
            "mac 02:00:00:00:77:03, where its netdev has",
            "ip link set nic0 vf 1 vlan 0 max_tx_rate 0",
        ],
    },
    Fault {
        ids: &["vf-astray"],
        without_daemon: false,
        plant: |_| drop(run(&format!("ip netns add astray; ip link set {} netns astray", netdev(3)))),
        lift: |_| {
            run("ip netns del astray");
            until("the VF's netdev to come home", || state(3)["netdev"]["name"].is_string());
        },
        words: &["VF 3 of nic0", "/run/netns/astray"],
    },
    Fault {
        ids: &["vf-quarantined"],
        without_daemon: true,
        plant: quarantine,
        lift: |_| {},
        words: &["VF 2 of nic0", "cleaning it failed 3 times: it is held open by process 4711"],
    },
    Fault {
        ids: &["vfs-otherwise"],
        without_daemon: false,
        plant: |m| rewrite_conf(m, json!({"nics": [{"pfNames": ["nic0"], "numVfs": 7}]})),
        lift: |m| rewrite_conf(m, json!({})),
        words: &["nic0 should have 7 VFs (it has 4)", "nics[].manage"],
    },
    Fault {
        ids: &["pf-down"],
        without_daemon: false,
        plant: |_| drop(run("ip link set nic0 down")),
        lift: |_| drop(run("ip link set nic0 up")),
        words: &["nic0 (igb) is down", "ip link set nic0 up"],
    },
    Fault {
        // The machine has one CPU, and so the driver took one of two queues: let there be two.
        ids: &["queues-below-cpus"],
        without_daemon: false,
        plant: |m| {
            let file = m.node.dir().join("online");
            std::fs::write(&file, "0-1\n").unwrap();
            run(&format!("mount --bind {} /sys/devices/system/cpu/online", file.display()));
        },
        lift: |_| drop(run("umount /sys/devices/system/cpu/online")),
        words: &["nic0 uses 1 of 2 queues, the node has 2 CPUs", "ethtool -L nic0 combined 2"],
    },
];

/// What the daemon writes when it could not clean a VF.
fn quarantine(m: &Machine) {
    let device = run("basename $(readlink -f /sys/class/net/nic0/device)").trim().to_owned();
    let port = PortKey { device, port: 0 };
    let vf = VfRef { pci: pci(2).parse().unwrap(), port, pf: "nic0".parse().unwrap(), index: 2 };
    let holder: AttachmentId = "c7@net1".parse().unwrap();
    let mut before = VfState::default();
    let as_it_is: Value = state(2);
    before.driver = as_it_is["driver"].as_str().map(str::to_owned);
    let mut claim = Claim::lent(vf, holder, VfMode::Netdev, before, 1_767_225_600);
    claim.state = Claimed::Quarantine { attempts: 3, reason: "it is held open by process 4711".into() };
    std::fs::write(m.claim_file(2), serde_json::to_string(&claim).unwrap()).unwrap();
}

/// The daemon, which runs, does not see it.
fn rewrite_conf(m: &Machine, more: Value) {
    let conf = m.node.daemon_conf(over(conf(), more));
    std::fs::write(m.node.dir().join("offrampd.yaml"), conf.to_string()).unwrap();
}

fn conf() -> Value {
    json!({"overlay": {"mode": "none"}, "reclaim": {"interval": "300ms"}, "pools": [pool("fast", "0-3", json!({}))]})
}

#[test]
fn faults_of_nics_are_found() {
    let m = Machine::new();
    let mut daemon = Some(m.node.daemon(conf()));
    let pod = m.lab.pod("pod");
    let annotations = json!({"offramp.dev/interfaces": "- {name: net1, ips: [192.168.10.5/24]}"});
    let add = json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}});
    m.node.add(&pod, &m.node.conf(add)).ok();
    doctor(&m.node, |d| d.finds_nothing("a pod with a VF"));
    for fault in OF_NICS {
        eprintln!("{}", fault.ids[0]);
        if fault.without_daemon {
            daemon.take().unwrap().kill();
        }
        (fault.plant)(&m);
        let mut ids = fault.ids.to_vec();
        ids.extend(fault.without_daemon.then_some("daemon-away"));
        doctor(&m.node, |d| d.finds(&ids, fault.words));
        if fault.without_daemon {
            std::fs::remove_file(m.claim_file(2)).unwrap();
        }
        (fault.lift)(&m);
        daemon.get_or_insert_with(|| m.node.daemon(conf()));
        until_ready(&m.node);
        doctor(&m.node, |d| d.finds_nothing(&format!("after {}", fault.ids[0])));
    }
    m.node.del(&pod, &m.node.conf(json!({}))).ok();
    until("the VF to be clean", || m.claim(0).is_none());
    let planted: BTreeSet<&str> = OF_NICS.iter().map(|f| f.ids[0]).chain(BY_THEMSELVES).collect();
    assert_eq!(planted, IN_VM.into_iter().collect());
}

/// In the tests below, and in `sriov_flows`.
const BY_THEMSELVES: [&str; 3] = ["eswitch-fdb-missing", "representor-not-offloading", "queues-shared"];

#[test]
fn a_node_with_pods_of_all_kinds_is_healthy_and_an_address_that_its_switch_lacks_is_found() {
    let w = Wired::new();
    let daemon = w.start();
    let [veth, vf, both] = ["veth", "vf", "both"].map(|n| w.m.lab.pod(n));
    let veth_ips = ips(&w.add(&veth, "telco-a", json!({})).ok());
    let vf_ips = ips(&w.add(&vf, "telco-a", required()).ok());
    let net1 = "- {name: net1, pool: telco, vlan: 100, ips: [192.168.10.5/24]}";
    w.add(&both, "telco-a", over(required(), json!({"offramp.dev/interfaces": net1}))).ok();
    reach(&vf, &veth_ips);
    reach(&veth, &vf_ips);
    doctor(&w.m.node, |d| d.finds_nothing("pods of all kinds"));
    [&vf, &both].into_iter().for_each(|pod| w.del(pod));
    until("the VFs to be clean", || (0..4).all(|i| w.m.claim(i).is_none()));
    doctor(&w.m.node, |d| d.finds_nothing("VFs that have come back"));

    // The PF becomes a port of the pods' bridge: the daemon makes its switch know the pod.
    let mac = veth.link("eth0").unwrap()["address"].as_str().unwrap().to_owned();
    run("ip link set nic0 master offramp0");
    until("the switch to know the pod", || run("bridge fdb show dev nic0 self").contains(&mac));
    doctor(&w.m.node, |d| d.finds_nothing("a PF in the bridge"));
    daemon.kill();
    run(&format!("bridge fdb del {mac} dev nic0 self"));
    let words = ["nic0 knows ", "bridge fdb add MAC dev nic0 self", mac.as_str(), "telco-a/p eth0"];
    doctor(&w.m.node, |d| d.finds(&["eswitch-fdb-missing", "daemon-away"], &words));
    let _daemon = w.start();
    doctor(&w.m.node, |d| d.finds_nothing("a daemon that is back"));
    run("ip link set nic0 nomaster");
    w.del(&veth);
}

#[test]
fn a_representor_that_does_not_offload_is_found() {
    let m = Machine::new();
    let switch = Switch::new();
    let policy = json!({"namespaces": ["*"], "eth0": true});
    let pool = json!({"name": "fast", "selectors": [{"pfNames": [switch.port]}], "policy": policy});
    let conf = json!({"pools": [pool], "overlay": {"mode": "none"}, "reconcile": {"interval": "1s"}});
    let _daemon = m.node.daemon(conf);
    doctor(&m.node, |d| d.finds_nothing("a switch without pods"));
    let pod = m.lab.pod("pod");
    let wish = json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": required()}});
    let bridge = run("cat /sys/class/net/offramp0/address").trim().to_owned();
    switch.lead_to(&[&bridge]);
    m.node.add(&pod, &m.node.conf(wish)).ok();
    reach(&pod, &["10.244.1.1".into()]);
    let representor = switch.representors[0].as_str();
    let words = ["forwarding entries of offramp0 to", representor, "are not offloaded"];
    doctor(&m.node, |d| d.finds(&["representor-not-offloading"], &words));
    m.node.del(&pod, &m.node.conf(json!({}))).ok();
    until("the VF to be clean", || m.claim(0).is_none());
    switch.assert_as_before("DEL");
    run("ip link del offramp0");
}
