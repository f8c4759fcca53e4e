//! One of two nodes that do the same things at the same time.

use offramp_tests::{Daemon, Lab, Node, over, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The other node may be that far behind: it does all that this one does, on a machine under load.
pub const PATIENCE: Duration = Duration::from_secs(240);

pub struct Pair {
    pub lab: Lab,
    pub node: Node,
    /// 1 or 2.
    pub me: u8,
    test: &'static str,
    uplink: &'static str,
}

impl Pair {
    /// `uplink`, a link that is there, gets the node's addresses. `test` is for messages between the nodes.
    pub fn new(test: &'static str, uplink: &'static str) -> Self {
        let me = match std::env::var("NODE").as_deref() {
            Ok("a") => 1,
            Ok("b") => 2,
            other => panic!("NODE is {other:?}: run it by hack/vm --two-nodes"),
        };
        let lab = Lab::of_vm();
        let node = lab.machine(if me == 1 { "node-a" } else { "node-b" });
        node.ip(&format!("link set {uplink} up"));
        node.ip(&format!("addr add 192.0.2.{me}/24 dev {uplink}"));
        node.ip(&format!("addr add 2001:db8::{me}/64 dev {uplink} nodad"));
        Self { lab, node, me, test, uplink }
    }

    pub fn other(&self) -> u8 {
        3 - self.me
    }

    /// The daemon; `more` is laid over its configuration.
    pub fn daemon(&self, more: Value) -> Daemon<'_> {
        let peers = self.node.dir().join("peers.yaml");
        let peer = |n: u8| {
            json!({
                "name": format!("node-{}", if n == 1 { "a" } else { "b" }),
                "endpoints": [format!("192.0.2.{n}"), format!("2001:db8::{n}")],
                "podCIDRs": pod_cidrs(n),
            })
        };
        fs::write(&peers, json!([peer(1), peer(2)]).to_string()).unwrap();
        let base = json!({
            "node": {"uplink": self.uplink},
            "cluster": {"podCIDRs": pod_cidrs(self.me), "peersFile": peers},
            "overlay": {"mode": "direct"},
            // What igb gets wrong is a test's affair that says so.
            "offloads": {"probe": false},
            "reclaim": {"interval": "300ms"},
            "pools": [pool(json!({}))],
        });
        self.node.daemon(over(base, more))
    }

    /// Tells the other node, and returns what it tells: both are at this point.
    pub fn swap(&self, point: &str, mine: &Value) -> Value {
        let file = |n: u8| share().join(format!("{}.{point}.{n}", self.test));
        let new = share().join(format!(".new.{}", self.me));
        fs::write(&new, mine.to_string()).unwrap();
        fs::rename(&new, file(self.me)).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(text) = fs::read_to_string(file(self.other())) {
                return serde_json::from_str(&text).unwrap();
            }
            assert!(!self.failed(self.other()).exists(), "the other node failed before {point}");
            assert!(Instant::now() < deadline, "the other node did not come to {point}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Both are at this point.
    pub fn meet(&self, point: &str) {
        self.swap(point, &Value::Null);
    }

    fn failed(&self, n: u8) -> PathBuf {
        share().join(format!("{}.failed.{n}", self.test))
    }

    /// All VFs are free.
    pub fn assert_all_free(&self) {
        wait_for("all VFs to be free", || {
            let claims = fs::read_dir(self.node.state().join("vfs")).into_iter().flatten().count();
            (claims == 0 && self.node.records().is_empty()).then_some(())
        });
        let left = ["ip route show proto 214", "ip -6 route show proto 214", "ip neigh show proxy"];
        assert_eq!(left.map(|line| self.node.run(line)), ["", "", ""]);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = fs::write(self.failed(self.me), "");
        }
        for line in
            [&*format!("addr flush dev {}", self.uplink), "link del offramp0", "link del offramp-vxlan"]
        {
            let _ = self.node.command("ip").args(line.split_whitespace()).output();
        }
        for table in ["inet offramp", "inet services"] {
            let _ = self.node.command("nft").args(["delete", "table"]).args(table.split(' ')).output();
        }
    }
}

/// All VFs of both NICs, for eth0.
pub fn pool(policy: Value) -> Value {
    let policy = over(json!({"namespaces": ["*"], "eth0": true}), policy);
    json!({"name": "fast", "selectors": [{"pfNames": ["nic0", "nic1"]}], "policy": policy})
}

fn pod_cidrs(n: u8) -> Value {
    json!([format!("10.244.{n}.0/24"), format!("fd00:244:{n}::/64")])
}

fn share() -> PathBuf {
    std::env::var_os("SHARE").unwrap().into()
}
