//! The socket between plugin and daemon: who may speak, and in which protocol.

use offramp_core::wire::{Envelope, PROTOCOL, Request, frame_header, frame_len};
use offramp_tests::{Lab, Node, assert_same, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

fn frame(payload: &[u8]) -> Vec<u8> {
    [frame_header(payload.len()).unwrap().as_slice(), payload].concat()
}

fn read_frame(stream: &mut UnixStream) -> Option<Value> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).ok()?;
    let mut payload = vec![0; frame_len(header).unwrap()];
    stream.read_exact(&mut payload).unwrap();
    Some(serde_json::from_slice(&payload).unwrap())
}

fn ask(node: &Node, bytes: &[u8]) -> Option<Value> {
    let mut stream = UnixStream::connect(node.socket()).unwrap();
    stream.write_all(bytes).unwrap();
    read_frame(&mut stream)
}

fn request() -> Value {
    serde_json::to_value(Envelope::new(Request::Status)).unwrap()
}

#[test]
fn another_protocol_is_refused_with_both_numbers() {
    let lab = Lab::new();
    let node = lab.node("node");
    let _daemon = node.daemon(json!({}));
    assert_eq!(ask(&node, &frame(request().to_string().as_bytes())).unwrap()["is"], "status");
    let mut newer = request();
    newer["protocol"] = 99.into();
    newer["request"] = json!({"do": "something new"});
    let answer = ask(&node, &frame(newer.to_string().as_bytes())).unwrap();
    assert_eq!((&answer["is"], &answer["error"]["code"]), (&json!("refused"), &json!(103)));
    let text = answer["error"]["msg"].as_str().unwrap();
    assert!(text.contains("99") && text.contains(&PROTOCOL.to_string()), "{text}");
}

#[test]
fn what_is_no_request_is_refused_and_the_daemon_lives() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let _daemon = node.daemon(json!({}));
    for payload in [
        b"".as_slice(),
        b"{",
        b"[]",
        b"{\"protocol\": 1}",
        b"{\"protocol\": 1, \"request\": {\"do\": \"fly\"}}",
    ] {
        let answer = ask(&node, &frame(payload)).unwrap();
        assert_eq!(answer["error"]["code"], 6, "{answer}");
    }
    let too_large = ask(&node, &[0xff; 4]).unwrap();
    assert_eq!(too_large["error"]["code"], 6, "{too_large}");
    let half = UnixStream::connect(node.socket()).unwrap();
    (&half).write_all(&[0, 0, 1]).unwrap();
    drop(half);
    node.add(&pod, &node.conf(json!({}))).ok();
}

/// Access to the files is not all: the caller's uid decides. The thread alone changes it (setresuid(2), NOTES).
#[test]
fn a_foreign_uid_is_refused() {
    const NOBODY: u32 = 65534;
    let lab = Lab::new();
    let node = lab.node("node");
    let _daemon = node.daemon(json!({}));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&node.state()), mode(&node.socket())), (0o700, 0o600));
    for path in [node.dir().to_owned(), node.state(), node.socket()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let before = node.snapshot();
    let answer = std::thread::scope(|scope| {
        let nobody = scope.spawn(|| {
            // SAFETY: three integers are passed. The raw call changes this thread only.
            let changed = unsafe { nix::libc::syscall(nix::libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            assert_eq!(changed, 0);
            let mut stream = UnixStream::connect(node.socket()).unwrap();
            // It may be refused before it has spoken.
            let _ = stream.write_all(&frame(request().to_string().as_bytes()));
            read_frame(&mut stream).unwrap()
        });
        nobody.join().unwrap()
    });
    assert_eq!(answer["error"]["code"], 4, "{answer}");
    assert!(answer["error"]["msg"].as_str().unwrap().contains("65534"), "{answer}");
    assert_same(&before, &node.snapshot());
}

#[test]
fn there_is_one_daemon_a_socket() {
    let lab = Lab::new();
    let (node, pod) = (lab.node("node"), lab.pod("pod"));
    let _first = node.daemon(json!({}));
    let mut second = node.daemon_unready(json!({}), |_| {});
    assert!(!second.wait().success());
    assert!(second.log().contains("another offrampd serves"), "{}", second.log());
    node.add(&pod, &node.conf(json!({}))).ok();
}

/// A daemon as a test wants it: answers each connection's first frame with `answer`, or with silence.
fn fake_daemon(node: &Node, answer: Option<Value>) {
    std::fs::create_dir_all(node.state()).unwrap();
    let listener = UnixListener::bind(node.socket()).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = read_frame(&mut stream);
            if let Some(answer) = &answer {
                let _ = stream.write_all(&frame(answer.to_string().as_bytes()));
            }
        }
    });
}

#[test]
fn the_plugin_understands_a_refusal_and_nothing_else() {
    let lab = Lab::new();
    for (answer, code, words) in [
        (json!({"is": "refused", "error": {"code": 103, "msg": "speak 7"}}), 103, ["speak 7", ""]),
        (json!({"is": "dancing"}), 103, ["not understood", "dancing"]),
        (json!({"is": "done"}), 103, ["Prepare", "plan"]),
        (json!("what?"), 103, ["not understood", ""]),
    ] {
        let (node, pod) = (lab.node("node"), lab.pod("pod"));
        let conf = node.conf(json!({}));
        fake_daemon(&node, Some(answer));
        let before = node.snapshot();
        node.add(&pod, &conf).failed(code, &words);
        assert_same(&before, &node.snapshot());
        assert_eq!(pod.link("eth0"), None);
        node.del(&pod, &conf).ok();
    }
}

/// STATUS must not hang on a daemon that does: a hanging STATUS is worse for a node than an error.
#[test]
fn status_does_not_wait_for_a_daemon_that_says_nothing() {
    let lab = Lab::new();
    let node = lab.node("node");
    std::fs::create_dir_all(node.state()).unwrap();
    let _listener = UnixListener::bind(node.socket()).unwrap();
    until("STATUS to give up", || {
        node.status(&node.conf(json!({}))).failed(50, &["offrampd", "no answer in time"]);
        true
    });
}
