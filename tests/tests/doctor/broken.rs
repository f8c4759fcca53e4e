//! A NIC that computes wrong checksums: the daemon finds that out by packets, which need hardware that is broken
//! (`sriov_wired`). Here the doctor hears of it from a daemon's status in which it is entered by hand.

use crate::site::Site;
use offramp_core::wire::{Response, frame_header, frame_len};
use offramp_tests::doctor::Doctor;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

pub const ID: &str = "checksum-broken";

/// Answers every question by this status, as long as the test lives.
fn serve(listener: UnixListener, status: Value) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(&mut stream.unwrap(), &status);
        }
    });
}

fn answer(stream: &mut UnixStream, status: &Value) {
    let mut header = [0; 4];
    stream.read_exact(&mut header).unwrap();
    let mut question = vec![0; frame_len(header).unwrap()];
    stream.read_exact(&mut question).unwrap();
    let json = serde_json::to_vec(&Response::Status { status: status.clone() }).unwrap();
    stream.write_all(&[frame_header(json.len()).unwrap().as_slice(), &json].concat()).unwrap();
}

#[test]
fn what_probes_found_is_told_and_a_cure_is_no_fault() {
    let site = Site::new();
    let daemon = site.start();
    site.add(&site.pod);
    let mut status = daemon.ask("status");
    let kind = |is: &str| {
        let stages = json!([{"stage": "checksum", "is": is}]);
        json!({"way": "vxlan", "family": "ipv4", "device": "offramp-vxlan", "peers": 1, "stages": stages, "at": 1})
    };
    let look = |name: &str, status: &Value, with: &dyn Fn(&Doctor<'_>)| {
        let socket = site.node.dir().join(name);
        serve(UnixListener::bind(&socket).unwrap(), status.clone());
        site.rewrite_conf(json!({"paths": {"socket": socket}}));
        site.doctor(|d| with(d));
    };
    status["probes"] = json!({"kinds": [kind("faulty")], "cures": []});
    look("broken.sock", &status, &|d| {
        d.finds(&[ID], &["by offramp-vxlan: checksum left to the hardware did not arrive at any of 1 peers"]);
    });
    // What the daemon turned off it did for a reason; what somebody else did is told.
    site.node.run("ethtool -K offramp-vxlan tx-checksum-ip-generic off");
    let cure =
        json!({"device": "offramp-vxlan", "features": ["tx-checksum-ip-generic"], "why": "lost", "since": 1});
    status["probes"] = json!({"kinds": [kind("works")], "cures": [cure]});
    look("cured.sock", &status, &|d| d.finds_nothing("a cure of the daemon's"));
    status["probes"]["cures"] = json!([]);
    look("off.sock", &status, &|d| {
        d.finds(&["tunnel-offload-off"], &["offramp-vxlan: tx-checksum-ip-generic is off"])
    });
}
