//! A node with VFs whose plugin and daemon die.

use crate::lab::{run, states};
use crate::sriov_node::{Wired, of_pod, pool};
use offramp_tests::{Answer, Daemon, Node, Pod, over, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the daemon puts right is put right by then.
const PATIENCE: Duration = Duration::from_secs(15);

/// The VFs of the PF.
pub const VFS: usize = 4;

/// VFs 0 and 1 for eth0, 2 and 3 for other interfaces, with whatever a pod may want.
pub fn wired() -> Wired {
    let much = json!({"policy": {"vlans": ["100-199"], "mac": true, "trust": true, "spoofchkOff": true}});
    let w = Wired::with_pools(json!([
        pool("fast", "0-1", json!({"policy": {"eth0": true}})),
        pool("telco", "2-3", much),
    ]));
    let range =
        json!({"type": "offramp", "ranges": [[{"subnet": "10.97.0.0/24"}], [{"subnet": "fd97::/64"}]]});
    let telco =
        json!({"cniVersion": "1.0.0", "type": "offramp", "pool": "telco", "vlan": 100, "ipam": range});
    let from_plugin = over(telco.clone(), json!({"ipam": host_local(&w.m.node)}));
    let definitions = w.m.node.networks(&[("telco", telco), ("host-local", from_plugin)]);
    w.with(definitions)
}

/// A plugin that gives addresses, and writes them down in the node's own folder.
fn host_local(node: &Node) -> Value {
    let ranges = json!([[{"subnet": "10.97.1.0/24"}], [{"subnet": "fd97:1::/64"}]]);
    json!({"type": "host-local", "dataDir": node.dir().join("host-local"), "ranges": ranges})
}

/// A pod with a VF by definition `telco`, whose `ipam` is our own, or `host-local`, whose `ipam` is that plugin.
pub fn network(definition: &str) -> Value {
    annotated(json!({"k8s.v1.cni.cncf.io/networks": definition}))
}

/// A pod whose eth0 is a VF, with a port of the node that leads to it.
pub fn eth0() -> Value {
    json!({
        "capabilities": {"portMappings": true},
        "runtimeConfig": {
            "io.kubernetes.cri.pod-annotations": {"offramp.dev/offload": "required"},
            "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        },
    })
}

/// A VF on which all is set that can be.
const NET1: &str = "- {name: net1, pool: telco, vlan: 100, mac: '02:00:00:00:00:61', trust: on, spoofchk: off, \
                    mtu: 1400, ips: [192.168.10.5/24, 'fd10::5/64']}";

/// A pod on the bridge with a VF.
pub fn net1() -> Value {
    annotated(json!({"offramp.dev/interfaces": NET1}))
}

/// A pod whose eth0 is a VF, with another one.
pub fn eth0_and_net1() -> Value {
    over(eth0(), annotated(json!({"offramp.dev/interfaces": NET1})))
}

/// A pod with these annotations.
pub fn annotated(annotations: Value) -> Value {
    json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations}})
}

/// Whether the `n`th of many points is to be tried: `OFFRAMP_FAULT_PART=K/N` leaves the others to other runs.
pub fn is_ours(n: usize) -> bool {
    let part = std::env::var("OFFRAMP_FAULT_PART").unwrap_or_else(|_| "1/1".into());
    let numbers = part.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    let (k, parts): (usize, usize) = numbers.expect("K/N");
    n % parts == k % parts
}

/// A node, what it was when nothing was attached, and its daemon while there is one.
pub struct Fault<'a> {
    pub w: &'a Wired,
    daemon: Option<Daemon<'a>>,
    vfs: Vec<Value>,
    node: String,
}

impl<'a> Fault<'a> {
    pub fn new(w: &'a Wired) -> Self {
        let mut fault = Self { w, daemon: None, vfs: Vec::new(), node: String::new() };
        fault.start();
        fault.vfs = states(VFS);
        fault.node = fault.traces();
        fault
    }

    pub fn start(&mut self) {
        if self.daemon.is_none() {
            self.daemon = Some(self.w.start());
        }
    }

    pub fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
    }

    pub fn daemon(&self) -> &Daemon<'a> {
        self.daemon.as_ref().unwrap()
    }

    pub fn conf(&self, more: &Value) -> Value {
        self.w.m.node.conf(more.clone())
    }

    pub fn add(&self, pod: &Pod, more: &Value) -> Answer {
        self.w.m.node.add(pod, &self.conf(more))
    }

    /// With a whole configuration, for a pod of namespace `default`.
    pub fn add_as(&self, pod: &Pod, conf: &Value) -> Answer {
        self.w.m.node.call_for("ADD", pod).config(conf).args(&of_pod("default")).run()
    }

    #[track_caller]
    pub fn del(&self, pod: &Pod) {
        self.w.m.node.del(pod, &self.conf(&json!({}))).ok();
    }

    /// A VF as it was at the beginning.
    pub fn before(&self, index: usize) -> &Value {
        &self.vfs[index]
    }

    /// Whether a pod has a VF.
    pub fn is_lent(&self, index: usize, pod: &Pod) -> bool {
        let claim = self.w.m.claim(index).unwrap_or_default();
        claim["state"]["is"] == "lent" && claim["holder"]["container"] == pod.container.as_str()
    }

    /// What an attachment leaves on the node: routes, neighbours, links, rules, records, claims.
    fn traces(&self) -> String {
        let kernel = ["-4", "-6"].map(|family| {
            let looks = "route show proto 214\\nneigh show nud permanent\\nneigh show proxy\\n";
            run(&format!("printf '{looks}' | ip {family} -batch -"))
        });
        let names = |dir: &Path| -> BTreeSet<_> {
            std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name()).collect()
        };
        // Not what a writer left that died: the daemon removes it after a minute.
        let mut claims = names(&self.w.m.node.state().join("vfs"));
        claims.retain(|name| !name.to_string_lossy().starts_with('.'));
        let links = names(Path::new("/sys/class/net"));
        let held =
            ["state/ipam/telco", "host-local/host-local"].map(|dir| names(&self.w.m.node.dir().join(dir)));
        let mut addresses: BTreeSet<_> = held.into_iter().flatten().collect();
        addresses.retain(|name| name.to_string_lossy().parse::<IpAddr>().is_ok());
        let records = self.w.m.node.records();
        format!("{kernel:?}\nlinks: {links:?}\nrecords: {records:?}\nclaims: {claims:?}\nips: {addresses:?}")
    }

    /// All VFs are free and as they were, nothing is left, and what the next pod wants is there.
    #[track_caller]
    pub fn assert_clean(&self, what: &str) {
        until(&format!("claims and records to be gone: {what}"), || {
            self.w.m.node.records().is_empty() && (0..VFS).all(|vf| self.w.m.claim(vf).is_none())
        });
        // What the daemon puts right comes after the record went.
        let deadline = Instant::now() + PATIENCE;
        let mut now = self.traces();
        while now != self.node && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            now = self.traces();
        }
        assert_eq!(now, self.node, "{what}");
        assert_eq!(states(VFS), self.vfs, "{what}");
    }

    /// The sandbox ends without a DEL.
    pub fn replaced(&self, pod: Pod) -> Pod {
        let Pod { container, ifname, netns } = pod;
        drop(netns);
        Pod { container, ifname, ..self.w.m.lab.pod("pod") }
    }
}

/// Why a VF is in quarantine, once it was tried to be cleaned.
pub fn quarantined(fault: &Fault<'_>, index: usize, word: &str) {
    until(&format!("VF {index} to be in quarantine: {word}"), || {
        let claim = fault.w.m.claim(index).unwrap_or_else(|| panic!("VF {index} is free"));
        claim["state"]["reason"].as_str().is_some_and(|reason| reason.contains(word))
    });
}
