//! Which VFs are lent, and which not: what others use, what nobody may ask for, what somebody works on.

use crate::lab::{Machine, netdev, pci, run, state};
use crate::sriov_node::{Wired, pool, required};
use crate::sriov_userspace::Userspace;
use offramp_tests::{Answer, Pod, over, until};
use serde_json::{Value, json};
use std::fs::File;
use std::path::PathBuf;

/// An ADD whose configuration and `CNI_ARGS` have more.
fn add(w: &Wired, pod: &Pod, annotations: Value, more: Value, args: &str) -> Answer {
    let conf = json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}});
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p{args}");
    w.m.node.call_for("ADD", pod).config(&w.m.node.conf(over(conf, more))).args(&args).run()
}

/// VFs 0 and 1 for all.
fn two(more: Value) -> Wired {
    Wired::with_pools(json!([pool("two", "0-1", more)]))
}

fn eth0_allowed() -> Value {
    json!({"policy": {"eth0": true}})
}

fn vf_of(result: &Value) -> &str {
    result["interfaces"].as_array().unwrap().iter().find_map(|i| i["pciID"].as_str()).unwrap()
}

/// The lock of a VF or a port, which is somebody's until it is dropped.
pub fn held(w: &Wired, name: &str) -> File {
    let dir = w.m.node.state().join("locks");
    std::fs::create_dir_all(&dir).unwrap();
    let file = File::create(dir.join(name)).unwrap();
    file.lock().unwrap();
    file
}

#[test]
fn a_mac_from_the_runtime_is_judged_by_the_pools_policy() {
    let own = json!({"policy": {"eth0": true, "mac": true}});
    let w = Wired::with_pools(json!([pool("strict", "0", eth0_allowed()), pool("own", "1", own)]));
    let before = [0, 1].map(state);
    let _daemon = w.start();
    let pod = w.m.lab.pod("pod");
    let from = |pool: &str| over(required(), json!({"offramp.dev/pool": pool}));
    let by_capability = |mac: &str| json!({"capabilities": {"mac": true}, "runtimeConfig": {"mac": mac}});
    let (mac, none) = ("02:00:00:00:00:55", json!({}));
    let words = ["pool strict", "does not allow mac 02:00:00:00:00:55"];
    add(&w, &pod, from("strict"), none.clone(), &format!(";MAC={mac}")).failed(107, &words);
    add(&w, &pod, from("strict"), by_capability(mac), "").failed(107, &words);
    let ours = run("cat /sys/class/net/nic0/address").trim().to_owned();
    let words = [ours.as_str(), "one of the node's own"];
    add(&w, &pod, from("own"), none.clone(), &format!(";MAC={ours}")).failed(107, &words);
    let interfaces = format!("- {{name: net1, pool: own, mac: '{ours}', ips: [192.168.10.5/24]}}");
    add(&w, &pod, json!({"offramp.dev/interfaces": interfaces}), none, "").failed(107, &words);
    assert!(w.m.node.records().is_empty() && (0..2).all(|vf| w.m.claim(vf).is_none()));

    let result = add(&w, &pod, from("own"), by_capability(mac), "").ok();
    assert_eq!((vf_of(&result), &result["interfaces"][0]["mac"]), (pci(1).as_str(), &json!(mac)));
    assert_eq!(pod.link("eth0").unwrap()["address"], mac);
    assert_eq!(state(1)["pf"]["address"], mac);
    w.del(&pod);
    (0..2).for_each(|vf| w.m.assert_vf_free(vf, &before[vf]));
}

#[test]
fn a_vf_that_somebody_moved_away_is_passed_over() {
    let w = two(eth0_allowed());
    let before = [0, 1].map(state);
    let (_daemon, other, pod) = (w.start(), w.m.lab.netns("other"), w.m.lab.pod("pod"));
    let name = netdev(0);
    run(&format!("ip link set {name} netns {}", other.name()));
    assert_eq!(vf_of(&w.add(&pod, "default", required()).ok()), pci(1));
    let second = w.m.lab.pod("second");
    let words = ["1 with the netdev in a namespace that Offramp did not put it in", "1 lent"];
    w.add(&second, "default", required()).failed(11, &words);
    // Inline plugins ask nobody, and see it too.
    let (third, conf) = (w.m.pod(), w.m.conf(0, json!({})));
    w.m.node.add(&third, &conf).failed(11, &["VF 0 of nic0", "is in use", "in another namespace"]);
    assert!(w.m.claim(0).is_none() && other.link(&name).is_some());
    other.ip(&format!("link set {name} netns 1"));
    w.del(&pod);
    (0..2).for_each(|vf| w.m.assert_vf_free(vf, &before[vf]));
}

#[test]
fn a_vf_that_the_node_itself_uses_is_passed_over() {
    let w = two(eth0_allowed());
    let before = [0, 1].map(state);
    let _daemon = w.start();
    let (name, pod, second) = (netdev(0), w.m.lab.pod("pod"), w.m.lab.pod("second"));
    run(&format!("ip addr add 198.51.100.7/24 dev {name}"));
    assert_eq!(vf_of(&w.add(&pod, "default", required()).ok()), pci(1));
    let words = ["in use by the node", "198.51.100.7/24", "1 lent"];
    w.add(&second, "default", required()).failed(11, &words);
    run(&format!("ip addr flush dev {name}; ip link add link {name} name above0 type vlan id 7"));
    let (third, conf) = (w.m.pod(), w.m.conf(0, json!({})));
    w.m.node.add(&third, &conf).failed(11, &["VF 0 of nic0", "in use by the node", "below above0"]);
    assert!(w.m.claim(0).is_none());
    run("ip link del above0");
    assert_eq!(vf_of(&w.add(&second, "default", required()).ok()), pci(0));
    [pod, second].iter().for_each(|pod| w.del(pod));
    (0..2).for_each(|vf| w.m.assert_vf_free(vf, &before[vf]));
}

#[test]
fn a_vf_that_a_process_holds_open_is_passed_over() {
    let w = two(json!({"mode": "vfio"}));
    let vfs = [0, 1].map(Userspace::new);
    let before = [0, 1].map(state);
    let (_daemon, pod) = (w.start(), w.m.lab.pod("pod"));
    let open = File::options().read(true).write(true).open(vfs[0].file()).unwrap();
    let wish = || json!({"offramp.dev/interfaces": "- {name: net1, pool: two}"});
    assert_eq!(vf_of(&w.add(&pod, "default", wish()).ok()), pci(1));
    let second = w.m.lab.pod("second");
    let held_by = format!("held open by process {}", std::process::id());
    w.add(&second, "default", wish()).failed(11, &["pool two", &held_by, "1 lent"]);
    let (third, conf) = (w.m.pod(), w.m.conf(0, json!({})));
    w.m.node.add(&third, &conf).failed(11, &["VF 0 of nic0", "is in use", &held_by]);
    assert!(w.m.claim(0).is_none());
    drop(open);
    assert_eq!(vf_of(&w.add(&second, "default", wish()).ok()), pci(0));
    [pod, second].iter().for_each(|pod| w.del(pod));
    (0..2).for_each(|vf| w.m.assert_vf_free(vf, &before[vf]));
}

/// How often a request was refused since it is not clear who has a VF.
fn refusals() -> u32 {
    let text = run("curl -s http://127.0.0.1:19469/metrics");
    let line = text.lines().find(|l| l.starts_with("offramp_lend_refusals_total{reason=\"unclear\"}"));
    line.map_or(0, |l| l.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn what_cannot_be_read_or_claimed_is_passed_over_and_a_refusal_counts_once() {
    let w = two(eth0_allowed());
    let before = [0, 1].map(state);
    let claims = w.m.node.state().join("vfs");
    std::fs::create_dir_all(&claims).unwrap();
    let torn: PathBuf = claims.join(pci(0));
    std::fs::write(&torn, "{").unwrap();
    let daemon = w.start_with(json!({"http": {"address": "127.0.0.1:19469"}}));
    let (first, second) = (w.m.lab.pod("first"), w.m.lab.pod("second"));
    until("the pool to be shown", || {
        let pool = daemon.ask("status")["pools"][0].clone();
        pool["total"] == 2 && pool["free"] == 1 && pool["unusable"]["its claim cannot be read"] == 1
    });
    assert_eq!(vf_of(&w.add(&first, "default", required()).ok()), pci(1));
    assert_eq!(refusals(), 0);
    let words = ["1 somebody's (its claim cannot be read)", "1 lent"];
    w.add(&second, "default", required()).failed(11, &words);
    assert_eq!(refusals(), 1);
    assert_eq!(std::fs::read_to_string(&torn).unwrap(), "{", "nobody but the operator knows whose it is");
    std::fs::remove_file(&torn).unwrap();

    // Somebody works on it: it is chosen, cannot be claimed, and the next one is.
    w.del(&first);
    w.m.assert_vf_free(1, &before[1]);
    let lock = held(&w, &format!("vf-{}", pci(0)));
    assert_eq!(vf_of(&w.add(&first, "default", required()).ok()), pci(1));
    assert_eq!(refusals(), 1);
    let words = [format!("VF {}", pci(0)), "1 lent".into()];
    w.add(&second, "default", required()).failed(11, &words.each_ref().map(String::as_str));
    assert_eq!(refusals(), 2);
    drop(lock);
    assert_eq!(vf_of(&w.add(&second, "default", required()).ok()), pci(0));
    [first, second].iter().for_each(|pod| w.del(pod));
    (0..2).for_each(|vf| w.m.assert_vf_free(vf, &before[vf]));
}

/// Who changes how many VFs a port has locks the port and all VFs that are free: those that are not locked may be lent.
#[test]
fn vfs_of_a_port_that_is_locked_are_lent_unless_they_are_locked() {
    let w = two(eth0_allowed());
    let before = [0, 1].map(state);
    let (_daemon, pod) = (w.start(), w.m.lab.pod("pod"));
    let device = run("basename $(readlink -f /sys/class/net/nic0/device)");
    let port = held(&w, &format!("port-{}", device.trim()));
    let both = [0, 1].map(|vf| held(&w, &format!("vf-{}", pci(vf))));
    w.add(&pod, "default", required()).failed(11, &["pool two", &pci(0), &pci(1)]);
    assert!(w.m.node.records().is_empty() && (0..2).all(|vf| w.m.claim(vf).is_none()));
    drop(both);
    w.add(&pod, "default", required()).ok();
    w.del(&pod);
    (0..2).for_each(|vf| w.m.assert_vf_free(vf, &before[vf]));
    drop(port);
}

#[test]
fn a_further_interface_has_no_address_of_the_cluster_or_its_nodes() {
    let w = two(json!({}));
    let before = state(0);
    let peers = w.m.node.dir().join("peers.yaml");
    let peer = json!({"name": "b", "endpoints": ["192.0.2.2", "2001:db8::2"], "podCIDRs": ["10.244.2.0/24"]});
    std::fs::write(&peers, json!([peer]).to_string()).unwrap();
    let cluster = json!({"peersFile": peers, "podCIDRs": ["10.244.1.0/24", "fd00:244:1::/64"]});
    let direct = json!({"cluster": cluster, "overlay": {"mode": "direct"}});
    let pod = w.m.lab.pod("pod");
    let ask = |ip: &str| {
        let interfaces = format!("- {{name: net1, ips: ['{ip}']}}");
        w.add(&pod, "default", json!({"offramp.dev/interfaces": interfaces}))
    };
    let daemon = w.start_with(direct.clone());
    until("the peer to be known", || daemon.ask("status")["overlay"]["peers"][0]["name"] == "b");
    run("ip link add other0 type dummy && ip addr add 203.0.113.9/24 dev other0");
    for (ip, whose) in [
        ("203.0.113.9/24", "a node"),
        ("::ffff:203.0.113.10/128", "IPv4"),
        ("192.0.2.1/24", "a node"),
        ("2001:db8::1/64", "a node"),
        ("192.0.2.2/24", "a node"),
        ("2001:db8::2/64", "a node"),
        ("10.244.1.77/24", "the cluster's pods"),
        ("fd00:244:1::77/64", "the cluster's pods"),
        ("10.244.2.9/24", "the cluster's pods"),
    ] {
        let address = ip.split('/').next().unwrap();
        ask(ip).failed(107, &["offramp.dev/interfaces", "net1", address, whose]);
    }
    run("ip link del other0");
    assert!(w.m.node.records().is_empty() && w.m.claim(0).is_none());
    ask("10.244.3.9/24").ok();
    w.del(&pod);
    w.m.assert_vf_free(0, &before);

    drop(daemon);
    let all = json!({"cluster": {"clusterCIDRs": ["10.244.0.0/16", "fd00:244::/32"]}});
    let _daemon = w.start_with(over(direct, all));
    ask("10.244.3.9/24").failed(107, &["10.244.3.9", "the cluster's pods"]);
    ask("192.168.10.5/24").ok();
    w.del(&pod);
    w.m.assert_vf_free(0, &before);
}

/// Its routes are gone then, by which the node's uplink is found.
#[test]
fn while_the_pf_is_down_a_vf_is_waited_for() {
    let w = two(eth0_allowed());
    let before = state(0);
    let (daemon, pod) = (w.start(), w.m.lab.pod("pod"));
    run("ip link set nic0 down");
    until("the uplink not to be known", || daemon.ask("status")["node"]["uplink"].is_null());
    w.add(&pod, "default", required()).failed(11, &["pool two", "nic0", "not known"]);
    let veth = w.add(&pod, "default", json!({"offramp.dev/offload": "preferred"})).ok();
    assert_eq!(veth["interfaces"][0]["name"], "offramp0", "{veth}");
    w.del(&pod);
    run("ip link set nic0 up; ip addr add 2001:db8::1/64 dev nic0 nodad");
    run("ip route replace default via 192.0.2.254 dev nic0");
    let pod = w.m.lab.pod("later");
    until("a VF", || w.add(&pod, "default", required()).code == Some(0));
    w.del(&pod);
    w.m.assert_vf_free(0, &before);
}

/// Of a network of inline mode, whose GC cleans several.
#[test]
fn gc_cleans_all_that_it_takes_back() {
    let m = Machine::new();
    let before: Vec<Value> = (0..3).map(state).collect();
    let confs: Vec<Value> = (0..3).map(|vf| m.conf(vf, json!({"vlan": 5, "trust": "on"}))).collect();
    let pods: Vec<Pod> = confs
        .iter()
        .map(|conf| {
            let pod = m.pod();
            m.node.add(&pod, conf).ok();
            pod
        })
        .collect();
    m.node.gc(&confs[0], &[]).ok();
    for (vf, before) in before.iter().enumerate() {
        m.assert_vf_free(vf, before);
    }
    assert!(m.node.records().is_empty() && pods.iter().all(|pod| pod.link("net1").is_none()));
}
