//! Who is measured, and how a runtime calls each.

use std::fmt::{Display, Formatter};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use serde::Serialize;
use serde_json::{Value, json};

use crate::node::{Node, pod_netns};
use crate::options::Programs;
use crate::process::{self, Call};

/// The pods' addresses; every node has them to itself.
const SUBNETS: [&str; 2] = ["10.1.0.0/16", "fd00:1::/64"];
const GATEWAYS: [&str; 2] = ["10.1.0.1", "fd00:1::1"];
const BRIDGE: &str = "bench0";
const DAEMON_CONFIG: &str = "/run/offrampd.yaml";
const DAEMON_SOCKET: &str = "/run/offramp/offrampd.sock";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The kernel floor; DEL until the ack.
    Floor,
    /// The kernel floor; DEL until the notification.
    FloorNotify,
    /// The reference plugins `bridge` and `host-local`.
    Peer,
    /// Offramp without its daemon.
    Inline,
    /// Offramp with its daemon.
    Node,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Floor, Self::FloorNotify, Self::Peer, Self::Inline, Self::Node];

    /// Its name on the command line.
    pub fn key(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::FloorNotify => "floor-notify",
            Self::Peer => "peer",
            Self::Inline => "inline",
            Self::Node => "node",
        }
    }

    /// Its name in reports.
    pub fn title(self) -> &'static str {
        match self {
            Self::Floor => "kernel floor",
            Self::FloorNotify => "kernel floor, notified",
            Self::Peer => "bridge + host-local",
            Self::Inline => "offramp, inline mode",
            Self::Node => "offramp, node mode",
        }
    }

    /// The floor that its DEL is compared with.
    pub fn del_floor(self) -> Self {
        if self == Self::Node { Self::FloorNotify } else { Self::Floor }
    }

    /// Whether it is Offramp, rather than what Offramp is compared with.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Inline | Self::Node)
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.key() == text)
            .ok_or_else(|| format!("{text}: no such subject (see --help)"))
    }
}

/// The address families of the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    Ipv4,
    Dual,
}

impl Display for Stack {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Dual { "dual stack" } else { "IPv4" })
    }
}

impl Stack {
    fn families(self) -> usize {
        if self == Self::Dual { 2 } else { 1 }
    }
}

/// A subject on its node.
pub struct Subject {
    pub kind: Kind,
    pub node: Node,
    stack: Stack,
    program: PathBuf,
    plugins: String,
    daemon: Option<Child>,
    serial: AtomicU64,
}

/// A pod that has its network, with what a runtime remembers of it.
pub struct Pod {
    slot: usize,
    container: String,
    result: Vec<u8>,
}

impl Subject {
    /// A subject on a new node with `slots` pod namespaces, ready for its first ADD.
    pub fn new(kind: Kind, stack: Stack, slots: usize, programs: &Programs) -> Result<Self, String> {
        let node = Node::new(slots)?;
        let program = match kind {
            Kind::Floor | Kind::FloorNotify => programs.floor.clone(),
            Kind::Peer => programs.peer.join("bridge"),
            Kind::Inline | Kind::Node => programs.plugin.clone().ok_or("--plugin is missing")?,
        };
        let daemon = match kind {
            Kind::Floor | Kind::FloorNotify => node.run(|| make_bridge(stack)).map(|()| None)?,
            Kind::Peer | Kind::Inline => None,
            Kind::Node => {
                let path = programs.daemon.as_ref().ok_or("--daemon is missing")?;
                Some(node.run(|| start_daemon(path, stack))?)
            }
        };
        let plugins = programs.peer.display().to_string();
        Ok(Self { kind, node, stack, program, plugins, daemon, serial: AtomicU64::new(0) })
    }

    /// The daemon's process ID.
    pub fn daemon(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// The call that gives the pod of this slot its network, and the pod as it will be.
    pub fn add(&self, slot: usize) -> (Call, Pod) {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let pod = Pod { slot, container: container_id(slot as u64, serial), result: Vec::new() };
        let call = match self.kind {
            Kind::Floor | Kind::FloorNotify => self.floor_call(self.floor_add(slot)),
            _ => self.cni_call("ADD", &pod, &self.config()),
        };
        (call, pod)
    }

    /// The call that takes the pod's network away, with the result of its ADD, as runtimes pass it.
    pub fn del(&self, pod: &Pod) -> Call {
        match self.kind {
            Kind::Floor => self.floor_call(self.floor_del(pod.slot, "ack")),
            Kind::FloorNotify => self.floor_call(self.floor_del(pod.slot, "notification")),
            _ => {
                let mut config = self.config();
                config["prevResult"] = serde_json::from_slice(&pod.result).unwrap_or(Value::Null);
                self.cni_call("DEL", pod, &config)
            }
        }
    }

    fn cni_call(&self, verb: &str, pod: &Pod, config: &Value) -> Call {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME=pod-{};K8S_POD_INFRA_CONTAINER_ID={}",
            pod.slot, pod.container
        );
        let env = vec![
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", pod.container.clone()),
            ("CNI_NETNS", pod_netns(pod.slot)),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_ARGS", args),
            ("CNI_PATH", self.plugins.clone()),
        ];
        Call { program: self.program.clone(), args: Vec::new(), env, stdin: config.to_string().into_bytes() }
    }

    fn config(&self) -> Value {
        let ranges: Vec<Value> =
            SUBNETS.iter().take(self.stack.families()).map(|subnet| json!([{ "subnet": subnet }])).collect();
        let (plugin, ipam) = match self.kind {
            Kind::Peer => {
                ("bridge", json!({"type": "host-local", "dataDir": "/run/host-local", "ranges": ranges}))
            }
            Kind::Node => return json!({"cniVersion": "1.0.0", "name": "bench", "type": "offramp"}),
            _ => ("offramp", json!({"type": "offramp", "ranges": ranges})),
        };
        json!({
            "cniVersion": "1.0.0", "name": "bench", "type": plugin, "bridge": BRIDGE,
            "isGateway": true, "isDefaultGateway": true, "ipam": ipam,
        })
    }

    fn floor_call(&self, args: Vec<String>) -> Call {
        Call { program: self.program.clone(), args, env: Vec::new(), stdin: Vec::new() }
    }

    fn floor_add(&self, slot: usize) -> Vec<String> {
        let (host, netns) = (format!("veth{slot}"), pod_netns(slot));
        let mut args: Vec<String> =
            ["add", "--bridge", BRIDGE, "--host", &host, "--netns", &netns, "--ifname", "eth0"]
                .map(str::to_owned)
                .into();
        for (subnet, gateway) in SUBNETS.iter().zip(GATEWAYS).take(self.stack.families()) {
            args.extend(["--address".into(), nth_address(subnet, slot + 2)]);
            args.extend(["--gateway".into(), gateway.to_owned()]);
        }
        args
    }

    fn floor_del(&self, slot: usize, until: &str) -> Vec<String> {
        ["del", "--host", &format!("veth{slot}"), "--until", until].map(str::to_owned).into()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Pod {
    /// Remembers the result of ADD.
    pub fn remember(&mut self, result: Vec<u8>) {
        self.result = result;
    }

    /// Which pod namespace it uses.
    pub fn slot(&self) -> usize {
        self.slot
    }
}

fn make_bridge(stack: Stack) -> Result<(), String> {
    process::command("ip", &["link", "add", BRIDGE, "type", "bridge"])?;
    for (subnet, gateway) in SUBNETS.iter().zip(GATEWAYS).take(stack.families()) {
        let address = format!("{gateway}/{}", subnet.rsplit('/').next().unwrap_or_default());
        process::command("ip", &["address", "add", &address, "dev", BRIDGE])?;
    }
    process::command("ip", &["link", "set", BRIDGE, "up"])
}

fn start_daemon(program: &PathBuf, stack: Stack) -> Result<Child, String> {
    let config = daemon_config(stack);
    std::fs::write(DAEMON_CONFIG, config).map_err(|e| format!("write {DAEMON_CONFIG}: {e}"))?;
    let mut daemon = Command::new(program)
        .args(["run", "--config", DAEMON_CONFIG])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| format!("start {}: {e}", program.display()))?;
    let start = Instant::now();
    while !std::path::Path::new(DAEMON_SOCKET).exists() {
        if let Ok(Some(status)) = daemon.try_wait() {
            return Err(format!("{} ended early: {status}", program.display()));
        }
        if start.elapsed() > Duration::from_secs(10) {
            return Err(format!("{} made no {DAEMON_SOCKET} in 10 s", program.display()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(daemon)
}

fn daemon_config(stack: Stack) -> String {
    let subnets = SUBNETS[..stack.families()].join("\", \"");
    format!("cluster:\n  source: standalone\n  podCIDRs: [\"{subnets}\"]\n")
}

/// The nth address of a subnet, with the subnet's prefix length.
fn nth_address(subnet: &str, nth: usize) -> String {
    match subnet.parse::<IpNetwork>() {
        Ok(network) => {
            let address: IpAddr = match network.ip() {
                IpAddr::V4(base) => IpAddr::V4((u32::from(base) + nth as u32).into()),
                IpAddr::V6(base) => IpAddr::V6((u128::from(base) + nth as u128).into()),
            };
            format!("{address}/{}", network.prefix())
        }
        Err(why) => format!("{subnet}: {why}"),
    }
}

/// 64 hexadecimal digits without a common prefix, as runtimes make them (splitmix64).
fn container_id(slot: u64, serial: u64) -> String {
    let mut state = slot << 32 | serial;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    format!("{:016x}{:016x}{:016x}{:016x}", next(), next(), next(), next())
}
