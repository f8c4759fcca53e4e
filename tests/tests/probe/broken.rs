//! Where a promise is broken: found, and mended if that is possible.

use crate::cable::Cable;
use crate::decided::decided;
use crate::nodes::{Nodes, VXLAN_WORKS, found, offloads, verdicts};
use offramp_tests::traffic::{at, serve, tcp};
use offramp_tests::{Lab, Node, until};
use serde_json::{Value, json};

const FAULTY: &str = "vxlan ipv4: faulty unknown unknown\nvxlan ipv6: faulty unknown unknown";

/// A NIC that cuts nothing, so that the cable sees frames as they are on a wire.
fn cut_nothing(node: &Node) {
    let all = "tso off gso off tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off tx-udp-segmentation off";
    node.run(&format!("ethtool -K eth0 {all}"));
}

fn turned_off(status: &Value) -> Value {
    json!(
        status["probes"]["cures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| json!([c["device"], c["features"]]))
            .collect::<Vec<_>>()
    )
}

#[test]
fn wrong_checksums_in_the_tunnel_are_found_and_cured_by_the_sender() {
    let lab = Lab::new();
    let nodes = Nodes::new(&lab);
    nodes.all.iter().for_each(cut_nothing);
    let _cable = Cable::between(&nodes.wire, ["p1", "p2"]);

    let only_tell = || json!({"offloads": {"cure": "none"}});
    let (first, second) = (nodes.daemon(1, only_tell()), nodes.daemon(2, only_tell()));
    until("both find the fault", || found(&first) == FAULTY && found(&second) == FAULTY);
    let problems = first.ask("status")["problems"].to_string();
    assert!(
        problems.contains("offramp-vxlan: packets whose checksum is left to it did not arrive"),
        "{problems}"
    );
    assert!(nodes.all.iter().all(offloads), "it was told not to touch them");
    first.stop();
    second.stop();

    let (first, second) = (nodes.daemon(1, json!({})), nodes.daemon(2, json!({})));
    until("both have cured it", || found(&first) == VXLAN_WORKS && found(&second) == VXLAN_WORKS);
    let cure = json!([["offramp-vxlan", ["tx-checksum-ip-generic"]]]);
    for daemon in [&first, &second] {
        let status = daemon.ask("status");
        assert_eq!((turned_off(&status), &status["problems"]), (cure.clone(), &json!([])));
        let why = "tx-checksum-ip-generic of offramp-vxlan is off: packets whose checksum is left to it did not arrive";
        assert!(decided(&status, "vxlan", "checksums").contains(why), "{status}");
    }
    assert!(!nodes.all.iter().any(offloads));
    serve(&nodes.all[1], "n2", 80);
    assert_eq!(tcp(&nodes.all[0], at("10.244.2.1", 80)).unwrap(), "n2 10.244.1.1");

    // It outlives the daemon, and a tunnel that is made anew.
    first.kill();
    assert!(!offloads(&nodes.all[0]));
    let first = nodes.daemon(1, json!({}));
    until("it is known who turned it off", || turned_off(&first.ask("status")) == cure);
    nodes.all[0].ip("link del offramp-vxlan");
    until("the new tunnel is cured", || {
        nodes.all[0].link("offramp-vxlan").is_some() && !offloads(&nodes.all[0])
    });

    // An operator's will.
    let probes = first.ask("probe --undo");
    assert_eq!((verdicts(&probes).as_str(), &probes["cures"]), (FAULTY, &json!([])));
    assert!(offloads(&nodes.all[0]));
    assert_eq!(verdicts(&first.ask("probe")), VXLAN_WORKS);
    assert!(!offloads(&nodes.all[0]));
    first.kill();
    let first = nodes.daemon(1, only_tell());
    until("a daemon that may not touch it puts it back", || offloads(&nodes.all[0]));
    until("and says what is wrong", || found(&first) == FAULTY);
}

#[test]
fn what_does_not_help_is_put_back() {
    let lab = Lab::new();
    let nodes = Nodes::new(&lab);
    nodes.bridge();
    // Whoever computes it: an IPv4 packet with a checksum is lost.
    for line in [
        "add table inet filter",
        "add chain inet filter input { type filter hook input priority 0; }",
        "add rule inet filter input ip version 4 udp dport 9811 udp checksum != 0 drop",
    ] {
        nodes.all[1].run(&format!("nft {line}"));
    }
    let second = nodes.daemon(2, json!({}));
    let first = nodes.daemon(1, json!({"offloads": {"cure": "any"}}));
    let only_v4 = "vxlan ipv4: faulty unknown unknown\nvxlan ipv6: works works works";
    until("all was tried", || found(&first) == only_v4 && found(&second) == VXLAN_WORKS);
    let log = first.log();
    for device in ["offramp-vxlan", "eth0"] {
        let tried = |l: &str| l.contains("it does not help") && l.contains(&format!("of {device}"));
        assert!(log.lines().any(tried), "{device}");
        let features = nodes.all[0].run(&format!("ethtool -k {device}"));
        assert!(features.contains("tx-checksum-ip-generic: on"), "{features}");
    }
    let status = first.ask("status");
    assert_eq!(turned_off(&status), json!([]));
    assert!(status["problems"].to_string().contains("did not arrive (vxlan for IPv4 pods)"), "{status}");
}
