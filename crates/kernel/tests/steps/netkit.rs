//! netkit pairs: what only they have. That pods on them are as pods on veths is for all other tests, which run with either
//! (`OFFRAMP_TEST_PATH`). Kernels without netkit say SKIP here: `hack/vm -- hack/lab TEST_BINARY netkit`.

use crate::lab::{self, BRIDGE, Pod, apply, attempt, has_link, ip, json, plan_of, run, spec, undo};
use offramp_core::cni::result::Route;
use offramp_core::firewall::NodeRules;
use offramp_core::net::Family;
use offramp_core::pair::{Chosen, Pair};
use offramp_core::plan::host_ifname_without_mac;
use offramp_core::spec::Spec;
use offramp_core::step::Step;
use offramp_core::vf::{gateway, routed_address};
use offramp_kernel::netlink::Socket;
use offramp_kernel::sysctl::Sysctl;
use offramp_kernel::{Error, netkit, nft, uplink};

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

/// A pod of node mode without a bridge, by the `turn`th ADD.
fn routed(n: u8, turn: u64) -> Spec {
    let base = spec(n);
    Spec {
        host_ifname: host_ifname_without_mac(&lab::id(n), turn),
        pair: Chosen { pair: Pair::NetkitL3, why: None },
        addresses: base.addresses.iter().map(|a| routed_address(a.ip.ip())).collect(),
        routes: Family::ALL.map(|f| Route::via(f.default_route(), Some(gateway(f)))).to_vec(),
        ..base
    }
}

fn check_sources() {
    nft::Tables::unlocked().replace(&NodeRules::default(), &[]).unwrap();
}

/// A pod on the bridge, which is that of its neighbours who are routed to.
fn bridge_pod(n: u8) -> Pod {
    let pod = Pod::new();
    let pair = Chosen { pair: Pair::Veth, why: None };
    apply(&mut pod.executor(), &plan_of(n, &Spec { pair, ..spec(n) }).steps).unwrap();
    uplink::answer_on(&Sysctl::default(), &BRIDGE.parse().unwrap()).unwrap();
    pod
}

fn routed_pod(n: u8) -> (Pod, Vec<Step>) {
    let (pod, steps) = (Pod::new(), plan_of(n, &routed(n, 1)).steps);
    apply(&mut pod.executor(), &steps).unwrap();
    (pod, steps)
}

/// Less time than the kernel takes to ask for a MAC again.
fn reaches(pod: &Pod, options: &str, to: &str) -> bool {
    attempt(&format!("ip netns exec {} ping -n -c 1 -W 0.9 {options} {to}", pod.name)).0
}

const OURS: [&str; 4] =
    ["route show proto 214", "-6 route show proto 214", "neigh show proxy", "-6 neigh show proxy"];

#[test]
fn a_routed_pair_has_no_macs_and_is_in_the_group_that_is_checked() {
    if !kernel_has_netkit("a_routed_pair_has_no_macs_and_is_in_the_group_that_is_checked") {
        return;
    }
    let _beside = bridge_pod(2);
    check_sources();
    let (pod, steps) = routed_pod(3);
    let name = routed(3, 1).host_ifname;
    let ends =
        [(json(&format!("ip -d -j link show {name}")), "214"), (pod.ip("-d link show eth0"), "default")];
    for (link, group) in ends {
        let (link, data) = (&link[0], &link[0]["linkinfo"]["info_data"]);
        assert_eq!((&data["mode"], &link["operstate"]), (&"l3".into(), &"UP".into()), "{link}");
        for key in ["policy", "peer_policy"] {
            assert_eq!(data[key], "forward", "{link}");
        }
        assert_eq!(
            (&link["address"], &link["group"]),
            (&"00:00:00:00:00:00".into(), &group.into()),
            "{link}"
        );
        assert!(link["flags"].to_string().contains("NOARP"), "{link}");
    }
    undo(&mut pod.executor(), &steps);
    assert_eq!(ip("link show type netkit"), serde_json::json!([]));
    for list in OURS {
        assert_eq!(ip(list), serde_json::json!([]), "{list}");
    }
}

#[test]
fn a_routed_pods_link_stays_down_where_nobody_checks_it() {
    if !kernel_has_netkit("a_routed_pods_link_stays_down_where_nobody_checks_it") {
        return;
    }
    let _beside = bridge_pod(2);
    let spec = routed(3, 1);
    let damages = ["true", "nft flush chain inet offramp sources", "nft delete table inet offramp"];
    for (already, damage) in damages.iter().enumerate() {
        if already > 0 {
            check_sources();
        }
        run(damage);
        let (pod, steps) = (Pod::new(), plan_of(3, &spec).steps);
        let refused = apply(&mut pod.executor(), &steps).unwrap_err();
        assert!(matches!(refused, Error::Unguarded { .. }), "{damage}: {refused}");
        let link = ip(&format!("link show {}", spec.host_ifname));
        assert!(!link[0]["flags"].to_string().contains("\"UP\""), "{damage}: {link}");
        undo(&mut pod.executor(), &steps);
        assert!(!has_link(spec.host_ifname.as_str()));
    }
}

#[test]
fn routed_pods_reach_each_other_the_bridges_pods_and_the_node() {
    if !kernel_has_netkit("routed_pods_reach_each_other_the_bridges_pods_and_the_node") {
        return;
    }
    let beside = bridge_pod(2);
    check_sources();
    let ((a, _), (b, _)) = (routed_pod(3), routed_pod(4));
    for to in ["10.88.0.1", "fd88::1", "10.88.0.2", "fd88::2", "10.88.0.4", "fd88::4"] {
        assert!(reaches(&a, "", to), "to {to}");
    }
    for to in ["10.88.0.3", "fd88::3"] {
        assert!(reaches(&beside, "", to) && reaches(&b, "", to), "to {to}");
        run(&format!("ping -n -c 1 -W 0.9 {to}"));
    }
    // One way out, and no neighbours but that.
    let entries = a.ip("neigh show nud all dev eth0");
    let others = entries.as_array().unwrap().iter().filter(|entry| {
        let ip = entry["dst"].as_str().unwrap();
        !ip.starts_with("169.254.1.1")
            && !ip.starts_with("fe80::1")
            && !ip.starts_with("ff02:")
            && !ip.starts_with("224.")
    });
    assert_eq!(others.count(), 0, "{entries}");
}

#[test]
fn a_routed_pod_has_ipv6_where_new_links_have_none() {
    if !kernel_has_netkit("a_routed_pod_has_ipv6_where_new_links_have_none") {
        return;
    }
    let _beside = bridge_pod(2);
    check_sources();
    run("sysctl -w net.ipv6.conf.default.disable_ipv6=1");
    let (a, _) = routed_pod(3);
    assert!(reaches(&a, "", "fd88::1"));
}

#[test]
fn a_routed_pod_sends_from_its_own_addresses_only() {
    if !kernel_has_netkit("a_routed_pod_sends_from_its_own_addresses_only") {
        return;
    }
    let _beside = bridge_pod(2);
    check_sources();
    let ((a, _), (b, _)) = (routed_pod(3), routed_pod(4));
    let in_b = |command: &str| run(&format!("ip netns exec {} nft {command}", b.name));
    in_b("add table inet seen");
    in_b("add chain inet seen in { type filter hook prerouting priority 0 ; }");
    for (own, other, nobodys, to) in [
        ("10.88.0.3", "10.88.0.2", "192.0.2.9", "10.88.0.4"),
        ("fd88::3", "fd88::2", "2001:db8::9", "fd88::4"),
    ] {
        for ip in [other, nobodys] {
            let nodad = if ip.contains(':') { "nodad" } else { "" };
            run(&format!("ip -n {} addr add {ip} dev eth0 {nodad}", a.name));
        }
        let family = if own.contains(':') { "ip6" } else { "ip" };
        for source in [own, other, nobodys] {
            in_b(&format!("add rule inet seen in {family} saddr {source} counter"));
        }
        assert!(reaches(&a, &format!("-I {own}"), to));
        for ip in [other, nobodys] {
            assert!(!reaches(&a, &format!("-I {ip}"), to), "{ip} got through");
        }
        let seen = in_b("list chain inet seen in");
        for (source, arrived) in [(own, "packets 1 "), (other, "packets 0 "), (nobodys, "packets 0 ")] {
            let counted = format!("{family} saddr {source} counter {arrived}");
            assert!(seen.contains(&counted), "{counted}: {seen}");
        }
    }
}

#[test]
fn a_stale_route_of_ours_gives_way_and_a_foreign_one_does_not() {
    if !kernel_has_netkit("a_stale_route_of_ours_gives_way_and_a_foreign_one_does_not") {
        return;
    }
    let beside = bridge_pod(2);
    check_sources();
    run("ip link add stale0 type dummy");
    run("ip link set stale0 up");
    for (foreign, list) in [
        ("route add 10.88.0.3 dev stale0 proto static", "route show 10.88.0.3"),
        ("-6 route add fd88::3 dev stale0 proto static", "-6 route show fd88::3"),
    ] {
        run(&format!("ip {foreign}"));
        let (before, pod, steps) = (ip(list), Pod::new(), plan_of(3, &routed(3, 1)).steps);
        let refused = apply(&mut pod.executor(), &steps).unwrap_err().to_string();
        assert!(refused.contains("is not Offramp's, but of protocol 4"), "{refused}");
        undo(&mut pod.executor(), &steps);
        assert_eq!(ip(list), before);
        run(&format!("ip {}", foreign.replace("add", "del")));
    }
    run("ip route add 10.88.0.3 dev stale0 proto 214");
    run("ip -6 route add fd88::3 dev stale0 proto 214");
    let _pod = routed_pod(3);
    assert!(reaches(&beside, "", "10.88.0.3") && reaches(&beside, "", "fd88::3"));
    assert_eq!(ip("route show dev stale0"), serde_json::json!([]));
}

/// Both are the same attachment's: the older has only its name that is another.
#[test]
fn what_is_taken_back_late_leaves_a_newer_holder_alone() {
    if !kernel_has_netkit("what_is_taken_back_late_leaves_a_newer_holder_alone") {
        return;
    }
    let beside = bridge_pod(2);
    check_sources();
    let (older, newer) = (Pod::new(), Pod::new());
    let [first, second] = [1, 2].map(|turn| plan_of(3, &routed(3, turn)).steps);
    for link_is_gone in [false, true] {
        apply(&mut older.executor(), &first).unwrap();
        if link_is_gone {
            run(&format!("ip -n {} link del eth0", older.name));
        }
        apply(&mut newer.executor(), &second).unwrap();
        undo(&mut older.executor(), &first);
        assert!(reaches(&beside, "", "10.88.0.3") && reaches(&beside, "", "fd88::3"), "{link_is_gone}");
        undo(&mut newer.executor(), &second);
        for list in OURS {
            assert_eq!(ip(list), serde_json::json!([]), "{list}");
        }
    }
}
