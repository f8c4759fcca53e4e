//! Whatever is broken, one look restores; what is not ours is left alone.

use crate::lab::*;
use offramp_core::overlay::{Mode, tunnel_mac};

/// All state of node `n` that the overlay has made, as the tools print it. Indexes and counters are left out.
fn state(n: u8) -> String {
    let link = ip(&format!("-n n{n} -d link show {DEVICE}"));
    let link: Vec<_> = link.split_whitespace().skip(1).collect();
    let mut all = vec![link.join(" ")];
    for command in [
        format!("ip -n n{n} route show proto 213"),
        format!("ip -n n{n} -6 route show proto 213"),
        format!("ip -n n{n} neigh show dev {DEVICE} nud permanent"),
        format!("ip -n n{n} -6 neigh show dev {DEVICE} nud permanent"),
        format!("bridge -n n{n} fdb show dev {DEVICE}"),
    ] {
        let text = run(&command);
        let mut lines: Vec<_> = text.lines().map(str::trim).collect();
        lines.sort_unstable();
        all.push(lines.join("\n"));
    }
    all.join("\n")
}

/// Ways to break node 1; MAC and LL are node 2's addresses on the tunnel DEV.
const BREAKAGES: &[&str] = &[
    "ip -n n1 route del 10.244.2.0/24",
    "ip -n n1 route del 10.244.3.0/24",
    "ip -n n1 -6 route del fd44:2::/64",
    "ip -n n1 route replace 10.244.2.0/24 via 10.99.0.254 proto 213",
    "ip -n n1 -6 route replace fd44:2::/64 via fd99::fe proto 213",
    "ip -n n1 route change 10.244.2.0/24 via 10.244.2.0 dev DEV onlink proto 213 mtu 1300",
    "ip -n n1 route add 10.244.9.0/24 via 10.99.0.254 proto 213",
    "ip -n n1 route add 10.244.9.0/24 via 10.99.0.254 proto 213 table 9 metric 7",
    "ip -n n1 route add blackhole 10.244.9.0/24 proto 213",
    "ip -n n1 -6 route add unreachable fd44:9::/64 proto 213 metric 5",
    "ip -n n1 -6 route append fd44:2::/64 via fd99::fe proto 213",
    "ip -n n1 neigh del 10.244.2.0 dev DEV",
    "ip -n n1 neigh del LL dev DEV",
    "ip -n n1 neigh replace 10.244.2.0 lladdr 02:00:00:00:00:99 dev DEV nud permanent",
    "ip -n n1 neigh replace LL lladdr 02:00:00:00:00:99 dev DEV nud stale",
    "ip -n n1 neigh add 10.244.9.9 lladdr 02:00:00:00:00:99 dev DEV nud permanent",
    "bridge -n n1 fdb del MAC dev DEV",
    "bridge -n n1 fdb replace MAC dev DEV dst 10.99.0.77",
    "bridge -n n1 fdb replace MAC dev DEV dst 10.99.0.2 port 9999",
    "bridge -n n1 fdb add 02:00:00:00:00:99 dev DEV dst 10.99.0.77",
    "bridge -n n1 fdb append 00:00:00:00:00:00 dev DEV dst 10.99.0.77",
    "ip -n n1 link set DEV down",
    "ip -n n1 link del DEV",
    "ip -n n1 link set DEV mtu 1280",
    "ip -n n1 link set DEV address 02:00:00:00:00:99",
    "ip -n n1 link set DEV type vxlan learning",
    "ip -n n1 link set DEV type vxlan local 10.99.0.9 ttl 3",
    "ip -n n1 addr flush dev eth0 scope global",
    "ip -n n1 link set eth0 down",
];

/// Ways to put another device into the tunnel's place.
const IMPOSTORS: &[&str] = &[
    "type vxlan id 77 dstport 8472 local 10.99.0.1 dev eth0 nolearning",
    "type vxlan id 78 dstport 4789 local 10.99.0.1 dev eth0 nolearning",
    "type vxlan id 77 dstport 4789 local fd99::1 dev eth0 nolearning",
    "type vxlan id 77 dstport 4789 group 239.1.1.1 dev eth0",
    "type vxlan id 77 dstport 4789 local 10.99.0.1 dev eth0 nolearning gbp",
    "type vxlan dstport 4789 external",
    "type vxlan id 77 dstport 4789 local 10.99.0.1 dev eth0 noudpcsum",
    "type vxlan id 77 dstport 4789 local 10.99.0.1",
];

fn broken_by(command: &str) {
    let mac = tunnel_mac(&"n2".parse().unwrap());
    let command = command.replace("DEV", DEVICE).replace("MAC", &mac.to_string());
    run(&command.replace("LL", &mac.link_local().to_string()));
}

/// The underlay as it was: what the node itself does not repair.
fn heal_underlay() {
    ip("-n n1 link set eth0 up");
    ip("-n n1 addr replace 10.99.0.1/24 dev eth0");
    ip("-n n1 addr replace fd99::1/64 dev eth0 nodad");
    ip("-n n1 route replace default via 10.99.0.254");
    ip("-n n1 -6 route replace default via fd99::fe");
}

#[test]
fn one_look_restores_a_tunnel() {
    let lab = Lab::new(Mode::Vxlan);
    lab.converge();
    let good = state(1);
    for command in BREAKAGES {
        broken_by(command);
        heal_underlay();
        let report = lab.settle(1, &peers_of(1));
        assert!(report.changes.count > 0 || command.contains("eth0"), "{command}: nothing was noticed");
        assert_eq!(state(1), good, "{command}");
    }
    all_reach(&[1, 2, 3]);
}

#[test]
fn one_look_restores_direct_routes() {
    let lab = Lab::new(Mode::Auto);
    lab.converge();
    let good = state(1);
    for command in BREAKAGES.iter().filter(|c| c.contains("route") || c.contains("eth0")) {
        // The change is of a tunnel's route.
        if command.contains("route change") {
            continue;
        }
        broken_by(command);
        heal_underlay();
        lab.settle(1, &peers_of(1));
        assert_eq!(state(1), good, "{command}");
    }
    all_reach(&[1, 2, 3]);
}

#[test]
fn a_tunnel_device_of_other_settings_is_made_anew() {
    let lab = Lab::new(Mode::Vxlan);
    lab.converge();
    let good = state(1);
    for kind in IMPOSTORS {
        ip(&format!("-n n1 link del {DEVICE}"));
        ip(&format!("-n n1 link add {DEVICE} {kind}"));
        lab.settle(1, &peers_of(1));
        assert_eq!(state(1), good, "{kind}");
    }
    all_reach(&[1, 2]);
}

#[test]
fn an_uplink_with_another_mtu_changes_the_tunnel() {
    let lab = Lab::new(Mode::Vxlan);
    lab.converge();
    for (uplink, tunnel) in [(9000, 8950), (1400, 1350), (1500, 1450)] {
        ip(&format!("-n n1 link set eth0 mtu {uplink}"));
        lab.settle(1, &peers_of(1));
        assert!(state(1).contains(&format!("mtu {tunnel} ")), "{}", state(1));
    }
}

#[test]
fn another_mode_leaves_nothing_of_the_first() {
    let mut lab = Lab::new(Mode::Vxlan);
    lab.converge();
    lab.mode = Mode::Auto;
    lab.converge();
    all_reach(&[1, 2, 3]);
    lab.mode = Mode::Direct;
    lab.settle(1, &peers_of(1));
    assert!(!attempt(&format!("ip -n n1 link show {DEVICE}")).0);
    assert_eq!(ip("-n n1 route show proto 213").lines().count(), 1);
    lab.mode = Mode::Vxlan;
    lab.converge();
    all_reach(&[1, 2, 3]);
    lab.mode = Mode::None;
    let before = ip("-n n1 route show proto kernel");
    lab.settle(1, &peers_of(1));
    assert!(!attempt(&format!("ip -n n1 link show {DEVICE}")).0);
    assert_eq!(ip("-n n1 route show proto 213") + &ip("-n n1 -6 route show proto 213"), "");
    assert_eq!(ip("-n n1 route show proto kernel"), before.replace(DEVICE, ""));
}

#[test]
fn a_peer_that_leaves_takes_its_state_along() {
    let lab = Lab::new(Mode::Vxlan);
    lab.settle(1, &[peer(2)]);
    let with_one = state(1);
    lab.settle(1, &[peer(2), peer(3)]);
    assert_ne!(state(1), with_one);
    lab.settle(1, &[peer(2)]);
    assert_eq!(state(1), with_one);
    lab.settle(1, &[]);
    for command in ["ip -n n1 route show proto 213", "ip -n n1 -6 route show proto 213"] {
        assert_eq!(run(command), "");
    }
    assert_eq!(run(&format!("ip -n n1 neigh show dev {DEVICE} nud permanent")), "");
    assert_eq!(run(&format!("bridge -n n1 fdb show dev {DEVICE}")), "");
}

#[test]
fn what_is_not_ours_stays() {
    let lab = Lab::new(Mode::Vxlan);
    ip("-n n1 route add 10.77.0.0/16 via 10.99.0.254 proto 100");
    ip("-n n1 route add 10.244.3.0/24 via 10.99.0.254 proto static");
    ip("-n n1 -6 route add fd44:3::/64 via fd99::fe proto static");
    // All pods, whose routes are more special.
    ip("-n n1 route add 10.244.0.0/16 via 10.99.0.254 proto static");
    ip("-n n1 -6 route add fd44::/16 via fd99::fe proto static");
    ip("-n n1 neigh add 10.99.0.50 lladdr 02:00:00:00:00:50 dev eth0 nud permanent");
    let foreign = || {
        let show = |what: &str| ip(&format!("-n n1 {what}"));
        show("route show proto 100")
            + &show("route show proto static")
            + &show("-6 route show proto static")
            + &show("neigh show 10.99.0.50 dev eth0")
    };
    let before = foreign();
    let report = lab.look(1, &peers_of(1));
    let errors: Vec<_> = report.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "route 10.244.3.0/24: somebody else's route to it is there, and stays",
            "route fd44:3::/64: somebody else's route to it is there, and stays"
        ]
    );
    lab.look(1, &[]);
    assert_eq!(foreign(), before);
}

#[test]
fn a_link_of_another_kind_is_not_touched() {
    let lab = Lab::new(Mode::Auto);
    ip(&format!("-n n1 link add {DEVICE} type bridge"));
    let report = lab.look(1, &peers_of(1));
    let errors: Vec<_> = report.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [format!("link {DEVICE}: it is of kind bridge, where the overlay's VXLAN device is wanted")]
    );
    // What needs no tunnel is done.
    assert_eq!(ip("-n n1 route show proto 213").lines().count(), 1);
    let mut lab = lab;
    lab.mode = Mode::None;
    lab.settle(1, &[]);
    ip(&format!("-n n1 link show {DEVICE} type bridge"));
}

#[test]
fn without_an_uplink_everything_stays() {
    let lab = Lab::new(Mode::Vxlan);
    lab.converge();
    let good = state(1);
    ip("-n n1 route del default");
    ip("-n n1 -6 route del default");
    let report = lab.look(1, &peers_of(1));
    assert_eq!(
        report.errors[0].to_string(),
        "the uplink: there is no default route to tell it by, and node.uplink does not name it"
    );
    assert_eq!(state(1), good);
}
