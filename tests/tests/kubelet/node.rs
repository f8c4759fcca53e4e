//! A node with two NICs in a tree of sysfs, and a kubelet.

use offramp_core::ids::AttachmentId;
use offramp_core::nic::PortKey;
use offramp_core::record::PodRef;
use offramp_core::vf::{Claim, NetdevState, PfSide, VfMode, VfRef, VfState};
use offramp_ledger::{Store, VfLock};
use offramp_tests::kubelet::{Kubelet, PodSpec, Runtime};
use offramp_tests::{Cluster, Daemon, Lab, Node, Sysfs, over};
use serde_json::{Value, json};
use std::time::Duration;

pub const FAST: &str = "offramp.dev/fast";
pub const DPDK: &str = "offramp.dev/dpdk";

/// `nic0` on bus 1 and NUMA node 0 has the pools fast (VFs 0 to 2) and dpdk (3), `nic1` on bus 2 and node 1 fast (0 and 1)
/// and plain (2), which kubelet does not lend.
pub struct Wired {
    pub node: Node,
    pub lab: Lab,
}

impl Wired {
    pub fn new() -> Self {
        let lab = Lab::new();
        let node = lab.node("n");
        Self::of(lab, node)
    }

    /// The same on a node that is there already.
    pub fn of(lab: Lab, node: Node) -> Self {
        let sysfs = Sysfs::new(&node);
        sysfs.nic("nic0", 1, 0, 4);
        sysfs.nic("nic1", 2, 1, 3);
        Self { node, lab }
    }

    pub fn kubelet(&self) -> Kubelet {
        Kubelet::new(&self.node.dir().join("kubelet"))
    }

    pub fn runtime(&self) -> Runtime<'_> {
        Runtime::new(&self.lab, &self.node)
    }

    pub fn daemon(&self) -> Daemon<'_> {
        self.node.daemon(self.conf())
    }

    /// A kubelet and a daemon, whose pools are registered and well.
    pub fn registered(&self) -> (Kubelet, Daemon<'_>) {
        let mut kubelet = self.kubelet();
        kubelet.start();
        let daemon = self.daemon();
        kubelet.wait_for_healthy(FAST, 5);
        kubelet.wait_for_healthy(DPDK, 1);
        (kubelet, daemon)
    }

    pub fn conf(&self) -> Value {
        let pool = |name: &str, vfs: Value, more: Value| {
            let base =
                json!({"name": name, "selectors": [{"pfNames": vfs}], "policy": {"namespaces": ["*"]}});
            over(base, more)
        };
        let (fast, dpdk) = (json!({"resourceName": FAST}), json!({"resourceName": DPDK}));
        json!({
            "paths": {
                "kubelet": self.node.dir().join("kubelet"),
                "sysfs": self.node.dir().join("sys"),
                "cdi": self.node.dir().join("cdi"),
            },
            "pools": [
                pool("fast", json!(["nic0#0-2", "nic1#0-1"]), json!({"devicePlugin": fast})),
                pool("dpdk", json!(["nic0#3"]), json!({"mode": "vfio", "devicePlugin": dpdk})),
                pool("plain", json!(["nic1#2"]), json!({})),
            ],
        })
    }

    /// [`Wired::conf`] of a node of a cluster.
    pub fn node_conf(&self, cluster: &Cluster) -> Value {
        cluster.conf(self.conf())
    }

    /// A sandbox of a pod, which is at work and has a VF: the claim is given back when the holder is dropped.
    pub fn hold(&self, pod: &PodSpec, bus: u8, index: u8) -> Holder {
        let store = Store::at(self.node.state());
        let holder = AttachmentId {
            container: format!("sandbox-{}", pod.name).parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        };
        let name = format!("nic{}", bus - 1);
        let mac = "02:00:00:00:00:99".parse().unwrap();
        let before = VfState {
            driver: Some("igbvf".into()),
            pf_side: PfSide::default(),
            netdev: Some(NetdevState {
                name: format!("{name}v{index}").parse().unwrap(),
                mac,
                mtu: 1500,
                alias: None,
                altnames: Vec::new(),
                promisc: false,
                allmulticast: false,
                up: false,
            }),
            ..VfState::default()
        };
        let vf = VfRef {
            pci: Sysfs::vf(bus, index).parse().unwrap(),
            port: PortKey { device: format!("0000:{bus:02x}:00.0"), port: 0 },
            pf: name.parse().unwrap(),
            index: index.into(),
        };
        // Whoever holds the lock is at work: nobody takes the claim for abandoned.
        let lock = store.lock(&holder, Duration::from_secs(5)).unwrap();
        let of = PodRef { namespace: pod.namespace.clone(), name: pod.name.clone(), uid: "old".into() };
        let claim = Claim { pod: Some(of), ..Claim::lent(vf, holder, VfMode::Netdev, before, 0) };
        store.claims().take(&claim).unwrap();
        Holder { store, claim, _lock: Box::new(lock) }
    }
}

/// See [`Wired::hold`].
pub struct Holder {
    store: Store,
    claim: Claim,
    _lock: Box<dyn std::any::Any>,
}

impl Holder {
    /// It is done with the VF, which somebody cleans until the lock is dropped.
    pub fn give_back(&self) -> VfLock {
        let lock = self.store.claims().lock(self.claim.vf.pci, Duration::from_secs(5)).unwrap();
        self.store.claims().set(&self.claim.clone().given_back(1)).unwrap();
        lock
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.store.claims().remove(self.claim.vf.pci).unwrap();
    }
}

/// `- {name: net1, pool: POOL}`
pub fn wish(pod: PodSpec, pool: &str) -> PodSpec {
    pod.annotation("offramp.dev/interfaces", &format!("- {{name: net1, pool: {pool}}}"))
}
