//! In switchdev mode a pod's VF is on a bridge by its representor.

use crate::fault::is_ours;
use crate::lab::{Machine, run};
use crate::representors::{Switch, json as told};
use crate::sriov_node::{ips, reach, required};
use offramp_tests::{Answer, Daemon, Pod, over, until};
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;

struct Switched {
    m: Machine,
    switch: Switch,
}

impl Switched {
    fn new() -> Self {
        let m = Machine::new();
        Self { m, switch: Switch::new() }
    }

    /// VFs for eth0, and for other interfaces on br-telco.
    fn start(&self) -> Daemon<'_> {
        self.start_with(json!({}))
    }

    fn start_with(&self, more: Value) -> Daemon<'_> {
        self.m.node.daemon(over(self.daemon_conf(), more))
    }

    fn daemon_conf(&self) -> Value {
        let policy = json!({"namespaces": ["*"], "eth0": true, "vlans": ["100-199"]});
        let pool = json!({
            "name": "fast", "selectors": [{"pfNames": [self.switch.port]}], "bridge": "br-telco", "policy": policy,
        });
        json!({
            "pools": [pool], "overlay": {"mode": "none"}, "reclaim": {"interval": "300ms"},
            "reconcile": {"interval": "1s"},
        })
    }

    /// With a variable in its environment; it may have ended already.
    fn start_as(&self, variable: &str, value: &str) -> Daemon<'_> {
        let mut daemon = self.m.node.daemon_unready(self.daemon_conf(), |command| {
            command.env(variable, value);
        });
        let serves = || UnixStream::connect(self.m.node.socket()).is_ok();
        until("the daemon's socket", || serves() || daemon.has_ended());
        daemon
    }

    fn conf(&self, annotations: Value) -> Value {
        self.m.node.conf(json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}}))
    }

    fn add(&self, pod: &Pod, annotations: Value) -> Answer {
        self.m.node.add(pod, &self.conf(annotations))
    }

    fn del(&self, pod: &Pod) {
        self.m.node.del(pod, &self.m.node.conf(json!({}))).ok();
    }

    #[track_caller]
    fn assert_clean(&self, what: &str) {
        until(&format!("VFs to be free: {what}"), || (0..2).all(|vf| self.m.claim(vf).is_none()));
        assert!(self.m.node.records().is_empty(), "{what}");
        self.switch.assert_as_before(what);
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        run("ip link del offramp0 2>/dev/null || :; ip link del br-telco 2>/dev/null || :");
    }
}

fn mac(link: &str) -> String {
    run(&format!("cat /sys/class/net/{link}/address")).trim().to_owned()
}

#[test]
fn eth0_is_on_the_pods_bridge() {
    let s = Switched::new();
    let daemon = s.start_with(json!({"bridge": {"mtu": 1400}}));
    let (pod, beside) = (s.m.lab.pod("pod"), s.m.lab.pod("beside"));
    let beside_ips = ips(&s.add(&beside, json!({})).ok());
    let beside_mac = beside.link("eth0").unwrap()["address"].as_str().unwrap().to_owned();
    s.switch.lead_to(&[&mac("offramp0"), &beside_mac]);
    let result = s.add(&pod, required()).ok();
    let pod_ips = ips(&result);
    s.m.node.check(&pod, &s.conf(json!({})), &result).ok();

    let representor = &s.switch.representors[0];
    assert_eq!(s.switch.bridge(0).as_deref(), Some("offramp0"));
    let port = &told(&format!("ip -j -d link show dev {representor}"))[0];
    assert_eq!((&port["mtu"], &port["linkinfo"]["info_slave_data"]["hairpin"]), (&json!(1400), &json!(true)));
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1400);
    assert!(pod.ip("route show default").contains("via 10.244.1.1"));
    // An emulated PF passes no multicast, by which IPv6 asks.
    let know =
        |pod: &Pod, ip: &str, mac: &str| pod.ip(&format!("-6 neigh replace {ip} lladdr {mac} dev eth0"));
    let own = pod.link("eth0").unwrap()["address"].as_str().unwrap().to_owned();
    know(&pod, "fd00:244:1::1", &mac("offramp0"));
    know(&pod, &beside_ips[1], &beside_mac);
    know(&beside, &pod_ips[1], &own);
    reach(&beside, &pod_ips);
    pod_ips.iter().for_each(|ip| drop(run(&format!("ping -n -c 1 -W 2 {ip}"))));
    reach(&pod, &beside_ips);
    reach(&pod, &["10.244.1.1".into(), "fd00:244:1::1".into()]);

    // Nothing of it is offloaded here, and that is told.
    until("the port to be told", || {
        let ports = daemon.ask("status")["offload"].clone();
        let port = ports.as_array().unwrap().iter().find(|p| p["port"] == representor.as_str()).cloned();
        port.is_some_and(|p| {
            p["bridge"] == "offramp0" && p["entries"].as_u64() > Some(0) && p["offloaded"] == 0
        })
    });
    // What comes from another MAC than its own does not enter the bridge.
    let foreign = "02:00:00:00:66:66";
    let redirect = format!("action mirred ingress redirect dev {representor}");
    run(&format!("tc filter add dev nic0 ingress protocol all pref 2 flower src_mac {foreign} {redirect}"));
    let as_another = |mac: &str| {
        pod.ip(&format!("link set eth0 address {mac}"));
        // It asks for the MAC of nobody.
        run(&format!("ip netns exec {} ping -n -c 1 -W 1 10.244.1.250 || :", pod.name()));
        run(&format!("bridge fdb show brport {representor}")).contains(mac)
    };
    assert!(!as_another(foreign));
    assert!(as_another(&own));

    // Whatever it is called by then. Its MAC is checked by its name: that is told.
    run(&format!("ip link set {representor} down nomaster; ip link set {representor} name other"));
    until("the representor to be plugged in again", || {
        let port = &told("ip -j link show dev other")[0];
        port["master"] == "offramp0" && port["flags"].as_array().unwrap().contains(&"UP".into())
    });
    let name_told = || problems(&daemon).contains(&format!("representor {representor} is called other now"));
    until("the name to be told", name_told);
    run(&format!("ip link set other down; ip link set other name {representor}"));
    until("the name to be told no more", || !name_told());
    s.del(&pod);
    assert_eq!(s.switch.bridge(0), None, "a pod that is gone is cut off at once");
    s.del(&beside);
    s.assert_clean("DEL");
}

fn problems(daemon: &Daemon) -> String {
    daemon.ask("status")["problems"].to_string()
}

const NET1: &str = "- {name: net1, pool: fast, vlan: 100, mtu: 1300, ips: [192.168.10.5/24]}";

fn net1() -> Value {
    json!({"offramp.dev/interfaces": NET1})
}

#[test]
fn another_interface_is_on_the_bridge_of_its_pool() {
    let s = Switched::new();
    let daemon = s.start();
    let [first, second] = &s.switch.representors;
    let pod = s.m.lab.pod("pod");
    s.add(&pod, net1()).failed(100, &["br-telco"]);
    s.assert_clean("no bridge");

    run("ip link add br-telco type bridge; ip link set br-telco up");
    let why = "the bridge of its representor does not tell VLANs apart";
    s.add(&pod, net1()).failed(100, &[first, "vlan 100", why]);
    s.assert_clean("a bridge without VLANs");

    run("ip link set br-telco type bridge vlan_filtering 1");
    // Somebody uses it: it is passed over.
    run(&format!("ip link add br-other type bridge; ip link set {first} master br-other"));
    s.add(&pod, net1()).ok();
    assert_eq!(
        (s.switch.bridge(0).as_deref(), s.switch.bridge(1).as_deref()),
        (Some("br-other"), Some("br-telco"))
    );
    let vlans = || run(&format!("bridge vlan show dev {second}"));
    assert!(vlans().contains("100 PVID Egress Untagged") && vlans().lines().count() == 2, "{}", vlans());
    assert_eq!(told(&format!("ip -j link show dev {second}"))[0]["mtu"], 1300);
    // With its VLAN, when somebody makes the bridge anew.
    run("ip link del br-telco; ip link add br-telco type bridge vlan_filtering 1; ip link set br-telco up");
    until("the representor to be plugged in again", || vlans().contains("100 PVID Egress Untagged"));
    run(&format!("bridge vlan del dev {second} vid 100; bridge vlan add dev {second} vid 1 pvid untagged"));
    until("its VLAN to be put back", || vlans().contains("100 PVID Egress Untagged"));
    // Where it cannot have its VLAN it is no port.
    run("ip link del br-telco; ip link add br-telco type bridge; ip link set br-telco up");
    until("the bridge without VLANs to be told", || problems(&daemon).contains(why));
    until("the representor to be taken out", || s.switch.bridge(1).is_none());
    run("ip link set br-telco type bridge vlan_filtering 1");
    until("the representor to be plugged in at last", || vlans().contains("100 PVID Egress Untagged"));
    run("ip link del br-other");
    s.del(&pod);
    s.assert_clean("DEL");
}

/// The plugin dies with one representor plugged in, with both, and as it takes them out without a daemon.
#[test]
fn the_plugin_dies_between_steps() {
    let s = Switched::new();
    run("ip link add br-telco type bridge vlan_filtering 1; ip link set br-telco up");
    let mut daemon = Some(s.start());
    let conf = s.conf(over(required(), net1()));
    for (verb, point) in [("ADD", "configure-vf:1"), ("ADD", "configure-vf:2"), ("DEL", "plug-representor:1")]
    {
        let pod = s.m.lab.pod("pod");
        if verb == "DEL" {
            s.m.node.add(&pod, &conf).ok();
            daemon.take().into_iter().for_each(Daemon::kill);
        }
        let (answer, died) = s.m.killed(verb, &pod, &conf, point);
        assert!(died.is_some(), "{verb} did not pass {point}: {answer:?}");
        if verb == "DEL" {
            daemon = Some(s.start());
        }
        until(&format!("what died at {point} to be gone"), || s.m.node.records().is_empty());
        s.assert_clean(&format!("{verb} killed at {point}"));
    }
}

/// The daemon dies at each step of what it does for an ADD and a DEL, and of the cleaning; another one takes over.
#[test]
fn the_daemon_dies_between_steps() {
    let s = Switched::new();
    // One VF is to spare: what a daemon has claimed that dies is to be cleaned.
    let conf = s.conf(required());
    let trace = s.m.node.dir().join("trace");
    let passed = || std::fs::read_to_string(&trace).unwrap_or_default();
    let attach_and_detach = || {
        let pod = s.m.lab.pod("pod");
        let result = s.m.node.add(&pod, &conf).ok();
        assert!((0..2).any(|vf| s.switch.bridge(vf).as_deref() == Some("offramp0")));
        s.m.node.check(&pod, &conf, &result).ok();
        s.del(&pod);
    };
    let daemon = s.start_as("OFFRAMP_CRASH_TRACE", trace.to_str().unwrap());
    let at_start = passed().lines().count();
    attach_and_detach();
    s.assert_clean("no kill");
    daemon.kill();
    let all = passed();
    let points: Vec<&str> = all.lines().skip(at_start).filter_map(|line| line.split(' ').nth(1)).collect();
    let steps = points.iter().filter(|p| !p.starts_with("netlink.") && !p.starts_with("nft."));
    let (mut tried, mut died) = (0, 0);
    for (_, point) in steps.enumerate().filter(|(n, _)| is_ours(*n)) {
        tried += 1;
        println!("offrampd is to be killed at {point}");
        let mut daemon = s.start_as("OFFRAMP_CRASH_AT", point);
        let next = std::thread::scope(|scope| {
            let calls = scope.spawn(attach_and_detach);
            until("the calls or the daemon to end", || calls.is_finished() || daemon.has_ended());
            let next = daemon.has_ended().then(|| s.start());
            calls.join().unwrap_or_else(|_| panic!("offrampd was killed at {point}"));
            next
        });
        let free = || (0..2).all(|vf| s.m.claim(vf).is_none());
        until("the VFs to be free, or the daemon to end", || next.is_some() || free() || daemon.has_ended());
        died += usize::from(daemon.has_ended());
        daemon.kill();
        let _next = next.unwrap_or_else(|| s.start());
        until("its record to be gone", || s.m.node.records().is_empty());
        s.assert_clean(&format!("offrampd killed at {point}"));
    }
    // A few come once in several looks.
    assert!(died * 4 > tried * 3, "{died} of {tried} points of {points:?}");
}
