//! A node with VFs, and what a VF is, told by other means than Offramp's.

use crate::sriov_node::of_pod;
use offramp_tests::{Answer, Lab, Node, Pod, over, until, wait_for};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

static ALONE: Mutex<()> = Mutex::new(());

/// The machine as a node.
pub struct Machine {
    pub lab: Lab,
    pub node: Node,
    _alone: MutexGuard<'static, ()>,
}

impl Machine {
    pub fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = Lab::of_vm();
        as_at_first();
        let node = lab.machine("vm");
        Self { lab, node, _alone: alone }
    }

    /// A pod whose interface is to be net1.
    pub fn pod(&self) -> Pod {
        Pod { ifname: "net1".into(), ..self.lab.pod("pod") }
    }

    /// A configuration of sriov-cni for VF `index`; `more` is laid over it.
    pub fn conf(&self, index: usize, more: Value) -> Value {
        let base = json!({
            "cniVersion": "1.1.0",
            "name": "sriov-net",
            "type": "offramp",
            "stateDir": self.node.state(),
            "deviceID": pci(index),
            "ipam": {"type": "offramp", "ranges": [[{"subnet": "10.56.217.0/24"}]]},
        });
        over(base, more)
    }

    /// The file of a VF's claim.
    pub fn claim_file(&self, index: usize) -> PathBuf {
        self.node.state().join("vfs").join(pci(index))
    }

    /// A VF's claim.
    pub fn claim(&self, index: usize) -> Option<Value> {
        let text = std::fs::read_to_string(self.claim_file(index)).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// The VF is free, by whoever cleans it, and as it was.
    #[track_caller]
    pub fn assert_vf_free(&self, index: usize, before: &Value) {
        wait_for(&format!("VF {index} to be free"), || self.claim(index).is_none().then_some(()));
        assert_eq!(state(index), *before);
    }

    /// So is the VF, and nothing else is held.
    #[track_caller]
    pub fn assert_free_and_clean(&self, index: usize, before: &Value) {
        self.assert_vf_free(index, before);
        let held = std::fs::read_dir(self.node.state().join("ipam/sriov-net")).into_iter().flatten();
        let held: Vec<_> = held.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert!(held.iter().all(|name| !name.starts_with("10.")), "addresses are held: {held:?}");
        assert!(self.node.records().is_empty(), "{:?}", self.node.records());
    }

    /// A call that is killed at its `at`th point, or in the process that it leaves behind; the point, if there was
    /// one.
    pub fn killed(&self, verb: &str, pod: &Pod, conf: &Value, at: &str) -> (Answer, Option<String>) {
        let trace = self.node.dir().join("trace");
        let _ = std::fs::remove_file(&trace);
        let call = self.node.call_for(verb, pod).config(conf).args(&of_pod("default"));
        let call = call.env("OFFRAMP_CRASH_AT", at);
        let answer = call.env("OFFRAMP_CRASH_TRACE", trace.to_str().unwrap()).run();
        wait_for("the cleaner's end", || (!is_cleaning()).then_some(()));
        let passed = std::fs::read_to_string(trace).unwrap_or_default();
        let last = passed.lines().last().unwrap_or_default();
        let here = last.split_whitespace().any(|word| word == at);
        (answer, here.then(|| last.to_owned()))
    }
}

/// New VFs, unless all are as the first test found them: a daemon that is killed when its test ends, or fails, may have
/// been in the midst of cleaning one, and the claim goes with the test's node. Names and MACs are drawn anew with VFs.
fn as_at_first() {
    static FIRST: OnceLock<Vec<Value>> = OnceLock::new();
    let num_vfs = "/sys/class/net/nic0/device/sriov_numvfs";
    let look = || {
        let count = std::fs::read_to_string(num_vfs).unwrap().trim().parse().unwrap();
        let mut vfs = states(count);
        for vf in &mut vfs {
            for drawn in ["/netdev/name", "/netdev/mac", "/netdev/altnames", "/pf/address"] {
                vf.pointer_mut(drawn).map(Value::take);
            }
        }
        vfs
    };
    let (now, first) = (look(), FIRST.get_or_init(look));
    if now == *first {
        return;
    }
    eprintln!("new VFs: the last test left {now:?}");
    run(&format!("echo 0 > {num_vfs}; echo {} > {num_vfs}", first.len()));
    until("VFs as at first", || look() == *first);
}

/// Whether a process of the plugin's is left.
fn is_cleaning() -> bool {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.map(|e| e.path()).any(|process| {
        let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
        let status = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
        name.trim() == "offramp" && !status.contains(") Z ")
    })
}

/// The PCI address of VF `index`.
pub fn pci(index: usize) -> String {
    let link = std::fs::read_link(format!("/sys/class/net/nic0/device/virtfn{index}")).unwrap();
    link.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Runs a command; its output.
#[track_caller]
pub fn run(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ip(args: &str) -> Value {
    let output = Command::new("ip").args(["-j", "-d"]).args(args.split(' ')).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What iproute2 and sysfs tell of VF `index`: all that a release has to put back.
pub fn state(index: usize) -> Value {
    state_in(&ip("link show"), index)
}

/// The same of the first `count` VFs, at once.
pub fn states(count: usize) -> Vec<Value> {
    let links = ip("link show");
    (0..count).map(|index| state_in(&links, index)).collect()
}

fn state_in(links: &Value, index: usize) -> Value {
    let pci = pci(index);
    let driver = std::fs::read_link(PathBuf::from("/sys/bus/pci/devices").join(&pci).join("driver")).ok();
    let driver = driver.and_then(|d| Some(d.file_name()?.to_str()?.to_owned()));
    let find = |key: &str, value: &str| links.as_array().unwrap().iter().find(|l| l[key] == value);
    let netdev = find("parentdev", &pci).map_or(Value::Null, |n| {
        json!({
            "name": n["ifname"], "mac": n["address"], "mtu": n["mtu"], "alias": n["ifalias"],
            "altnames": n["altnames"], "promisc": n["promiscuity"], "allmulti": n["allmulti"],
            "up": n["flags"].as_array().unwrap().contains(&json!("UP")),
        })
    });
    let mut pf = find("ifname", "nic0").unwrap()["vfinfo_list"][index].clone();
    // A driver may not take an administrative MAC back; then it is the VF's own.
    if pf["address"] == "00:00:00:00:00:00" {
        pf["address"] = netdev["mac"].clone();
    }
    json!({"driver": driver, "pf": pf, "netdev": netdev})
}

/// The netdev's name on the host.
pub fn netdev(index: usize) -> String {
    state(index)["netdev"]["name"].as_str().unwrap().to_owned()
}
