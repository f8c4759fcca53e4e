//! A node and its pods: the test's thread in a network namespace of its own, and named ones beside it.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use nix::sched::{CloneFlags, unshare};
use offramp_core::ids::{AttachmentId, MacAddr};
use offramp_core::pair::{Chosen, Pair};
use offramp_core::plan::{Plan, plan};
use offramp_core::spec::{Address, Bandwidth, BridgeSpec, EnsureBridge, PortSpec, Spec};
use offramp_core::step::Step;
use offramp_core::{cni::result::Route, net::Family};
use offramp_kernel::{Executor, Netns, Result};
use serde_json::Value;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The bridge of every lab.
pub const BRIDGE: &str = "br0";

/// Enters a new, empty network namespace. Threads that the test starts from now on are in it too.
pub fn enter() {
    assert!(
        std::env::var_os("OFFRAMP_LAB").is_some(),
        "this test changes the network that it finds itself in: run it below hack/lab"
    );
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for the node");
    run("ip link set lo up");
}

/// A pod's namespace; gone when dropped.
pub struct Pod {
    /// For `ip -n`.
    pub name: String,
    /// The namespace.
    pub netns: Netns,
}

impl Pod {
    /// Makes one.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pod{}", COUNT.fetch_add(1, Ordering::Relaxed));
        run(&format!("ip netns add {name}"));
        run(&format!("ip -n {name} link set lo up"));
        let netns = Netns::open(format!("/run/netns/{name}")).unwrap();
        Self { name, netns }
    }

    /// An executor between the node and this pod.
    pub fn executor(&self) -> Executor<'_> {
        Executor::new(Some(&self.netns)).unwrap()
    }

    /// What `ip -j ARGS` says inside.
    pub fn ip(&self, args: &str) -> Value {
        json(&format!("ip -n {} -j {args}", self.name))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Runs a command; its output, or a failed test.
pub fn run(command: &str) -> String {
    let (ok, output) = attempt(command);
    assert!(ok, "{command}: {output}");
    output
}

/// Runs a command: whether it succeeded, and what it said.
pub fn attempt(command: &str) -> (bool, String) {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|e| panic!("start {command}: {e}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Runs a command that prints JSON; `ip` prints nothing for an empty list.
pub fn json(command: &str) -> Value {
    let text = run(command);
    if text.trim().is_empty() {
        return Value::Array(Vec::new());
    }
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{command}: {e}: {text}"))
}

/// What `ip -j ARGS` says on the node.
pub fn ip(args: &str) -> Value {
    json(&format!("ip -j {args}"))
}

/// Whether the node has a link of this name.
pub fn has_link(name: &str) -> bool {
    attempt(&format!("ip link show dev {name}")).0
}

/// The attachment of pod number `n`.
pub fn id(n: u8) -> AttachmentId {
    format!("sandbox{n}@eth0").parse().unwrap()
}

/// A dual-stack pod, number `n` of the lab, in inline mode: 10.88.0.n and fd88::n.
pub fn spec(n: u8) -> Spec {
    let id = id(n);
    let address =
        |ip: String, gw: &str| Address { ip: ip.parse().unwrap(), gateway: Some(gw.parse().unwrap()) };
    Spec {
        ifname: id.ifname.clone(),
        mac: MacAddr::local(0x5e00_0000_0100 | u64::from(n)),
        sandbox: format!("/run/netns/pod{n}"),
        host_ifname: offramp_core::plan::host_ifname(&id),
        host_mac: MacAddr::local(0x5e00_0000_0200 | u64::from(n) << 1),
        pair: pair(),
        mtu: None,
        bridge: BridgeSpec {
            name: BRIDGE.parse().unwrap(),
            ensure: Some(EnsureBridge {
                name: BRIDGE.parse().unwrap(),
                mac: None,
                mtu: None,
                vlan_filtering: false,
                promisc: false,
            }),
            is_gateway: true,
            force_address: false,
            inform: Vec::new(),
        },
        port: PortSpec::default(),
        addresses: vec![
            address(format!("10.88.0.{n}/24"), "10.88.0.1"),
            address(format!("fd88::{n:x}/64"), "fd88::1"),
        ],
        routes: Family::ALL.map(|f| Route::via(f.default_route(), None)).to_vec(),
        dns: Default::default(),
        enable_dad: false,
        leave_down: false,
        bandwidth: Bandwidth::default(),
        host_ports: Vec::new(),
        masquerade: false,
        mac_spoof_check: false,
    }
}

/// What connects pods with the bridge: `OFFRAMP_TEST_PATH`, so that all tests can run with either.
pub fn pair() -> Chosen {
    let pair = match std::env::var("OFFRAMP_TEST_PATH").as_deref() {
        Ok("netkit-required") => Pair::Netkit { rx_queues: 1 },
        Ok("veth") | Err(_) => Pair::Veth,
        Ok(other) => panic!("OFFRAMP_TEST_PATH={other}: veth or netkit-required"),
    };
    Chosen { pair, why: None }
}

/// The plan of pod number `n`.
pub fn plan_of(n: u8, spec: &Spec) -> Plan {
    plan(&id(n), spec)
}

/// Executes steps up to the first that fails.
pub fn apply(executor: &mut Executor<'_>, steps: &[Step]) -> Result<()> {
    steps.iter().try_for_each(|step| executor.apply(step))
}

/// Takes steps back; a failed test if one cannot be.
pub fn undo(executor: &mut Executor<'_>, steps: &[Step]) {
    let errors = executor.undo_all(steps);
    assert!(errors.is_empty(), "{errors:?}");
}
