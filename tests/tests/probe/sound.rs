//! Where nothing is wrong, nothing is turned off; what cannot be told is unknown, and has its reason.

use crate::nodes::{Nodes, VXLAN_WORKS, found, offloads, verdicts};
use offramp_tests::{Lab, until};
use serde_json::json;

#[test]
fn a_sound_wire_is_found_sound_by_every_kind_of_path() {
    let lab = Lab::new();
    let nodes = Nodes::new(&lab);
    nodes.bridge();
    let (first, second) = (nodes.daemon(1, json!({})), nodes.daemon(2, json!({})));
    until("both have found out", || found(&first) == VXLAN_WORKS && found(&second) == VXLAN_WORKS);
    for (daemon, node) in [(&first, &nodes.all[0]), (&second, &nodes.all[1])] {
        let status = daemon.ask("status");
        assert_eq!((&status["probes"]["cures"], &status["problems"]), (&json!([]), &json!([])));
        assert!(offloads(node));
    }
    first.stop();
    let direct = nodes.daemon(1, json!({"overlay": {"mode": "auto"}}));
    second.stop();
    let _other = nodes.daemon(2, json!({"overlay": {"mode": "auto"}}));
    let works = "direct ipv4: works works works\ndirect ipv6: works works works";
    until("direct routes are found sound", || found(&direct) == works);
    assert_eq!(verdicts(&direct.ask("probe")), works);
}

#[test]
fn where_there_is_nothing_to_test_it_is_said_why() {
    let lab = Lab::new();
    let nodes = Nodes::new(&lab);
    nodes.bridge();
    let nobodys = nodes.daemon(1, json!({"overlay": {"mode": "none"}}));
    until("it has looked", || nobodys.ask("probe")["idle"].to_string().contains("overlay.mode is none"));
    nobodys.stop();
    let alone = nodes.daemon(1, json!({"cluster": {"peersFile": null}}));
    until("it knows nobody", || alone.ask("probe")["idle"] == "no peer is known");
    nodes.all[0].ip("link del eth0");
    until("its uplink is gone", || alone.ask("probe")["idle"] == "no uplink was found");
    alone.stop();
    let silent = nodes.daemon(1, json!({"offloads": {"probe": false}}));
    // To probe is refused; what a former daemon turned off is put back all the same.
    assert_eq!(silent.ask("probe --undo")["idle"], "this node does not probe: offloads.probe is false");
}

#[test]
fn segments_larger_than_a_quarter_of_what_a_connection_may_carry_are_sound_too() {
    let lab = Lab::new();
    let nodes = Nodes::new(&lab);
    nodes.bridge();
    nodes.mtu(32_768);
    let (first, second) = (nodes.daemon(1, json!({})), nodes.daemon(2, json!({})));
    until("both have found out", || found(&first) == VXLAN_WORKS && found(&second) == VXLAN_WORKS);
    assert_eq!(nodes.all[0].link("offramp-vxlan").unwrap()["mtu"], 32_768 - 50);
    // A verdict of before the peer was there is not what counts.
    assert_eq!(verdicts(&first.ask("probe")), VXLAN_WORKS);
}

#[test]
fn who_does_not_answer_is_no_fault() {
    let lab = Lab::new();
    let nodes = Nodes::new(&lab);
    nodes.bridge();
    let asks = nodes.daemon(1, json!({}));
    let silent = nodes.daemon(2, json!({"offloads": {"probe": false}}));
    let unknown = "vxlan ipv4: unknown unknown unknown\nvxlan ipv6: unknown unknown unknown";
    until("its port is found closed", || {
        let probes = asks.ask("probe");
        verdicts(&probes) == unknown && probes.to_string().contains("nobody answers at its port")
    });
    silent.stop();
    // A filter drops the port of one that does answer.
    let answers = nodes.daemon(2, json!({}));
    for line in [
        "add table inet filter",
        "add chain inet filter input { type filter hook input priority 0; }",
        "add rule inet filter input meta l4proto { tcp, udp } th dport 9811 drop",
    ] {
        nodes.all[1].run(&format!("nft {line}"));
    }
    let probes = asks.ask("probe");
    assert_eq!(verdicts(&probes), unknown);
    assert!(probes.to_string().contains("no answer"), "{probes}");
    // What is unknown is asked again by itself.
    nodes.all[1].run("nft delete table inet filter");
    until("the filter is gone", || found(&asks) == VXLAN_WORKS);
    assert!(offloads(&nodes.all[0]));
    assert_eq!(asks.ask("status")["problems"], json!([]));
    drop(answers);
}
