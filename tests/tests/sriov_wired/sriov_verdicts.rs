//! What NICs promise, tested on what they do. igb gets the checksums of packets inside of VXLAN wrong; the others do not.

use crate::pair::{PATIENCE, Pair};
use offramp_tests::Daemon;
use offramp_tests::traffic::{at, serve, tcp};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Waits until all that was asked has the same verdict; the daemon's knowledge then.
pub fn found(daemon: &Daemon<'_>, verdict: &str) -> Value {
    let is = |kind: &Value| kind["stages"][0]["is"] == verdict && (verdict == "faulty" || works(kind));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let probes = daemon.ask("status")["probes"].clone();
        let kinds = probes["kinds"].as_array().unwrap();
        if kinds.len() == 2 && kinds.iter().all(is) {
            return probes;
        }
        assert!(Instant::now() < deadline, "not found to be {verdict}: {probes}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn works(kind: &Value) -> bool {
    kind["stages"].as_array().unwrap().iter().all(|stage| stage["is"] == "works")
}

fn checksums_offloaded(pair: &Pair) -> bool {
    pair.node.run("ethtool -k offramp-vxlan").contains("tx-checksum-ip-generic: on")
}

#[test]
fn igb_breaks_its_promise_and_the_nodes_mend_it() {
    let pair = Pair::new("probe-igb", "nic0");
    let there = [format!("10.244.{}.1", pair.other()), format!("fd00:244:{}::1", pair.other())];
    serve(&pair.node, "node", 90);

    let daemon =
        pair.daemon(json!({"overlay": {"mode": "vxlan"}, "offloads": {"probe": true, "cure": "none"}}));
    found(&daemon, "faulty");
    assert!(checksums_offloaded(&pair));
    let error = tcp(&pair.node, at(&there[0], 90)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    pair.meet("it stalls");
    daemon.stop();

    let daemon = pair.daemon(json!({"overlay": {"mode": "vxlan"}, "offloads": {"probe": true}}));
    let probes = found(&daemon, "works");
    assert_eq!(probes["cures"][0]["features"], json!(["tx-checksum-ip-generic"]), "{probes}");
    assert_eq!(probes["cures"].as_array().unwrap().len(), 1, "{probes}");
    pair.meet("both are cured");
    for ip in &there {
        assert!(tcp(&pair.node, at(ip, 90)).unwrap().starts_with("node "));
    }
    assert_eq!(daemon.ask("status")["problems"], json!([]));
    pair.meet("end");
}

#[test]
fn sound_nics_are_left_alone() {
    // e1000e, vmxnet3, virtio
    for nic in ["nic2", "nic3", "nic4"] {
        let pair = Pair::new(nic, nic);
        let daemon = pair.daemon(json!({"overlay": {"mode": "vxlan"}, "offloads": {"probe": true}}));
        let probes = found(&daemon, "works");
        assert_eq!(probes["cures"], json!([]), "{nic}");
        assert!(checksums_offloaded(&pair));
        assert_eq!(daemon.ask("status")["problems"], json!([]));
        pair.meet("end");
        pair.node.ip(&format!("link set {nic} down"));
    }
}
