//! Delegated IPAM plugins: the reference ones, and one that does what a test wants of it.

use crate::node_and_pod;
use offramp_tests::{Lab, Node, Pod, assert_same, over, traffic, until};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A plugin `fake` that notes its calls and answers from files.
struct Fake(PathBuf);

const SCRIPT: &str = r#"#!/bin/sh
cd "${0%/*}" || exit 1
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME netns=$CNI_NETNS args=$CNI_ARGS path=$CNI_PATH" >> calls
cat > "stdin-$CNI_COMMAND"
[ -f "before-$CNI_COMMAND" ] && . "./before-$CNI_COMMAND"
[ -f "answer-$CNI_COMMAND" ] && cat "answer-$CNI_COMMAND"
[ -f "fails-$CNI_COMMAND" ] && exit 1
exit 0
"#;

impl Fake {
    fn new(node: &Node) -> Self {
        let dir = node.dir().join("bin");
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("fake");
        std::fs::write(&path, SCRIPT).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let fake = Self(dir);
        fake.answers(
            "ADD",
            &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.66.0.5/24", "gateway": "10.66.0.1"}]}),
        );
        fake
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn answers(&self, verb: &str, json: &Value) {
        self.write(&format!("answer-{verb}"), json.to_string());
    }

    fn fails(&self, verb: &str, code: u32, msg: &str) {
        self.answers(
            verb,
            &json!({"cniVersion": "1.1.0", "code": code, "msg": msg, "details": "its details"}),
        );
        self.write(&format!("fails-{verb}"), "");
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn verbs(&self) -> Vec<String> {
        self.calls().iter().map(|c| c.split(' ').next().unwrap().to_owned()).collect()
    }

    fn stdin(&self, verb: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.0.join(format!("stdin-{verb}"))).unwrap()).unwrap()
    }

    fn dir(&self) -> &Path {
        &self.0
    }
}

/// Inline mode with this `ipam`.
fn conf(node: &Node, ipam: Value) -> Value {
    over(node.inline(json!({"ipam": null})), json!({"ipam": ipam}))
}

/// For the reference plugins of Debian 12, which do not speak 1.1.0 yet.
fn older(conf: &Value) -> Value {
    over(conf.clone(), json!({"cniVersion": "1.0.0"}))
}

fn call(node: &Node, verb: &str, pod: &Pod, fake: &Fake, conf: &Value) -> offramp_tests::Answer {
    node.call_for(verb, pod).env("CNI_PATH", fake.dir().to_str().unwrap()).config(conf).run()
}

#[test]
fn host_local_of_the_reference_plugins() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let data = node.dir().join("host-local");
    let mut conf = conf(
        &node,
        json!({"type": "host-local", "dataDir": data, "ranges": [[{"subnet": "10.55.0.0/24"}], [{"subnet": "fd55::/64"}]]}),
    );
    node.status(&conf).ok();
    let newer = conf.clone();
    conf = older(&conf);
    let result = node.add(&pod, &conf).ok();
    assert_eq!(pod.ips(), ["10.55.0.2/24", "fd55::2/64"]);
    assert!(traffic::ping(&pod, "10.55.0.1") && traffic::ping(&pod, "fd55::1"));
    assert!(data.join("pods/10.55.0.2").is_file());
    node.check(&pod, &conf, &result).ok();
    node.gc(&newer, &[&pod]).ok();
    node.del(&pod, &conf).ok();
    assert!(!data.join("pods/10.55.0.2").exists());
    for _ in 0..2 {
        node.call_for("DEL", &pod).netns("").config(&conf).run().ok();
    }
}

#[test]
fn static_of_the_reference_plugins() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let addresses = json!([{"address": "10.56.0.9/24", "gateway": "10.56.0.1"}]);
    let routes = json!([{"dst": "10.57.0.0/16"}]);
    let fixed = conf(
        &node,
        json!({"type": "static", "addresses": addresses, "routes": routes, "dns": {"nameservers": ["10.56.0.53"]}}),
    );
    let fixed = older(&fixed);
    let result = node.add(&pod, &fixed).ok();
    assert_eq!(pod.ips(), ["10.56.0.9/24"]);
    assert_eq!(result["dns"]["nameservers"], json!(["10.56.0.53"]));
    assert!(pod.ip("route show 10.57.0.0/16").contains("via 10.56.0.1"));
    node.check(&pod, &fixed, &result).ok();
    node.del(&pod, &fixed).ok();
    // CNI_ARGS are the delegate's too.
    let by_args = older(&conf(&node, json!({"type": "static"})));
    let call =
        node.call_for("ADD", &pod).args("IP=10.58.0.7/24;GATEWAY=10.58.0.1;IgnoreUnknown=1").config(&by_args);
    call.run().ok();
    assert_eq!(pod.ips(), ["10.58.0.7/24"]);
}

#[test]
fn a_delegate_gets_the_same_call() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let fake = Fake::new(&node);
    let conf = conf(&node, json!({"type": "fake", "its": ["own", "fields"]}));
    let args = "K8S_POD_NAME=a;IgnoreUnknown=1";
    let path = format!("/nowhere:{}", fake.dir().display());
    let call = |verb: &str| node.call_for(verb, &pod).env("CNI_PATH", &path).args(args).config(&conf);
    call("ADD").run().ok();
    assert_eq!(fake.stdin("ADD"), conf);
    call("DEL").run().ok();
    assert_eq!(fake.stdin("DEL")["ipam"]["its"], json!(["own", "fields"]));
    let netns = pod.path();
    let tail = format!("{} eth0 netns={} args={args} path={path}", pod.container, netns.display());
    assert_eq!(fake.calls(), [format!("ADD {tail}"), format!("DEL {tail}")]);
    // A later DEL has no record to go by; it is passed on all the same.
    call("DEL").netns("").run().ok();
    let late = format!("DEL {} eth0 netns= args={args} path={path}", pod.container);
    assert_eq!(fake.calls().last(), Some(&late));
}

#[test]
fn its_error_is_passed_on_and_its_del_is_called() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let fake = Fake::new(&node);
    let conf = conf(&node, json!({"type": "fake"}));
    let before = node.snapshot();
    fake.fails("ADD", 117, "the pool is dry");
    call(&node, "ADD", &pod, &fake, &conf).failed(117, &["fake", "the pool is dry", "its details"]);
    assert_eq!(fake.verbs()[..2], ["ADD", "DEL"]);
    assert_same(&before, &node.snapshot());
    assert_eq!(pod.link("eth0"), None);
}

#[test]
fn what_is_no_result_is_an_error_and_its_del_is_called() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let fake = Fake::new(&node);
    let conf = conf(&node, json!({"type": "fake"}));
    let before = node.snapshot();
    for (answer, code, word) in [
        ("", 6, "not JSON"),
        ("[1, 2", 6, "not JSON"),
        (r#"{"cniVersion": "1.1.0", "ips": [{"address": "10.66.0.300/24"}]}"#, 6, "10.66.0.300"),
        (r#"{"cniVersion": "9.0.0"}"#, 1, "9.0.0"),
        (r#"{"cniVersion": "1.1.0", "ips": []}"#, 7, "no address"),
    ] {
        fake.write("calls", "");
        fake.write("answer-ADD", answer);
        call(&node, "ADD", &pod, &fake, &conf).failed(code, &["fake", word]);
        let verbs = fake.verbs();
        assert!(verbs[0] == "ADD" && verbs[1..].contains(&"DEL".to_owned()), "{answer}: {verbs:?}");
        assert_same(&before, &node.snapshot());
    }
    fake.write("answer-ADD", "");
    fake.write("before-ADD", "echo what it said >&2; kill -9 $$");
    call(&node, "ADD", &pod, &fake, &conf).failed(105, &["fake", "signal: 9", "what it said"]);
    assert_same(&before, &node.snapshot());
}

#[test]
fn old_results_are_understood() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let fake = Fake::new(&node);
    fake.answers(
        "ADD",
        &json!({
            "cniVersion": "0.3.1",
            "interfaces": null,
            "ips": [{"version": "4", "address": "10.66.0.7/24"}, {"version": "6", "address": "fd66::7/64"}],
            "routes": null,
            "dns": {},
        }),
    );
    let conf = conf(&node, json!({"type": "fake"}));
    call(&node, "ADD", &pod, &fake, &conf).ok();
    assert_eq!(pod.ips(), ["10.66.0.7/24", "fd66::7/64"]);
    // No gateway was named: with isGateway it is the subnet's first address, as with the reference bridge.
    assert_eq!(node.addresses("br0"), ["10.66.0.1/24", "fd66::1/64"]);
    assert_eq!(pod.default_gateway("-6").as_deref(), Some("fd66::1"));
}

/// A plugin may leave a process behind, as `dhcp` does. It inherits no stream of ours.
#[test]
fn a_child_that_lives_on_holds_nobody() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let fake = Fake::new(&node);
    fake.write("before-ADD", "sleep 1000 & echo $! > child\n");
    let conf = conf(&node, json!({"type": "fake"}));
    call(&node, "ADD", &pod, &fake, &conf).ok();
    let child: i32 = std::fs::read_to_string(fake.dir().join("child")).unwrap().trim().parse().unwrap();
    let child = nix::unistd::Pid::from_raw(child);
    assert_eq!(nix::sys::signal::kill(child, None), Ok(()), "the child was to live on");
    nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn check_status_and_gc_are_passed_on() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let fake = Fake::new(&node);
    let conf = conf(&node, json!({"type": "fake"}));
    let path = fake.dir().to_str().unwrap();
    let result = call(&node, "ADD", &pod, &fake, &conf).ok();
    let with_result = over(conf.clone(), json!({"prevResult": result}));
    call(&node, "CHECK", &pod, &fake, &with_result).ok();
    assert_eq!(fake.stdin("CHECK")["prevResult"], result);
    fake.fails("CHECK", 118, "not mine");
    call(&node, "CHECK", &pod, &fake, &with_result).failed(118, &["fake", "not mine"]);

    let status = node.call("STATUS").env("CNI_PATH", path).config(&conf);
    status.run().ok();
    fake.fails("STATUS", 50, "no server");
    status.run().failed(50, &["fake", "no server"]);

    let valid = json!([{"containerID": pod.container, "ifname": "eth0"}]);
    let gc = over(conf.clone(), json!({"cni.dev/valid-attachments": valid}));
    let gc = node.call("GC").env("CNI_PATH", path).config(&gc);
    gc.run().ok();
    assert_eq!(fake.stdin("GC")["cni.dev/valid-attachments"], valid);
    fake.fails("GC", 119, "cannot collect");
    gc.run().failed(119, &["fake", "cannot collect"]);
    // Plugins of before CNI 1.1.0 do not know the verbs.
    fake.fails("GC", 4, "unknown CNI_COMMAND: GC");
    gc.run().ok();
    fake.fails("STATUS", 4, "unknown CNI_COMMAND: STATUS");
    status.run().ok();
}

/// STATUS has half a second in all; a delegate that is stuck makes the node not ready, not the runtime wait.
#[test]
fn status_does_not_wait_for_a_delegate_that_is_stuck() {
    let lab = Lab::new();
    let (node, _pod) = node_and_pod(&lab);
    let fake = Fake::new(&node);
    fake.write("before-STATUS", "exec sleep 1000");
    let conf = conf(&node, json!({"type": "fake"}));
    let status = node.call("STATUS").env("CNI_PATH", fake.dir().to_str().unwrap()).config(&conf);
    status.run().failed(50, &["fake", "did not answer STATUS within 400 ms"]);
}

/// The plugin's children go with it, so that none takes an address behind the back of the DEL that follows.
#[test]
fn one_that_hangs_is_killed_with_its_group_when_its_time_is_up() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let fake = Fake::new(&node);
    let conf = over(conf(&node, json!({"type": "fake"})), json!({"ipamTimeout": 1}));
    fake.write("before-ADD", "sleep 1000 & echo $! > child; wait");
    call(&node, "ADD", &pod, &fake, &conf).failed(11, &["fake", "ADD did not end within 1.0 s", "killed"]);
    let child = std::fs::read_to_string(fake.dir().join("child")).unwrap();
    let cmdline = format!("/proc/{}/cmdline", child.trim());
    until("its child is dead", || std::fs::read(&cmdline).unwrap_or_default().is_empty());

    assert_eq!(node.records(), [""; 0]);
    // What has begun may take what its own configuration says, whatever a later call's does.
    fake.write("before-ADD", "");
    call(&node, "ADD", &pod, &fake, &conf).ok();
    fake.write("before-DEL", "exec sleep 1000");
    let patient = over(conf.clone(), json!({"ipamTimeout": 180}));
    call(&node, "DEL", &pod, &fake, &patient).failed(11, &["fake", "DEL did not end within 1.0 s"]);
    fake.write("before-DEL", "");
    call(&node, "DEL", &pod, &fake, &conf).ok();
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn a_failing_del_keeps_the_record_until_it_succeeds() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let fake = Fake::new(&node);
    let conf = conf(&node, json!({"type": "fake"}));
    call(&node, "ADD", &pod, &fake, &conf).ok();
    fake.fails("DEL", 120, "the server is away");
    call(&node, "DEL", &pod, &fake, &conf).failed(120, &["fake", "the server is away"]);
    assert_eq!(node.records().len(), 1);
    assert_eq!(pod.link("eth0"), None, "the pod is detached all the same");
    std::fs::remove_file(fake.dir().join("fails-DEL")).unwrap();
    call(&node, "DEL", &pod, &fake, &conf).ok();
    assert_eq!(node.records(), [""; 0]);
}

#[test]
fn a_plugin_that_is_not_there_is_error_7() {
    let lab = Lab::new();
    let (node, pod) = node_and_pod(&lab);
    let before = node.snapshot();
    for (kind, words) in [
        ("nowhere", ["nowhere", "CNI_PATH"]),
        ("../bin/sh", ["ipam.type", "file name"]),
        (".hidden", ["ipam.type", "file name"]),
        ("", ["ipam.type", "file name"]),
    ] {
        node.add(&pod, &conf(&node, json!({"type": kind}))).failed(7, &words);
    }
    assert_same(&before, &node.snapshot());
}
