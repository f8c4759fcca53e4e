//! Node mode: the daemon lends VFs to pods that ask by annotation.

use crate::lab::{Machine, pci, run, state};
use offramp_tests::traffic::{at, serve, tcp};
use offramp_tests::{Answer, Daemon, Pod, over, until};
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;

/// A node whose uplink is the PF, with three of its VFs for eth0 and one for further interfaces.
pub struct Wired {
    pub m: Machine,
    daemon: Value,
}

/// A pool of VFs of the PF, such as `0-2`, which all namespaces may use; `more` is laid over it.
pub fn pool(name: &str, vfs: &str, more: Value) -> Value {
    let selectors = json!([{"pfNames": [format!("nic0#{vfs}")]}]);
    over(json!({"name": name, "selectors": selectors, "policy": {"namespaces": ["*"]}}), more)
}

impl Wired {
    pub fn new() -> Self {
        let telco = json!({"policy": {"vlans": ["100-199"], "namespaces": ["telco-*"]}});
        let fast = json!({"policy": {"eth0": true}});
        Self::with_pools(json!([pool("fast", "0-2", fast), pool("telco", "3", telco)]))
    }

    pub fn with_pools(pools: Value) -> Self {
        let m = Machine::new();
        run(
            "ip addr flush dev nic0; ip addr add 192.0.2.1/24 dev nic0; ip addr add 2001:db8::1/64 dev nic0 nodad",
        );
        run("ip route replace default via 192.0.2.254 dev nic0");
        let daemon = json!({"reclaim": {"interval": "300ms"}, "pools": pools});
        Self { m, daemon }
    }

    /// With more in the daemon's configuration.
    pub fn with(mut self, more: Value) -> Self {
        self.daemon = over(self.daemon.take(), more);
        self
    }

    /// The daemon's configuration.
    pub fn conf(&self) -> Value {
        self.daemon.clone()
    }

    pub fn start(&self) -> Daemon<'_> {
        self.start_with(json!({}))
    }

    pub fn start_with(&self, more: Value) -> Daemon<'_> {
        self.m.node.daemon(over(self.conf(), more))
    }

    /// A daemon with a variable in its environment, which may have ended already.
    pub fn start_in(&self, variable: &str, value: &str) -> Daemon<'_> {
        let mut daemon = self.m.node.daemon_unready(self.daemon.clone(), |command| {
            command.env(variable, value);
        });
        let serves = || UnixStream::connect(self.m.node.socket()).is_ok();
        until("the daemon's socket", || serves() || daemon.has_ended());
        daemon
    }

    pub fn add(&self, pod: &Pod, namespace: &str, annotations: Value) -> Answer {
        let conf = json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}});
        self.m.node.call_for("ADD", pod).config(&self.m.node.conf(conf)).args(&of_pod(namespace)).run()
    }

    pub fn del(&self, pod: &Pod) {
        self.m.node.del(pod, &self.m.node.conf(json!({}))).ok();
    }

    fn record(&self, pod: &Pod) -> Value {
        serde_json::from_slice(&std::fs::read(self.m.node.record(pod)).unwrap()).unwrap()
    }
}

impl Drop for Wired {
    fn drop(&mut self) {
        run("ip addr flush dev nic0; ip link del offramp0 2>/dev/null || true");
    }
}

/// `CNI_ARGS` of a pod of that namespace.
pub fn of_pod(namespace: &str) -> String {
    format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=p")
}

pub fn ips(result: &Value) -> Vec<String> {
    let all = result["ips"].as_array().unwrap().iter();
    all.map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned()).collect()
}

pub fn required() -> Value {
    json!({"offramp.dev/offload": "required"})
}

/// One packet each way: one that is lost is an error.
#[track_caller]
pub fn reach(from: &Pod, to: &[String]) {
    for ip in to {
        from.run(&format!("ping -n -c 1 -W 2 {ip}"));
    }
}

#[test]
fn a_vf_as_eth0_is_on_the_pod_network() {
    let w = Wired::new();
    let before = [0, 1].map(state);
    let _daemon = w.start();
    let [a, b, beside] = ["a", "b", "beside"].map(|n| w.m.lab.pod(n));
    let beside_ips = ips(&w.add(&beside, "default", json!({})).ok());
    let result = w.add(&a, "default", required()).ok();
    let (a_ips, b_ips) = (ips(&result), ips(&w.add(&b, "default", required()).ok()));
    assert_eq!(result["interfaces"][0]["pciID"], pci(0));
    assert_eq!(a_ips.len(), 2, "{result}");

    reach(&a, &beside_ips);
    reach(&beside, &a_ips);
    reach(&a, &b_ips);
    let node = ["10.244.1.1", "fd00:244:1::1", "192.0.2.1", "2001:db8::1"].map(str::to_owned);
    reach(&a, &node);
    for ip in &a_ips {
        run(&format!("ping -n -c 1 -W 2 {ip}"));
    }
    serve(&a.netns, "a", 80);
    for ip in &a_ips {
        assert!(tcp(&beside.netns, at(ip, 80)).unwrap().starts_with("a "));
        assert!(tcp(&b.netns, at(ip, 80)).unwrap().starts_with("a "));
    }
    assert!(!a.ip("-6 route show table all").contains("redirect"));

    for (i, pod) in [&a, &b].into_iter().enumerate() {
        w.del(pod);
        w.del(pod);
        w.m.assert_vf_free(i, &before[i]);
    }
    assert_eq!(run("ip route show proto 214; ip -6 route show proto 214; ip neigh show proxy"), "");
}

#[test]
fn an_empty_pool_falls_back_and_says_why() {
    let w = Wired::new();
    let before = [0, 1, 2].map(state);
    let daemon = w.start();
    let pods = ["a", "b", "c", "d"].map(|n| w.m.lab.pod(n));
    let preferred = || json!({"offramp.dev/offload": "preferred"});
    for pod in &pods[..3] {
        assert_eq!(w.add(pod, "default", preferred()).ok()["interfaces"].as_array().unwrap().len(), 1);
    }
    let fourth = w.add(&pods[3], "default", preferred()).ok();
    assert_eq!(ips(&fourth).len(), 2, "other families: {fourth}");
    assert_eq!(w.record(&pods[3])["plan"]["path"], "veth");
    let reason = w.record(&pods[3])["plan"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("pool fast") && reason.contains("3 lent"), "{reason}");
    let explained = daemon.ask("attachments").to_string();
    assert!(explained.contains("3 lent"), "{explained}");

    let more = w.m.lab.pod("e");
    let refused =
        w.add(&more, "default", required()).failed(11, &["pool fast", "3 lent", "telco", "namespace"]);
    assert!(refused.msg.contains("eth0"), "{refused:?}");
    pods.iter().for_each(|p| w.del(p));
    (0..3).for_each(|i| w.m.assert_vf_free(i, &before[i]));
}

#[test]
fn a_further_interface_by_annotation() {
    let w = Wired::new();
    let before = state(3);
    let _daemon = w.start();
    let pod = w.m.lab.pod("pod");
    let interfaces = "- {name: net1, pool: telco, vlan: 100, ips: [192.168.10.5/24, 'fd10::5/64']}";
    let asked = || json!({"offramp.dev/interfaces": interfaces});
    w.add(&pod, "other", asked()).failed(107, &["net1", "telco", "namespace other"]);
    let result = w.add(&pod, "telco-a", asked()).ok();
    let names: Vec<_> =
        result["interfaces"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    assert_eq!(names.last(), Some(&"net1"), "{result}");
    assert_eq!(pod.netns.addresses("net1"), ["192.168.10.5/24", "fd10::5/64"]);
    assert_eq!(run("ip -j link show nic0 | jq '.[0].vfinfo_list[3].vlan_list[0].vlan'").trim(), "100");
    assert_eq!(pod.netns.default_gateway("-4").unwrap(), "10.244.1.1");
    w.del(&pod);
    w.m.assert_vf_free(3, &before);
}

/// The VF's own netdev on the host is never two pods'.
#[test]
fn many_at_once_share_what_there_is() {
    let w = Wired::new();
    let before = [0, 1, 2].map(state);
    let _daemon = w.start();
    let pods: Vec<Pod> = (0..8).map(|i| w.m.lab.pod(&format!("p{i}"))).collect();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let w = &w;
        let threads: Vec<_> =
            pods.iter().map(|p| scope.spawn(move || w.add(p, "default", required()))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let mut vfs: Vec<String> = Vec::new();
    for answer in &answers {
        match answer.code {
            Some(0) => vfs.push(answer.ok()["interfaces"][0]["pciID"].as_str().unwrap().to_owned()),
            _ => drop(answer.failed(11, &["pool fast"])),
        }
    }
    vfs.sort();
    assert_eq!(vfs, [pci(0), pci(1), pci(2)]);
    pods.iter().for_each(|p| w.del(p));
    (0..3).for_each(|i| w.m.assert_vf_free(i, &before[i]));
}

#[test]
fn routes_and_next_hops_are_mended_and_follow_the_pf() {
    let w = Wired::new();
    let _daemon = w.start();
    let (pod, before) = (w.m.lab.pod("pod"), state(0));
    let all = ips(&w.add(&pod, "default", required()).ok());
    run(&format!("ip route del {}/32 dev nic0; ip neigh del {} dev nic0", all[0], all[0]));
    until("the route to be back", || run("ip route show proto 214").contains(&all[0]));
    reach(&pod, &["10.244.1.1".to_owned()]);

    let mac = run("cat /sys/class/net/nic0/address");
    run("ip link set nic0 address 02:00:00:00:77:01");
    until("the pod to know it", || pod.ip("neigh show nud permanent").contains("02:00:00:00:77:01"));
    reach(&pod, &["10.244.1.1".to_owned(), "fd00:244:1::1".to_owned()]);
    run(&format!("ip link set nic0 address {mac}"));
    w.del(&pod);
    w.m.assert_vf_free(0, &before);
}
