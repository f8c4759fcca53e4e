//! The daemon falls behind what it was asked: whoever asked has left, and the attachment is another's by then.

#[path = "faults/mod.rs"]
mod faults;

use faults::daemon_conf;
use nix::sys::signal::Signal;
use offramp_core::ids::AttachmentId;
use offramp_core::record::NetnsRef;
use offramp_core::wire::{Envelope, Prepare, Request, frame_header};
use offramp_tests::{Lab, assert_same, over, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

fn with_port(conf: Value) -> Value {
    over(conf, json!({"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}}))
}

/// The daemon hangs while it takes an attachment back; the plugin gives up on it, and does it alone. Then the same
/// attachment is made anew, and the daemon goes on.
fn a_release_stops_at(point: &str) {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let daemon = node.daemon_as(
        over(daemon_conf(), json!({"reclaim": {"interval": "1h"}, "log": {"level": "debug"}})),
        |command| {
            command.env("OFFRAMP_STOP_AT", format!("{point}:1"));
        },
    );
    let conf = node.conf(json!({}));
    let before = node.snapshot();
    node.add(&pod, &conf).ok();
    node.del(&pod, &conf).ok();
    assert_same(&before, &node.snapshot());
    let inline = node.inline(json!({"name": "inline"}));
    let result = node.add(&pod, &inline).ok();
    daemon.signal(Signal::SIGCONT);
    until("the daemon's answer", || daemon.log().contains("connection ended"));
    node.check(&pod, &inline, &result).ok();
    assert!(node.state().join("ipam/inline/10.88.0.2").exists());
    node.del(&pod, &inline).ok();
}

#[test]
fn a_release_stops_when_the_record_is_marked() {
    a_release_stops_at("detach.marked");
}

#[test]
fn a_release_stops_when_the_rules_are_removed() {
    a_release_stops_at("detach.rules-removed");
}

#[test]
fn a_release_stops_when_the_links_are_gone() {
    a_release_stops_at("detach.undone");
}

/// Who waits behind another request for its attachment, and leaves, is not served after it: by then the attachment may
/// be somebody else's.
#[test]
fn who_left_while_it_waited_is_not_served() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let trace = node.dir().join("trace");
    let _daemon = node.daemon_as(json!({"reclaim": {"interval": "1h"}}), |command| {
        command.env("OFFRAMP_CRASH_TRACE", &trace);
    });
    let passed = |point: &str| {
        let text = std::fs::read_to_string(&trace).unwrap();
        text.lines().filter(|line| line.contains(&format!(" {point}:"))).count()
    };
    let conf = with_port(node.conf(json!({})));
    node.add(&pod, &conf).ok();
    let attachment: AttachmentId = format!("{}@eth0", pod.container).parse().unwrap();
    let send = |request: Request| {
        let mut stream = UnixStream::connect(node.socket()).unwrap();
        let json = serde_json::to_vec(&Envelope::new(request)).unwrap();
        stream.write_all(&[frame_header(json.len()).unwrap().as_slice(), &json].concat()).unwrap();
        stream
    };
    // The first has marked the record and waits for the firewall's lock.
    let firewall = std::fs::File::options().write(true).open(node.state().join("locks/firewall")).unwrap();
    firewall.lock().unwrap();
    let mut first = send(Request::Release { attachment: attachment.clone() });
    until("the first to be at work", || passed("detach.marked") == 1);
    let [received, answered, planned] = ["request.received", "answer.ready", "prepare.written"].map(passed);
    let state = std::fs::metadata(node.state()).unwrap();
    let second = send(Request::Prepare(Box::new(Prepare {
        state: (state.dev(), state.ino()),
        attachment,
        network: "pods".parse().unwrap(),
        netns: NetnsRef { path: pod.path(), inode: pod.inode() },
        pod: None,
        ips: Vec::new(),
        mac: None,
        host_ports: Vec::new(),
        bandwidth: Default::default(),
        device_info: None,
        annotations: None,
        runs_networks: true,
        makes_netkit: true,
        steers_queues: true,
        makes_netkit_l3: true,
        gives_addresses: true,
    })));
    until("the second to be received", || passed("request.received") == received + 1);
    // It waits for the first now, in which no point is passed; without this it would be dropped one line earlier.
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(second);
    firewall.unlock().unwrap();
    first.read_exact(&mut [0; 4]).unwrap();
    until("both to be answered", || passed("answer.ready") == answered + 2);
    assert_eq!(passed("prepare.written"), planned, "nobody waited for that plan");
    assert!(!node.record(&pod).exists());
}
