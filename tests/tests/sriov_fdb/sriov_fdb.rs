//! From a VF to what is behind a bridge that its PF is a port of.

use crate::bench::{Bench, mac};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offramp_tests::{Daemon, Pod, traffic, until};
use serde_json::{Value, json};
use std::fs;

/// The bridge's own address.
const BRIDGE: &str = "02:00:00:00:00:99";

fn signal(daemon: &Daemon, signal: Signal) {
    kill(Pid::from_raw(daemon.pid() as i32), signal).unwrap();
}

#[test]
fn without_it_a_vf_does_not_reach_a_pod_and_with_it_the_first_packet_passes() {
    let bench = Bench::new("nic0");
    let before = bench.pod();
    assert!(bench.misses(&before), "this NIC passes everything: there is nothing to test");
    assert_eq!(bench.filter(), [""; 0]);

    let daemon = bench.daemon();
    assert!(bench.reaches(&before), "{:?}", bench.filter());
    bench.tell("fd88::1", BRIDGE);
    assert!(
        traffic::ping(&bench.vf, "10.88.0.1") && traffic::ping(&bench.vf, "fd88::1"),
        "the bridge itself"
    );
    assert_eq!(problems(&daemon), "");

    // The plugin does it by itself: the daemon is out of action.
    signal(&daemon, Signal::SIGSTOP);
    let inline = bench.pod();
    assert!(bench.reaches(&inline), "the first packet after the ADD was lost");
    let known = mac(&inline);
    bench.node.del(&inline, &bench.inline()).ok();
    assert!(!bench.knows(&known), "{known} is behind no bridge any more");
    signal(&daemon, Signal::SIGCONT);

    let pod = bench.lab.pod("pod");
    bench.node.add(&pod, &bench.node.conf(json!({}))).ok();
    assert!(bench.reaches(&pod), "the first packet after the ADD was lost");
    let known = mac(&pod);
    let step = json!({"step": "know-mac", "port": "nic0", "mac": known});
    let record: Value = serde_json::from_slice(&fs::read(bench.node.record(&pod)).unwrap()).unwrap();
    assert!(record["plan"]["steps"].as_array().unwrap().contains(&step), "{record}");
    bench.node.del(&pod, &bench.node.conf(json!({}))).ok();
    until("the pod's entry to go", || !bench.knows(&known));

    // Of a pod that was there before, the daemon alone knows.
    let known = mac(&before);
    bench.node.del(&before, &bench.inline()).ok();
    until("the earlier pod's entry to go", || !bench.knows(&known));
    assert_eq!(bench.filter(), [BRIDGE]);
}

#[test]
fn what_the_operators_bridge_learns_is_known_until_it_forgets() {
    let bench = Bench::new("nic0");
    let daemon = bench.daemon_beside();
    let host = bench.lab.netns("host");
    bench.node.ip(&format!("link add v0 type veth peer name eth0 netns {}", host.name()));
    bench.node.ip("link set v0 master br0");
    bench.node.ip("link set v0 up");
    host.ip("addr add 10.88.0.9/24 dev eth0");
    host.ip("link set eth0 up");
    until("the host to be known", || bench.knows(&mac(&host)));
    assert!(traffic::ping(&bench.vf, "10.88.0.9"));
    let known = mac(&host);
    bench.node.ip("link del v0");
    until("the host's entry to go", || !bench.knows(&known));
    // What is beyond the PF is not behind it.
    let vf = bench.vf.link("vf0").unwrap()["address"].as_str().unwrap().to_owned();
    assert!(bench.node.run("bridge fdb show br br0").contains(&vf) && !bench.knows(&vf));

    bench.node.ip("link set nic0 nomaster");
    until("the PF's filter to be empty", || bench.filter().is_empty());
    until("nobody to be informed", || !bench.state("bridges/br0.json").exists());
    bench.node.ip("link set nic0 master br0");
    until("the bridge to be known again", || bench.knows(BRIDGE));
    // The operator names it no more.
    drop(daemon);
    let _daemon = bench.node.daemon(json!({}));
    assert_eq!(bench.filter(), [""; 0]);
}

/// The pods' MACs in the order of their age.
fn by_age(bench: &Bench, pods: &[Pod]) -> Vec<String> {
    let mut aged: Vec<_> = pods
        .iter()
        .map(|pod| {
            let record: Value = serde_json::from_slice(&fs::read(bench.node.record(pod)).unwrap()).unwrap();
            (record["created"].as_u64().unwrap(), format!("{}@eth0", pod.container), mac(pod))
        })
        .collect();
    aged.sort();
    aged.into_iter().map(|(_, _, mac)| mac).collect()
}

/// What `offrampd status` says of embedded switches.
fn problems(daemon: &Daemon) -> String {
    let status = daemon.ask("status");
    let all = status["problems"].as_array().unwrap().iter().map(|p| p.as_str().unwrap());
    all.filter(|p| p.contains("embedded switch") || p.starts_with("eswitch")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_full_filter_is_reported_and_degrades_in_the_stated_order() {
    let bench = Bench::new("nic0");
    let daemon = bench.daemon();
    let stray = "02:00:00:00:77:01";
    bench.node.ip("link add v0 type veth peer name v1");
    bench.node.ip("link set v0 master br0");
    bench.node.run(&format!("bridge fdb add {stray} dev v0 master static"));
    until("what the bridge was told to be known", || bench.knows(stray));

    let mut pods: Vec<Pod> = (0..25).map(|_| bench.pod()).collect();
    until("the filter to be full", || problems(&daemon).contains("(12)"));
    until("the stray to give way", || !bench.knows(stray));
    let aged = by_age(&bench, &pods);
    let expected = |room: usize| aged.iter().take(room).cloned().chain([BRIDGE.to_owned()]);
    let sorted = |macs: &mut dyn Iterator<Item = String>| {
        let mut macs: Vec<String> = macs.collect();
        macs.sort();
        macs
    };
    let room = bench.filter().len() - 1;
    println!("beside the bridge, {room} of {} pods fit", pods.len());
    assert!((8..25).contains(&room));
    until("the oldest pods to be in", || {
        sorted(&mut bench.filter().into_iter()) == sorted(&mut expected(room))
    });
    let told = problems(&daemon);
    assert!(aged[room..].iter().all(|mac| told.contains(mac)) && told.contains(stray), "{told}");
    assert!(!aged[..room].iter().any(|mac| told.contains(mac)), "{told}");

    pods.sort_by_key(|pod| aged.iter().position(|m| *m == mac(pod)));
    for (rank, pod) in pods.iter().enumerate().filter(|(rank, _)| [0, room - 1, room, 24].contains(rank)) {
        assert!(if rank < room { bench.reaches(pod) } else { bench.misses(pod) }, "pod {rank} of {room}");
    }
    for pod in pods.drain(..25 - room + 1) {
        bench.node.del(&pod, &bench.inline()).ok();
    }
    until("all to be in", || problems(&daemon).is_empty());
    assert!(bench.knows(stray) && pods.iter().all(|pod| bench.knows(&mac(pod))));
    assert!(bench.reaches(pods.last().unwrap()));
}

#[test]
fn what_others_added_stays_and_what_a_dead_daemon_left_goes() {
    let bench = Bench::new("nic0");
    let [theirs, same, left, never] = [1, 2, 3, 4].map(|n| format!("02:00:00:00:55:0{n}"));
    for mac in [&theirs, &same] {
        bench.node.run(&format!("bridge fdb add {mac} dev nic0 self"));
    }
    let daemon = bench.daemon();
    let pod = bench.pod();
    // A pod whose MAC the operator had made known by hand.
    let special = bench.lab.pod("pod");
    bench.node.call_for("ADD", &special).args(&format!("MAC={same}")).config(&bench.inline()).run().ok();
    assert!(bench.reaches(&pod) && bench.reaches(&special));
    bench.node.del(&special, &bench.inline()).ok();

    daemon.kill();
    assert!(bench.knows(&mac(&pod)) && bench.reaches(&pod), "a daemon that is away changes nothing");
    // It died between its file and the filter: one address is in both, one is not in the filter yet.
    let file = bench.state("ports/nic0.json");
    let mut added: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    added["macs"].as_array_mut().unwrap().extend([json!(left), json!(never)]);
    fs::write(&file, added.to_string()).unwrap();
    bench.node.run(&format!("bridge fdb add {left} dev nic0 self"));
    let daemon = bench.daemon();
    assert!(!bench.knows(&left) && !bench.knows(&never), "{:?}", bench.filter());
    assert!(bench.knows(&mac(&pod)) && bench.reaches(&pod));

    // What somebody takes out is put in again.
    bench.node.run(&format!("bridge fdb del {} dev nic0 self", mac(&pod)));
    until("the pod to be known again", || bench.knows(&mac(&pod)));
    assert_eq!(daemon.stop().code(), Some(0));
    bench.node.del(&pod, &bench.inline()).ok();
    let daemon = bench.daemon();
    assert!(bench.knows(&theirs) && bench.knows(&same), "{:?}", bench.filter());
    bench.node.ip("link set nic0 nomaster");
    until("only the operator's to be there", || bench.filter() == [theirs.clone(), same.clone()]);
    assert_eq!(problems(&daemon), "");
}

#[test]
fn a_pf_behind_a_vlan_device_is_informed_and_vlans_of_the_bridge_are_all_passed() {
    let lab = offramp_tests::Lab::of_vm();
    let machine = lab.machine("machine");
    machine.ip("link add link nic0 name nic0.7 type vlan id 7");
    machine.ip("link set nic0 vf 0 vlan 7");
    {
        let bench = Bench::new("nic0.7");
        bench.node.ip("link set br0 type bridge vlan_filtering 1");
        let pod = bench.pod();
        assert!(bench.misses(&pod));
        let _daemon = bench.daemon();
        assert!(bench.reaches(&pod), "{:?}", bench.filter());
        let host = bench.lab.netns("host");
        bench.node.ip(&format!("link add v0 type veth peer name eth0 netns {}", host.name()));
        bench.node.ip("link set v0 master br0");
        bench.node.run("bridge vlan add dev v0 vid 30 pvid untagged");
        bench.node.run("bridge vlan del dev v0 vid 1");
        bench.node.ip("link set v0 up");
        host.ip("link set eth0 up");
        until("a MAC of another VLAN to be known", || bench.knows(&mac(&host)));
        bench.node.ip("link del v0");
    }
    machine.ip("link set nic0 vf 0 vlan 0");
    machine.ip("link del nic0.7");
}
