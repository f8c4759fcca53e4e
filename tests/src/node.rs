//! A node: a namespace, a state directory, and a daemon if the test starts one.

use crate::netns::Netns;
use crate::plugin::{Answer, Call};
use crate::pod::Pod;
use crate::snapshot::Snapshot;
use serde_json::{Value, json};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A node. Its state is in a tmpfs of the lab.
pub struct Node {
    netns: Netns,
    name: String,
    dir: TempDir,
}

impl Node {
    pub(crate) fn new(netns: Netns, name: &str) -> Self {
        let dir = tempfile::Builder::new().prefix(name).tempdir_in("/run").unwrap();
        Self { netns, name: name.to_owned(), dir }
    }

    /// Its name in the cluster.
    pub fn node_name(&self) -> &str {
        &self.name
    }

    /// A directory of its own, for what a test needs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `stateDir`
    pub fn state(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.state().join("offrampd.sock")
    }

    /// The record of a pod's interface.
    pub fn record(&self, pod: &Pod) -> PathBuf {
        self.state().join("attachments").join(format!("{}@{}.json", pod.container, pod.ifname))
    }

    /// The attachments that have a record.
    pub fn records(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.state().join("attachments")).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A configuration of node mode; `more` is laid over it.
    pub fn conf(&self, more: Value) -> Value {
        let base =
            json!({"cniVersion": "1.1.0", "name": "pods", "type": "offramp", "stateDir": self.state()});
        over(base, more)
    }

    /// Writes NetworkAttachmentDefinitions, each by `NAME` or `NAMESPACE/NAME` and its configuration; what the daemon's
    /// configuration needs for them.
    pub fn networks(&self, definitions: &[(&str, Value)]) -> Value {
        let one = |(reference, config): &(&str, Value)| {
            let (namespace, name) = reference.split_once('/').unwrap_or(("default", reference));
            json!({"metadata": {"namespace": namespace, "name": name}, "spec": {"config": config.to_string()}})
        };
        let path = self.dir().join("networks.yaml");
        std::fs::write(&path, Value::from_iter(definitions.iter().map(one)).to_string()).unwrap();
        json!({"networks": {"definitions": path}})
    }

    /// A configuration of inline mode: bridge `br0`, gateway, dual stack; `more` is laid over it.
    pub fn inline(&self, more: Value) -> Value {
        let ranges = json!([[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd88::/64"}]]);
        let base = json!({
            "bridge": "br0",
            "isDefaultGateway": true,
            "ipam": {"type": "offramp", "ranges": ranges},
        });
        self.conf(over(over(base, path_on_a_bridge()), more))
    }

    /// A call on this node without a pod: STATUS, GC, VERSION.
    pub fn call(&self, verb: &str) -> Call<'_> {
        Call::new(&self.netns, verb)
    }

    /// A call for a pod.
    pub fn call_for(&self, verb: &str, pod: &Pod) -> Call<'_> {
        self.call(verb).container(&pod.container).ifname(&pod.ifname).netns(pod.path())
    }

    /// ADD.
    pub fn add(&self, pod: &Pod, conf: &Value) -> Answer {
        self.call_for("ADD", pod).config(conf).run()
    }

    /// DEL.
    pub fn del(&self, pod: &Pod, conf: &Value) -> Answer {
        self.call_for("DEL", pod).config(conf).run()
    }

    /// CHECK, with the result of the ADD.
    pub fn check(&self, pod: &Pod, conf: &Value, result: &Value) -> Answer {
        let conf = over(conf.clone(), json!({"prevResult": result}));
        self.call_for("CHECK", pod).config(&conf).run()
    }

    /// GC of all but `valid`.
    pub fn gc(&self, conf: &Value, valid: &[&Pod]) -> Answer {
        let one = |p: &&Pod| json!({"containerID": p.container, "ifname": p.ifname});
        let valid: Vec<Value> = valid.iter().map(one).collect();
        let conf = over(conf.clone(), json!({"cni.dev/valid-attachments": valid}));
        self.call("GC").config(&conf).run()
    }

    /// STATUS.
    pub fn status(&self, conf: &Value) -> Answer {
        self.call("STATUS").config(conf).run()
    }

    /// What the kernel and the state directory hold, without what is shared by design.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.netns).with_state(&self.state())
    }

    /// Gives the node an uplink to a host outside, `198.51.100.2` and `2001:db8:51::2`, which knows no pods.
    /// The two know each other from the start, so that traffic changes no snapshot.
    pub fn uplink(&self, outside: &Netns) {
        self.ip(&format!("link add up0 type veth peer name eth0 netns {}", outside.name()));
        for (netns, link, host, other) in [(&self.netns, "up0", 1, 2), (outside, "eth0", 2, 1)] {
            netns.ip(&format!("link set {link} address 02:00:00:00:51:0{host} addrgenmode none"));
            netns.ip(&format!("link set {link} up"));
            for (subnet, length) in [("198.51.100.", 24), ("2001:db8:51::", 64)] {
                let nodad = if length == 64 { "nodad" } else { "" };
                netns.ip(&format!("addr add {subnet}{host}/{length} dev {link} {nodad}"));
                let mac = format!("02:00:00:00:51:0{other}");
                netns.ip(&format!("neigh replace {subnet}{other} dev {link} lladdr {mac} nud permanent"));
            }
        }
    }
}

impl Deref for Node {
    type Target = Netns;
    fn deref(&self) -> &Netns {
        &self.netns
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let log = std::fs::read_to_string(self.state().join("offramp.log")).unwrap_or_default();
        if std::thread::panicking() && !log.is_empty() {
            eprintln!("--- log of the plugin on {} ---\n{log}", self.name);
        }
    }
}

/// What connects pods with the node: `OFFRAMP_TEST_PATH`, so that all tests can run with either; none: the default.
pub(crate) fn path() -> Value {
    std::env::var("OFFRAMP_TEST_PATH").map_or(json!({}), |path| json!({"path": path}))
}

/// The same of pods whose configuration names a bridge: none is routed to.
fn path_on_a_bridge() -> Value {
    std::env::var("OFFRAMP_TEST_PATH").map_or(json!({}), |path| json!({"path": path.replace("-l3", "")}))
}

/// Whether the daemon's pods are routed to, without a bridge.
pub fn pods_are_routed() -> bool {
    std::env::var("OFFRAMP_TEST_PATH").is_ok_and(|path| path.starts_with("netkit-l3"))
}

/// The addresses that a pod of the daemon's has, which on the bridge would be these, with the subnet's length.
pub fn in_pod<const N: usize>(on_the_bridge: [&str; N]) -> [String; N] {
    on_the_bridge.map(|address| match address.split_once('/') {
        Some((ip, _)) if pods_are_routed() => format!("{ip}/{}", if ip.contains(':') { 128 } else { 32 }),
        _ => address.to_owned(),
    })
}

/// `base` with the keys of `more`; objects are merged, `null` removes a key.
pub fn over(base: Value, more: Value) -> Value {
    match (base, more) {
        (Value::Object(mut base), Value::Object(more)) => {
            for (key, value) in more {
                match base.remove(&key) {
                    _ if value.is_null() => {}
                    Some(old) => drop(base.insert(key, over(old, value))),
                    None => drop(base.insert(key, value)),
                }
            }
            Value::Object(base)
        }
        (_, more) => more,
    }
}
