//! Pods to whose addresses a NIC dedicates queues: flowsim's, the node's uplink, with a machine behind its cable.

use crate::lab::run;
use crate::sriov_doctor::doctor;
use crate::sriov_node::Wired;
use offramp_tests::{Answer, Daemon, Pod, until};
use serde_json::{Value, json};

/// The uplink flow0 with 8 queues, of which 4 are a pool's, and 192.0.2.254 behind its cable.
struct Steering {
    w: Wired,
}

impl Steering {
    fn new() -> Self {
        let policy = json!({"namespaces": ["*"], "maxQueues": 3});
        let pool =
            json!({"name": "led", "queues": {"kind": "steer", "nics": ["flow0#4-7"]}, "policy": policy});
        let w = Wired::with_pools(json!([pool]));
        run("ip addr flush dev nic0; ip link set flow0 up; ip addr add 192.0.2.1/24 dev flow0");
        run("ip addr add 2001:db8::1/64 dev flow0 nodad; ethtool -X flow0 equal 4");
        run("ip netns add flowpeer; ip link set flow1 netns flowpeer; ip -n flowpeer link set flow1 up");
        run(
            "ip -n flowpeer addr add 192.0.2.254/24 dev flow1; ip -n flowpeer route add default via 192.0.2.1",
        );
        run("ip route replace default via 192.0.2.254 dev flow0");
        Self { w }
    }

    /// The uplink is VLAN 7 of flow0.
    fn tagged() -> Self {
        let s = Self::new();
        run(
            "ip addr flush dev flow0; ip link add link flow0 name flow0.7 type vlan id 7; ip link set flow0.7 up",
        );
        run("ip addr add 192.0.2.1/24 dev flow0.7; ip addr add 2001:db8::1/64 dev flow0.7 nodad");
        run("ip route replace default via 192.0.2.254 dev flow0.7");
        run(
            "ip -n flowpeer link add link flow1 name flow1.7 type vlan id 7; ip -n flowpeer addr flush dev flow1",
        );
        run("ip -n flowpeer link set flow1.7 up; ip -n flowpeer addr add 192.0.2.254/24 dev flow1.7");
        run("ip -n flowpeer route add default via 192.0.2.1");
        s
    }

    fn add(&self, pod: &Pod, offload: &str, queues: u32) -> Answer {
        self.w.add(pod, "default", wish(offload, queues))
    }

    fn claimed(&self) -> usize {
        std::fs::read_dir(self.w.m.node.state().join("queues")).map_or(0, |dir| dir.count())
    }

    /// Nobody has anything.
    #[track_caller]
    fn assert_free(&self, what: &str) {
        let node = &self.w.m.node;
        until(&format!("all queues, rules and contexts to be gone: {what}"), || {
            rules().is_empty() && contexts() == 0 && self.claimed() == 0 && node.records().is_empty()
        });
    }

    fn plan(&self, pod: &Pod) -> Value {
        let record = std::fs::read(self.w.m.node.record(pod)).unwrap();
        serde_json::from_slice::<Value>(&record).unwrap()["plan"].clone()
    }
}

impl Drop for Steering {
    fn drop(&mut self) {
        // What a test that failed has left behind is no other's fault.
        rules().iter().for_each(|rule| drop(run(&format!("ethtool -N flow0 delete {rule}"))));
        run("for id in 1 2 3 4 5 6 7; do ethtool -X flow0 context $id delete 2>/dev/null || true; done");
        run("ip link del flow0.7 2>/dev/null || true");
        run(
            "ip netns del flowpeer; ip addr flush dev flow0; ethtool -X flow0 default; ethtool -K flow0 ntuple on",
        );
        until("flow1 to be back", || std::path::Path::new("/sys/class/net/flow1").exists());
    }
}

fn wish(offload: &str, queues: u32) -> Value {
    let (offload, queues) = (offload.to_owned(), queues.to_string());
    json!({"offramp.dev/offload": offload, "offramp.dev/pool": "led", "offramp.dev/queues": queues})
}

/// The numbers of the uplink's flow rules.
fn rules() -> Vec<u32> {
    let told = run("ethtool -n flow0");
    told.lines().filter_map(|line| line.strip_prefix("Filter: ")?.trim().parse().ok()).collect()
}

/// How many RSS contexts it has but the one that all have.
fn contexts() -> usize {
    (1..8).filter(|id| run(&format!("ethtool -x flow0 context {id} 2>&1 || true")).contains("table")).count()
}

/// What came by these queues.
fn received(queues: std::ops::RangeInclusive<u32>) -> u64 {
    let told = run("ethtool -S flow0");
    let of = |n: u32| {
        let name = format!("rx_queue_{n}_packets:");
        told.lines().find_map(|line| line.trim().strip_prefix(&name)?.trim().parse::<u64>().ok()).unwrap()
    };
    queues.map(of).sum()
}

/// 50 packets of UDP from the machine behind the cable, of as many flows.
fn send_to(ip: &str) {
    run(&format!("ip netns exec flowpeer bash -c 'for i in $(seq 50); do echo x > /dev/udp/{ip}/9; done'"));
}

fn ipv4(result: &Value) -> String {
    let ips = result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap());
    ips.filter(|ip| !ip.contains(':')).map(|ip| ip.split('/').next().unwrap().to_owned()).next().unwrap()
}

#[test]
fn what_comes_for_a_pod_comes_by_its_queues_and_nothing_else_does() {
    let s = Steering::new();
    let daemon = s.w.start();
    let [a, b, c] = ["a", "b", "c"].map(|n| s.w.m.lab.pod(n));
    let result = s.add(&a, "required", 2).ok();
    let plan = s.plan(&a);
    let reason = "queues 4 and 5 of flow0, pool led, to which its packets are led";
    assert_eq!(plan["path"], "queues");
    assert!(plan["reason"].as_str().unwrap().starts_with(reason), "{plan}");
    assert_eq!((rules().len(), contexts()), (6, 1), "TCP, UDP, the rest; of IPv4 and IPv6");

    let (own, others) = (received(4..=5), received(6..=7));
    send_to(&ipv4(&result));
    assert!(received(4..=5) >= own + 50 && received(6..=7) == others, "{}", run("ethtool -S flow0"));
    let plain = s.add(&b, "preferred", 3).ok();
    assert_eq!(s.plan(&b)["path"], "veth", "2 are free");
    let own = received(4..=7);
    send_to(&ipv4(&plain));
    assert_eq!(received(4..=7), own, "nobody else's come by them: {}", run("ethtool -S flow0"));
    s.add(&c, "required", 2).ok();
    assert_eq!((rules().len(), contexts()), (12, 2));

    let explained = daemon.ask(&format!("explain {}@eth0", a.container)).to_string();
    assert!(explained.contains("flowRules") && explained.contains("steer-queues"), "{explained}");
    let conf = s.w.m.node.conf(json!({}));
    s.w.m.node.check(&a, &conf, &result).ok();
    [&a, &b, &c].into_iter().for_each(|pod| s.w.del(pod));
    s.w.del(&a);
    s.assert_free("DEL");
}

/// Its pair is as the configuration wants pairs, and others' packets in its queues are told of.
#[test]
fn a_pod_without_a_bridge_has_queues_of_its_own_too() {
    let s = Steering::new();
    let daemon = s.w.start_with(json!({"path": "netkit-l3"}));
    let pod = s.w.m.lab.pod("pod");
    let result = s.add(&pod, "required", 2).ok();
    let plan = s.plan(&pod);
    let steps = plan["steps"].to_string();
    assert!(steps.contains("create-netkit-l3") && steps.contains("steer-queues"), "{plan}");
    assert_eq!(plan["path"], "queues");
    let ip = ipv4(&result);
    assert_eq!(
        (&pod.ips()[0], pod.default_gateway("-4").as_deref()),
        (&format!("{ip}/32"), Some("169.254.1.1"))
    );
    run(&format!("ping -n -c 1 -W 2 {ip}"));
    let own = received(4..=5);
    send_to(&ip);
    assert!(received(4..=5) >= own + 50, "{}", run("ethtool -S flow0"));
    let conf = s.w.m.node.conf(json!({}));
    s.w.m.node.check(&pod, &conf, &result).ok();

    let told =
        || daemon.ask("status").to_string().contains("flow0 spreads the node's packets over [4, 5], too");
    assert!(!told());
    doctor(&s.w.m.node, |d| d.finds_nothing("queues of its own"));
    run("ethtool -X flow0 default");
    until("the mixed queues to be told of", told);
    let shared = format!("{}@eth0: its queues are not its own: flow0 spreads", pod.container);
    doctor(&s.w.m.node, |d| d.finds(&["queues-shared"], &[&shared, "[4, 5]", "ethtool -X flow0 equal N"]));
    run("ethtool -X flow0 equal 4");
    until("the queues to be the pod's alone", || !told());
    doctor(&s.w.m.node, |d| d.finds_nothing("queues of its own again"));
    s.w.del(&pod);
    s.assert_free("DEL");
}

#[test]
fn what_somebody_removes_is_put_back_and_what_is_somebody_elses_stays() {
    let s = Steering::new();
    run("ethtool -N flow0 flow-type udp4 dst-ip 198.51.100.9 action 7 loc 0");
    let theirs = rules();
    let daemon = s.w.start();
    let pod = s.w.m.lab.pod("pod");
    s.add(&pod, "required", 1).ok();
    let all = rules();
    assert_eq!(all.len(), theirs.len() + 6);
    for rule in all.iter().filter(|rule| !theirs.contains(rule)) {
        run(&format!("ethtool -N flow0 delete {rule}"));
    }
    until("the rules to be put back", || rules().len() == all.len());
    daemon.kill();
    s.w.del(&pod);
    assert_eq!((rules(), contexts()), (theirs, 0), "without the daemon");
    run("ethtool -N flow0 delete 0");
    let _daemon = s.w.start();
    s.assert_free("DEL");
}

/// A rule names no VLAN, and so leads what comes by any.
#[test]
fn what_comes_for_a_pod_by_a_vlan_comes_by_its_queues_too() {
    let s = Steering::tagged();
    let _daemon = s.w.start();
    let [a, b] = ["a", "b"].map(|n| s.w.m.lab.pod(n));
    let (led, plain) = (s.add(&a, "required", 2).ok(), s.w.add(&b, "default", json!({})).ok());
    let own = received(4..=5);
    send_to(&ipv4(&led));
    assert!(received(4..=5) >= own + 50, "{}", run("ethtool -S flow0"));
    let own = received(4..=7);
    send_to(&ipv4(&plain));
    assert_eq!(received(4..=7), own, "nobody else's come by them: {}", run("ethtool -S flow0"));
    [&a, &b].into_iter().for_each(|pod| s.w.del(pod));
    s.assert_free("DEL");
}

/// Drivers refuse rules then, and forget those that they have.
#[test]
fn rules_that_are_turned_off_are_named_and_are_there_when_they_are_on_again() {
    let s = Steering::new();
    let ntuple = |on: &str| drop(run(&format!("ethtool -K flow0 ntuple {on}")));
    let words = "(95): flow rules are turned off: ethtool -K flow0 ntuple on";
    ntuple("off");
    let daemon = s.w.start();
    let [a, b] = ["a", "b"].map(|n| s.w.m.lab.pod(n));
    for _ in 0..2 {
        s.add(&a, "required", 1).failed(106, &["pool led, flow0", "lead TCP to 192.0.2.1", words]);
    }
    assert!(daemon.ask("status").to_string().contains(words));

    ntuple("on");
    s.add(&a, "required", 1).ok();
    let told = daemon.ask("status").to_string();
    assert!(rules().len() == 6 && !told.contains(words), "{told}");

    ntuple("off");
    assert!(rules().is_empty());
    let led = || !daemon.ask("status").to_string().contains("its packets are not led to its queues");
    until("the lost rules to be told of", || !led());
    s.add(&b, "preferred", 1).ok();
    assert_eq!(s.plan(&b)["path"], "veth");
    ntuple("on");
    until("the rules to be put back", || rules().len() == 6 && led());
    [&a, &b].into_iter().for_each(|pod| s.w.del(pod));
    s.assert_free("DEL");
}

/// i40e's rules of IP are no rules of TCP, and other NICs have none.
#[test]
fn a_nic_that_leads_a_part_of_ip_does_for_tcp_and_udp() {
    let parameter = "/sys/module/flowsim/parameters";
    for any_place in ["N", "Y"] {
        run(&format!("echo Y > {parameter}/no_rest; echo {any_place} > {parameter}/any_place"));
        let s = Steering::new();
        let _daemon = s.w.start();
        let pod = s.w.m.lab.pod("pod");
        s.add(&pod, "required", 1).ok();
        assert_eq!(rules().len(), 4);
        s.w.del(&pod);
        s.assert_free("DEL");
    }
    run(&format!("echo N > {parameter}/no_rest; echo N > {parameter}/any_place"));
}

/// A table without room is no refusal for ever: the pod waits, or falls back.
#[test]
fn a_table_without_room_is_told_of() {
    let s = Steering::new();
    (0..16).for_each(|at| {
        run(&format!("ethtool -N flow0 flow-type udp4 dst-ip 198.51.100.{at} action 0 loc {at}"));
    });
    let _daemon = s.w.start();
    let pod = s.w.m.lab.pod("pod");
    s.add(&pod, "required", 1).failed(11, &["pool led, flow0", "No space left on device"]);
    s.add(&pod, "preferred", 1).ok();
    assert_eq!(s.plan(&pod)["path"], "veth");
    s.w.del(&pod);
    (0..16).for_each(|at| drop(run(&format!("ethtool -N flow0 delete {at}"))));
    until("the ADD to succeed", || s.add(&pod, "required", 1).code == Some(0));
    s.w.del(&pod);
    s.assert_free("DEL");
}

/// The points that the plugin passes at rules and contexts.
fn points(s: &Steering, verb: &str, pod: &Pod, conf: &Value) -> Vec<String> {
    let trace = s.w.m.node.dir().join("steer-trace");
    let call = s.w.m.node.call_for(verb, pod).config(conf);
    call.env("OFFRAMP_CRASH_TRACE", trace.to_str().unwrap()).run().ok();
    let passed = std::fs::read_to_string(&trace).expect("built with the feature crash-points");
    std::fs::remove_file(&trace).unwrap();
    let points = passed.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned());
    points.filter(|p| ["steer.", "detach.", "queue."].iter().any(|kind| p.starts_with(kind))).collect()
}

#[test]
fn a_plugin_that_is_killed_anywhere_leaves_no_rule_behind() {
    let s = Steering::new();
    let annotations = wish("required", 2);
    let conf = s.w.m.node.conf(json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}}));
    let bare = s.w.m.node.conf(json!({}));
    let daemon = s.w.start();
    let pod = s.w.m.lab.pod("pod");
    let of_add = points(&s, "ADD", &pod, &conf);
    assert!(of_add.iter().any(|p| p == "steer.rule-made:6"), "{of_add:?}");
    s.w.del(&pod);
    s.assert_free("no kill");
    for (n, point) in of_add.iter().enumerate() {
        let (answer, last) = s.w.m.killed("ADD", &pod, &conf, point);
        println!("ADD killed at {last:?}, {:?}", answer.code);
        // The daemon takes it back, or a DEL does.
        if n % 2 == 0 {
            s.w.del(&pod);
        }
        s.assert_free(&format!("ADD killed at {point}"));
    }
    s.w.m.node.add(&pod, &conf).ok();
    daemon.kill();
    // Without the daemon the plugin does it alone.
    let of_del = points(&s, "DEL", &pod, &bare);
    assert!(of_del.iter().any(|p| p == "steer.rule-removed:6"), "{of_del:?}");
    for point in of_del {
        let daemon = s.w.start();
        s.assert_free("before");
        s.w.m.node.add(&pod, &conf).ok();
        daemon.kill();
        let (answer, last) = s.w.m.killed("DEL", &pod, &bare, &point);
        println!("DEL killed at {last:?}, {:?}", answer.code);
        s.w.del(&pod);
        assert_eq!((rules().len(), contexts()), (0, 0));
    }
    let _daemon = s.w.start();
    s.assert_free("DEL killed");
}

#[test]
fn a_daemon_that_is_killed_while_it_asks_the_nic_leaves_nothing_behind() {
    let s = Steering::new();
    let annotations = wish("required", 2);
    let conf = s.w.m.node.conf(json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}}));
    for point in ["steer.context-made:1", "steer.rule-made:1", "steer.rule-removed:6", "prepare.written:1"] {
        let pod = s.w.m.lab.pod("pod");
        let mut daemon: Daemon<'_> = s.w.start_in("OFFRAMP_CRASH_AT", point);
        std::thread::scope(|scope| {
            let calls = scope.spawn(|| {
                // As runtimes do: error 11 is to be tried again.
                until("the ADD to succeed", || s.w.m.node.add(&pod, &conf).code == Some(0));
                s.w.del(&pod);
            });
            until("the daemon to die", || daemon.has_ended());
            let second = s.w.start();
            calls.join().unwrap_or_else(|_| panic!("offrampd was killed at {point}"));
            s.w.del(&pod);
            s.assert_free(&format!("offrampd killed at {point}"));
            second.kill();
        });
        daemon.kill();
    }
}
