//! Who is measured, and how a runtime calls each. All use one PF, each a VF of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::options::Options;
use crate::process::{Call, command};

const PF: &str = "nic0";
const NETNS: &str = "bench";
const VLAN: u16 = 100;
/// Longer than the daemon lets events gather.
const REST: Duration = Duration::from_millis(250);
const DAEMON_STATE: &str = "/run/offramp";
const INLINE_STATE: &str = "/run/offramp-inline";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Offramp with its daemon: the VF is eth0, on an uplink that is a VLAN on the PF.
    Node,
    /// Offramp without its daemon, in place of sriov-cni.
    Inline,
    /// sriov-cni with host-local.
    Peer,
}

impl Kind {
    pub fn title(self) -> &'static str {
        match self {
            Self::Node => "offramp, node mode",
            Self::Inline => "offramp, inline mode",
            Self::Peer => "sriov-cni + host-local",
        }
    }

    /// The number of its VF.
    fn vf(self) -> usize {
        self as usize
    }
}

/// The VM as a node.
pub struct Machine {
    plugin: PathBuf,
    peer: Option<PathBuf>,
    daemon: Child,
}

impl Machine {
    /// Sets the uplink up and starts the daemon.
    pub fn new(options: &Options) -> Result<Self, String> {
        let uplink = format!("{PF}.{VLAN}");
        ip(&["netns", "add", NETNS])?;
        ip(&["link", "add", "link", PF, "name", &uplink, "type", "vlan", "id", &VLAN.to_string()])?;
        ip(&["address", "add", "192.0.2.1/24", "dev", &uplink])?;
        ip(&["link", "set", &uplink, "up"])?;
        ip(&["route", "add", "default", "via", "192.0.2.254", "dev", &uplink])?;
        let daemon = start_daemon(&options.daemon)?;
        Ok(Self { plugin: options.plugin.clone(), peer: options.peer.clone(), daemon })
    }

    /// All that can be measured.
    pub fn subjects(&self) -> Vec<Kind> {
        let peer = self.peer.is_some().then_some(Kind::Peer);
        [Kind::Node, Kind::Inline].into_iter().chain(peer).collect()
    }

    /// The call of round `round`; DEL has the result of ADD, as runtimes pass it.
    pub fn call(&self, kind: Kind, verb: &str, round: usize, result: &[u8]) -> Result<Call, String> {
        let mut config = self.config(kind)?;
        if let Ok(result) = serde_json::from_slice::<Value>(result) {
            config["prevResult"] = result;
        }
        let env = vec![
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", format!("{:064x}", round + 1)),
            ("CNI_NETNS", format!("/run/netns/{NETNS}")),
            ("CNI_IFNAME", "net1".to_owned()),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME=pod".to_owned()),
            ("CNI_PATH", "/usr/lib/cni".to_owned()),
        ];
        let program = match kind {
            Kind::Peer => self.peer.clone().unwrap_or_default(),
            _ => self.plugin.clone(),
        };
        Ok(Call { program, args: Vec::new(), env, stdin: config.to_string().into_bytes() })
    }

    fn config(&self, kind: Kind) -> Result<Value, String> {
        let base = json!({"cniVersion": "1.0.0", "name": "bench", "type": "offramp", "logFile": log(kind)});
        let ranges = json!([[{"subnet": "10.56.0.0/24"}]]);
        let more = match kind {
            Kind::Node => json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations":
                {"offramp.dev/offload": "required"}}}),
            Kind::Inline => json!({"stateDir": INLINE_STATE, "deviceID": pci(kind)?, "vlan": VLAN,
                "ipam": {"type": "offramp", "ranges": ranges}}),
            Kind::Peer => json!({"type": "sriov", "deviceID": pci(kind)?, "vlan": VLAN,
                "ipam": {"type": "host-local", "dataDir": "/run/host-local", "ranges": ranges}}),
        };
        let fields = [base, more].into_iter().filter_map(|value| value.as_object().cloned()).flatten();
        Ok(Value::Object(fields.collect()))
    }

    /// Waits until the daemon has nothing to do: it looks at the node after whatever happened there, and with the VM's
    /// one CPU that would fall on the next call. A pod lives for longer than that.
    pub fn rest(&self) {
        let mut before = None;
        loop {
            std::thread::sleep(REST);
            let now = cpu_ticks(self.daemon.id());
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Waits until the VF may be lent again: cleaning it is no part of DEL.
    pub fn await_free(&self, kind: Kind) -> Result<(), String> {
        let state = if kind == Kind::Node { DAEMON_STATE } else { INLINE_STATE };
        let claim = Path::new(state).join("vfs").join(pci(kind)?);
        wait(&format!("the end of {}", claim.display()), || !claim.exists())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Of a process and its children, proc(5): utime, stime, cutime, cstime; none when it is gone.
fn cpu_ticks(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().skip(11).take(4).map(str::to_owned).collect())
}

/// The plugin's own log.
pub fn log(kind: Kind) -> String {
    format!("/run/bench-{}.log", kind.vf())
}

fn pci(kind: Kind) -> Result<String, String> {
    let link = format!("/sys/class/net/{PF}/device/virtfn{}", kind.vf());
    let target = std::fs::read_link(&link).map_err(|e| format!("read {link}: {e}"))?;
    Ok(target.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

fn ip(args: &[&str]) -> Result<(), String> {
    command("ip", args)
}

fn start_daemon(program: &Path) -> Result<Child, String> {
    const CONFIG: &str = "/run/offrampd.json";
    let pool = json!({"name": "fast", "selectors": [{"pfNames": [format!("{PF}#{}", Kind::Node.vf())]}],
        "policy": {"namespaces": ["*"], "eth0": true}});
    let cluster = json!({"source": "standalone", "podCIDRs": ["10.244.1.0/24"]});
    // Without a tunnel the VF's MTU stays: sriov-cni would not change it.
    let config = json!({"cluster": cluster, "overlay": {"mode": "direct"}, "pools": [pool],
        "log": {"level": "warn"}});
    std::fs::write(CONFIG, config.to_string()).map_err(|e| format!("write {CONFIG}: {e}"))?;
    let failed = |e| format!("start {}: {e}", program.display());
    let mut daemon = Command::new(program);
    daemon.args(["run", "--config", CONFIG]).stdin(Stdio::null()).stdout(Stdio::null());
    let child = daemon.spawn().map_err(failed)?;
    wait("offrampd to be ready", || is_settled(program))?;
    Ok(child)
}

/// All that it does by itself is done: nothing of that goes on beside what is measured.
fn is_settled(program: &Path) -> bool {
    let output = Command::new(program).args(["status", "-o", "json"]).stderr(Stdio::null()).output();
    let status =
        output.ok().and_then(|o| serde_json::from_slice::<Value>(&o.stdout).ok()).unwrap_or_default();
    let well = |part: &&Value| part["health"]["state"] == "ok";
    let loops: Vec<&Value> = status["reconcile"].as_array().into_iter().flatten().filter(well).collect();
    ["bridge", "firewall", "nics"].iter().all(|name| loops.iter().any(|part| part["name"] == *name))
}

fn wait(what: &str, ready: impl Fn() -> bool) -> Result<(), String> {
    let start = Instant::now();
    while !ready() {
        if start.elapsed() > Duration::from_secs(120) {
            return Err(format!("gave up waiting for {what}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
