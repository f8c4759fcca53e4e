//! A healthy node: uplink, a peer on its subnet and one behind a router, a pod, a runtime's folders.

use offramp_tests::doctor::Doctor;
use offramp_tests::{Daemon, Lab, Netns, Node, Pod, binary, over};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::PathBuf;

pub struct Site {
    pub lab: Lab,
    pub node: Node,
    pub outside: Netns,
    pub pod: Pod,
    /// What a fault has added.
    more: RefCell<Vec<Pod>>,
}

impl Site {
    pub fn new() -> Self {
        let lab = Lab::new();
        let (node, outside, pod) = (lab.node("node"), lab.netns("outside"), lab.pod("pod"));
        node.uplink(&outside);
        node.ip("route add default via 198.51.100.2");
        for dir in ["state", "net.d", "bin"] {
            std::fs::create_dir(node.dir().join(dir)).unwrap();
        }
        // Of a size that can be filled.
        node.run(&format!("mount -t tmpfs -o size=4m,nr_inodes=4096 state {}", node.state().display()));
        std::os::unix::fs::symlink(binary("offramp"), node.dir().join("bin/offramp")).unwrap();
        let site = Self { lab, node, outside, pod, more: RefCell::default() };
        site.publish(&peers());
        site
    }

    pub fn peers_file(&self) -> PathBuf {
        self.node.dir().join("peers.yaml")
    }

    /// Puts another peers file in its place.
    pub fn publish(&self, text: &str) {
        let aside = self.node.dir().join("peers.new");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, self.peers_file()).unwrap();
    }

    /// The configuration; the daemon looks by itself when something happens, and else once a day.
    pub fn conf(&self, more: Value) -> Value {
        let base = json!({
            "cluster": {"podCIDRs": ["10.244.1.0/29", "fd00:244:1::/64"], "peersFile": self.peers_file()},
            "cni": {"confDir": self.node.dir().join("net.d")},
            "reconcile": {"interval": "24h"},
            "reclaim": {"interval": "24h"},
        });
        over(base, more)
    }

    pub fn start(&self) -> Daemon<'_> {
        self.node.daemon(self.conf(json!({})))
    }

    /// Writes the configuration anew; a daemon that runs does not see it.
    pub fn rewrite_conf(&self, more: Value) {
        let conf = self.node.daemon_conf(self.conf(more));
        std::fs::write(self.node.dir().join("offrampd.yaml"), conf.to_string()).unwrap();
    }

    pub fn add(&self, pod: &Pod) {
        self.node.add(pod, &self.node.conf(json!({}))).ok();
    }

    pub fn add_more(&self, n: usize) {
        for _ in 0..n {
            let pod = self.lab.pod("more");
            self.add(&pod);
            self.more.borrow_mut().push(pod);
        }
    }

    pub fn del_more(&self) {
        self.more.borrow_mut().drain(..).for_each(|pod| self.del(&pod));
    }

    pub fn del(&self, pod: &Pod) {
        self.node.del(pod, &self.node.conf(json!({}))).ok();
    }

    /// `with` is given a doctor of this node.
    pub fn doctor<T>(&self, with: impl FnOnce(&Doctor<'_>) -> T) -> T {
        let (config, bin_dir) = (self.node.dir().join("offrampd.yaml"), self.node.dir().join("bin"));
        with(&Doctor { netns: &self.node, config: &config, bin_dir: &bin_dir })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.node.state()).status();
    }
}

/// One on the uplink's subnet, and one behind its router.
pub fn peers() -> String {
    "- {name: near, endpoints: [198.51.100.2, '2001:db8:51::2'], podCIDRs: [10.244.8.0/24, 'fd44:8::/64']}\n\
     - {name: far, endpoints: [203.0.113.7, '2001:db8:77::7'], podCIDRs: [10.244.9.0/24, 'fd44:9::/64']}\n"
        .into()
}
