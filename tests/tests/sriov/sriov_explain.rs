//! What VFs moved: proof by counters that a pod's bytes went by its VF, and what nobody can prove.

use crate::lab::{netdev, pci, run, state};
use crate::sriov_node::{Wired, ips, pool, reach, required};
use offramp_tests::{Daemon, Pod, binary, traffic, until};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
const SENT: u64 = 4 * MIB;

fn explained(daemon: &Daemon, pod: &Pod) -> Value {
    daemon.ask(&format!("explain {}@eth0", pod.container))[0].clone()
}

/// As people see it.
fn text(w: &Wired, pod: &Pod) -> String {
    let mut command = w.m.node.command(binary("offrampd"));
    let output =
        command.args(["explain", &pod.container, "--socket"]).arg(w.m.node.socket()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    text
}

/// The sum of a metric's series that have these labels.
fn scraped(name: &str, labels: &str) -> u64 {
    let text = run("curl -s http://127.0.0.1:19470/metrics");
    let mine = text.lines().filter(|l| l.starts_with(&format!("{name}{{")) && l.contains(labels));
    mine.map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn http() -> Value {
    json!({"http": {"address": "127.0.0.1:19470"}})
}

#[test]
fn bytes_of_vfs_are_proven_and_stay_counted() {
    let w = Wired::new();
    let before = [0, 1].map(state);
    let daemon = w.start_with(http());
    let [a, b, beside, fallback] = ["a", "b", "beside", "fallback"].map(|n| w.m.lab.pod(n));
    w.add(&a, "default", required()).ok();
    let b_ips = ips(&w.add(&b, "default", required()).ok());
    let beside_ips = ips(&w.add(&beside, "default", json!({})).ok());
    reach(&a, &b_ips);
    reach(&a, &beside_ips);
    assert_eq!(traffic::bulk(&a, &b, &b_ips[0], 7000, SENT), SENT);

    let (of_a, of_b) = (explained(&daemon, &a), explained(&daemon, &b));
    let moved = |of: &Value, direction: &str| of["traffic"][0]["bytes"][direction].as_u64().unwrap();
    for (bytes, what) in [(moved(&of_a, "tx"), "sent"), (moved(&of_b, "rx"), "received")] {
        assert!((SENT..SENT + SENT / 5).contains(&bytes), "{what} {bytes}");
    }
    for of in [&of_a, &of_b] {
        for part in ["byVf", "cpu", "undivided"] {
            assert_eq!(of["share"][part], json!(0), "{part}: {of}");
        }
        assert_eq!(of["share"]["routed"].as_u64().unwrap(), moved(of, "rx") + moved(of, "tx"));
    }
    let told = text(&w, &a);
    for words in [
        "offload: required",
        "VF 0 of nic0",
        "all by the VF to the node, whose CPU routes it on",
        "Share       100% of 4",
        " went by the VF to the node, whose CPU routed it",
        "Queues ",
    ] {
        assert!(told.contains(words), "{words} is not in it");
    }

    // Nobody is left but one: what was asked, what was in the way of it, and the way that was taken.
    let third = w.m.lab.pod("third");
    w.add(&third, "default", required()).ok();
    w.add(&fallback, "default", json!({"offramp.dev/offload": "preferred", "offramp.dev/pool": "fast"})).ok();
    reach(&fallback, &beside_ips);
    let told = text(&w, &fallback);
    for words in
        ["offload: preferred", "pool: fast", "Path        veth: ", "3 lent", "all over the node's CPU"]
    {
        assert!(told.contains(words), "{words} is not in it");
    }

    let by_vf = || scraped("offramp_pod_bytes_total", "path=\"vf\",direction=\"sent\"");
    let by_pf = || scraped("offramp_vf_bytes_total", "pf=\"nic0\",direction=\"sent\"");
    until("what VFs sent", || by_vf() >= SENT && by_pf() >= SENT);
    assert_eq!(traffic::bulk(&a, &b, &b_ips[0], 7001, SENT), SENT);
    [&a, &b, &third, &fallback, &beside].into_iter().for_each(|pod| w.del(pod));
    [0, 1].into_iter().for_each(|i| w.m.assert_vf_free(i, &before[i]));
    until("both rounds", || by_vf() >= 2 * SENT);
    assert!(by_vf() < 3 * SENT, "{}", by_vf());
    // The next pod's bytes are added; the VF's own counters began anew.
    let next = w.m.lab.pod("next");
    let sent = by_vf();
    w.add(&next, "default", required()).ok();
    until("a look", || scraped("offramp_pod_interfaces", "counters=\"read\"") == 1);
    assert!((sent..sent + MIB).contains(&by_vf()));
    w.del(&next);
    w.m.assert_vf_free(0, &before[0]);
}

/// The PF's driver counts nothing of its VFs, and the kernel answers zeros for it: that is not "nothing was moved".
#[test]
fn what_userspace_moved_nobody_knows() {
    let mode = json!({"mode": "vfio", "policy": {"vlans": ["100-199"]}});
    let w = Wired::with_pools(json!([pool("user", "3", mode)]));
    run("modprobe vfio-pci");
    assert!(!netdev(3).is_empty());
    let before = state(3);
    let daemon = w.start_with(http());
    let pod = w.m.lab.pod("pod");
    w.add(&pod, "default", json!({"offramp.dev/interfaces": "- {name: net1, pool: user}"})).ok();
    let traffic = explained(&daemon, &pod)["traffic"].clone();
    let net1 = traffic.as_array().unwrap().iter().find(|t| t["name"] == "net1").unwrap().clone();
    assert_eq!((&net1["is"], &net1["path"]), (&json!("unknown"), &json!("vf-userspace")), "{traffic}");
    assert!(net1["why"].as_str().unwrap().contains("nic0 counts nothing of its VFs"), "{net1}");
    let told = text(&w, &pod);
    assert!(told.contains("what is unknown above is not in it") && told.contains(&pci(3)), "{told}");
    until("the metric", || {
        scraped("offramp_pod_interfaces", "path=\"vf-userspace\",counters=\"unknown\"") == 1
    });
    w.del(&pod);
    w.m.assert_vf_free(3, &before);
}
