//! netkit pairs: what only they have. That pods on them are as pods on veths is for all other tests, which run with either
//! (`OFFRAMP_TEST_PATH`). Kernels without netkit say SKIP here: `hack/vm -- hack/lab TEST_BINARY netkit`.

use crate::lab::{self, BRIDGE, Pod, apply, attempt, ip, json, plan_of, run, spec, undo};
use offramp_core::pair::{Chosen, Pair};
use offramp_core::spec::Spec;
use offramp_kernel::netkit;
use offramp_kernel::netlink::Socket;

/// False if the kernel has none. `OFFRAMP_MUST_RUN=netkit` makes that a failure.
fn kernel_has_netkit(test: &str) -> bool {
    lab::enter();
    let lacking = netkit::lacking(&mut Socket::open().unwrap()).unwrap();
    let must = std::env::var("OFFRAMP_MUST_RUN").is_ok_and(|l| l.split(',').any(|word| word == "netkit"));
    let Some(why) = lacking else { return true };
    assert!(!must, "{why}");
    // The word of who makes one is the same.
    let (can, told) = attempt("ip link add probe0 type netkit mode l2");
    assert!(!can && why.starts_with("this kernel has no netkit ("), "{why}, {told}");
    println!("SKIP {test}: {why}");
    false
}

fn with_queues(n: u8, rx_queues: u32) -> Spec {
    Spec { pair: Chosen { pair: Pair::Netkit { rx_queues }, why: None }, ..spec(n) }
}

#[test]
fn asking_for_netkit_leaves_nothing() {
    if !kernel_has_netkit("asking_for_netkit_leaves_nothing") {
        return;
    }
    assert_eq!(ip("link show type netkit"), serde_json::json!([]));
}

#[test]
fn all_that_a_pair_is_was_asked_for() {
    if !kernel_has_netkit("all_that_a_pair_is_was_asked_for") {
        return;
    }
    let (pod, wanted) = (Pod::new(), with_queues(2, 4));
    let plan = plan_of(2, &wanted);
    apply(&mut pod.executor(), &plan.steps).unwrap();
    let ends = [
        (json(&format!("ip -d -j link show {}", wanted.host_ifname)), wanted.host_mac, "primary", 1),
        (pod.ip("-d link show eth0"), wanted.mac, "peer", 4),
    ];
    for (link, mac, role, rx_queues) in ends {
        let (link, data) = (&link[0], &link[0]["linkinfo"]["info_data"]);
        assert_eq!((&data["mode"], &data["type"]), (&"l2".into(), &role.into()), "{link}");
        for key in ["policy", "peer_policy"] {
            assert_eq!(data[key], "forward", "{link}");
        }
        // Kernels before 6.13, and iproute2 of that time, do not tell.
        for key in ["scrub", "peer_scrub"] {
            assert!(data[key].is_null() || data[key] == "default", "{link}");
        }
        assert_eq!((&link["address"], &link["num_rx_queues"]), (&mac.to_string().into(), &rx_queues.into()));
        assert_eq!((&link["num_tx_queues"], &link["operstate"]), (&1.into(), &"UP".into()), "{link}");
        assert!(!link["flags"].to_string().contains("NOARP"), "{link}");
    }
    assert_eq!(ip(&format!("link show {}", wanted.host_ifname))[0]["master"], BRIDGE);
    undo(&mut pod.executor(), &plan.steps);
    assert_eq!(ip("link show type netkit"), serde_json::json!([]));
}

#[test]
fn pods_on_both_kinds_of_pairs_reach_each_other_and_the_node() {
    if !kernel_has_netkit("pods_on_both_kinds_of_pairs_reach_each_other_and_the_node") {
        return;
    }
    let pods = [(2, Pair::Veth), (3, Pair::Netkit { rx_queues: 1 })].map(|(n, pair)| {
        let pod = Pod::new();
        let wanted = Spec { pair: Chosen { pair, why: None }, ..spec(n) };
        apply(&mut pod.executor(), &plan_of(n, &wanted).steps).unwrap();
        pod
    });
    for (pod, others) in
        [(&pods[0], ["10.88.0.1", "10.88.0.3", "fd88::3"]), (&pods[1], ["10.88.0.1", "10.88.0.2", "fd88::2"])]
    {
        for other in others {
            run(&format!("ip netns exec {} ping -q -c 1 -W 5 {other}", pod.name));
        }
    }
}
