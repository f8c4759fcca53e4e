//! Calls as a real runtime made them (`tests/recordings`), made to Offramp: in order, with the plugin's type and
//! network swapped for ours.

use offramp_tests::{Answer, Lab, Netns, Node, assert_same, over, traffic};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// What is changed in a recorded configuration.
type Swap<'a> = dyn Fn(&Node, Value) -> Value + 'a;

/// The recorded calls of a runtime, and the namespaces that stand for its sandboxes'.
struct Replay<'a> {
    calls: BTreeMap<String, Value>,
    sandboxes: BTreeMap<String, Netns>,
    swap: &'a Swap<'a>,
}

impl<'a> Replay<'a> {
    fn new(lab: &Lab, swap: &'a Swap<'a>) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/containerd-2.1.9");
        let mut replay = Self { calls: BTreeMap::new(), sandboxes: BTreeMap::new(), swap };
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let Some(name) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".json") else {
                continue;
            };
            let call: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let netns = call["env"]["CNI_NETNS"].as_str().unwrap().to_owned();
            if !netns.is_empty() {
                replay.sandboxes.entry(netns).or_insert_with(|| lab.netns("sandbox"));
            }
            replay.calls.insert(name.to_owned(), call);
        }
        replay
    }

    fn sandbox(&self, call: &str) -> &Netns {
        &self.sandboxes[self.calls[call]["env"]["CNI_NETNS"].as_str().unwrap()]
    }

    /// Makes a recorded call with `change`d stdin; the answer is as it comes.
    fn make(&self, node: &Node, name: &str, change: impl Fn(Value) -> Value) -> Answer {
        let mut text = self.calls[name].to_string();
        for (recorded, real) in &self.sandboxes {
            text = text.replace(recorded, real.path().to_str().unwrap());
        }
        let recorded: Value = serde_json::from_str(&text).unwrap();
        let env = recorded["env"].as_object().unwrap();
        let call = node.call(env["CNI_COMMAND"].as_str().unwrap());
        let call = env.iter().fold(call, |call, (key, value)| call.env(key, value.as_str().unwrap()));
        call.config(&change((self.swap)(node, recorded["stdin"].clone()))).run()
    }

    /// Makes a call and expects it to end as it did; returns its result.
    fn call(&self, node: &Node, name: &str) -> Value {
        let result = self.make(node, name, |stdin| stdin).ok();
        assert_eq!(self.calls[name]["exit"], 0);
        let recorded = self.calls[name]["stdout"].as_str().unwrap();
        if recorded.is_empty() {
            assert_eq!(result, Value::Null, "{name}");
        } else {
            let recorded: Value = serde_json::from_str(recorded).unwrap();
            assert_eq!(result["cniVersion"], recorded["cniVersion"]);
            assert_eq!(result["interfaces"][2]["name"], "eth0");
            let gateways = |r: &Value| {
                r["ips"].as_array().unwrap().iter().map(|ip| ip["gateway"].clone()).collect::<Vec<_>>()
            };
            assert_eq!(gateways(&result), gateways(&recorded), "{name}");
        }
        result
    }
}

const FULL: &str = "02-add-full";
const PLAIN: &str = "03-add-plain";

/// The pods live and die until the node reboots.
fn before_the_reboot(lab: &Lab, node: &Node, replay: &Replay) {
    let outside = lab.netns("outside");
    node.uplink(&outside);
    traffic::serve(replay.sandbox(FULL), "full", 80);
    traffic::serve(replay.sandbox(FULL), "full", 53);
    let empty = node.snapshot();
    replay.call(node, "01-status");
    let full = replay.call(node, FULL);
    assert_eq!(full["ips"][0]["address"], "10.244.0.2/24");
    assert_eq!(full["ips"][1]["address"], "fd00:10:244::2/64");
    let dns = json!({"nameservers": ["10.96.0.10"], "search": ["x.local"], "options": ["ndots:2"]});
    assert_eq!(full["dns"], dns);
    let host = full["interfaces"][1]["name"].as_str().unwrap();
    assert!(node.run(&format!("tc qdisc show dev {host}")).contains("tbf"), "the pod's ingress is limited");
    for ip in ["198.51.100.1", "2001:db8:51::1"] {
        let answer = traffic::tcp(&outside, traffic::at(ip, 8080)).unwrap();
        assert!(answer.starts_with("full "), "{answer}");
    }
    assert!(traffic::udp(node, traffic::at("127.0.0.1", 5353)).unwrap().starts_with("full "));

    let with_full = node.snapshot();
    let plain = replay.call(node, PLAIN);
    assert_eq!(plain["ips"][0]["address"], "10.244.0.3/24");
    assert!(traffic::ping(replay.sandbox(PLAIN), "10.244.0.2"));
    assert!(traffic::ping(replay.sandbox(PLAIN), "fd00:10:244::2"));
    let both = node.snapshot();
    assert_ne!(with_full, both);

    replay.call(node, "04-del-full");
    replay.sandbox(FULL).delete();
    let only_plain = node.snapshot();
    assert_eq!(node.records().len(), 1);
    for late in ["05-del-full", "06-del-full"] {
        replay.call(node, late);
        assert_same(&only_plain, &node.snapshot());
    }
    assert!(traffic::tcp(&outside, traffic::at("198.51.100.1", 8080)).is_err());
    assert!(traffic::ping(replay.sandbox(PLAIN), "10.244.0.1"));
    let container = replay.calls[PLAIN]["env"]["CNI_CONTAINERID"].as_str().unwrap();
    assert_eq!(node.records(), [format!("{container}@eth0.json")]);
    assert_ne!(empty, only_plain);
}

/// On a node that remembers nothing, as its state was in a tmpfs.
fn after_the_reboot(node: &Node, replay: &Replay) {
    let before = node.snapshot();
    replay.call(node, "07-del-plain");
    assert_same(&before, &node.snapshot());
    replay.call(node, "08-add-plain");
    assert!(traffic::ping(replay.sandbox("08-add-plain"), "fd00:10:244::1"));
    replay.call(node, "09-del-plain");
    assert_same(&before, &node.snapshot());
    replay.call(node, "10-del-plain");
    assert_same(&before, &node.snapshot());
}

#[test]
fn containerd_in_inline_mode() {
    let lab = Lab::new();
    let swap = |node: &Node, stdin: Value| {
        over(stdin, json!({"type": "offramp", "stateDir": node.state(), "ipam": {"type": "offramp"}}))
    };
    let replay = Replay::new(&lab, &swap);
    before_the_reboot(&lab, &lab.node("node"), &replay);
    after_the_reboot(&lab.node("rebooted"), &replay);
}

/// The recorded pod asks for a second interface, which is refused by name; without that it is served.
#[test]
fn containerd_in_node_mode() {
    const INTERFACES: &str = "offramp.dev/interfaces";
    let lab = Lab::new();
    let network = |node: &Node, stdin: Value| {
        let inline =
            ["bridge", "hairpinMode", "ipMasq", "ipam", "isGateway"].map(|k| (k.to_owned(), Value::Null));
        let stdin = over(stdin, Value::Object(inline.into_iter().collect()));
        over(stdin, json!({"type": "offramp", "stateDir": node.state()}))
    };
    let swap = |node: &Node, mut stdin: Value| {
        let annotations = stdin.pointer_mut("/runtimeConfig/io.kubernetes.cri.pod-annotations");
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.remove(INTERFACES);
        }
        network(node, stdin)
    };
    let pods = json!({"cluster": {"podCIDRs": ["10.244.0.0/24", "fd00:10:244::/64"]}});
    let node = lab.node("node");
    let _daemon = node.daemon(pods.clone());
    let unchanged = Replay::new(&lab, &network);
    let before = node.snapshot();
    unchanged.make(&node, FULL, |stdin| stdin).failed(106, &["net1", "this node has no pool"]);
    unchanged.call(&node, "04-del-full");
    assert_same(&before, &node.snapshot());

    let replay = Replay::new(&lab, &swap);
    before_the_reboot(&lab, &node, &replay);
    let rebooted = lab.node("rebooted");
    let _daemon = rebooted.daemon(pods);
    after_the_reboot(&rebooted, &replay);
}
