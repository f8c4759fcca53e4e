//! A PF nic0 of four VFs.

use offramp_core::ids::MacAddr;
use offramp_core::nic::PortKey;
use offramp_core::step::{BindTo, BindVf, ConfigureVf, MoveVf, Step};
use offramp_core::vf::{VfRef, VfSettings, VfState, differences};
use offramp_kernel::vf::{self, Host};
use offramp_kernel::{Executor, Netns};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

static ALONE: Mutex<()> = Mutex::new(());

/// A VF that one test has, and that must be as it was at the end.
pub struct Lab {
    pub vf: VfRef,
    pub before: VfState,
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    /// Takes a VF.
    pub fn new(index: u16) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let driver = std::fs::read_link("/sys/class/net/nic0/device/driver").unwrap_or_default();
        assert!(driver.ends_with("igb"), "there is no igb PF nic0: run it by hack/vm --nic igb:4 --iommu");
        let vf = vf_ref(index);
        let before = vf::state(&Host::default(), &vf).unwrap();
        Self { vf, before, _alone: alone }
    }

    /// What it is now.
    pub fn state(&self) -> VfState {
        vf::state(&Host::default(), &self.vf).unwrap()
    }

    /// Its netdev's name.
    pub fn name(&self) -> String {
        self.state().netdev.unwrap().name.to_string()
    }

    /// Cleans it as a release does; a failed test if a trace is left.
    pub fn clean(&self) {
        let host = Host::default();
        timed("unbind", || vf::unbind(&host, self.vf.pci)).unwrap();
        timed("reset", || vf::reset(&host, self.vf.pci)).unwrap();
        timed("restore", || vf::restore(&host, &self.vf, &self.before)).unwrap();
        self.is_as_before();
    }

    pub fn is_as_before(&self) {
        let now = timed("state", || self.state());
        assert_eq!(differences(&self.before, &now), [] as [String; 0]);
    }

    pub fn configure(&self, settings: VfSettings) -> Step {
        Step::ConfigureVf(ConfigureVf { vf: self.vf.clone(), settings })
    }

    pub fn bind(&self, to: BindTo) -> Step {
        Step::BindVf(BindVf { vf: self.vf.clone(), to })
    }

    /// Into a pod as `net1`, with the MAC that the netdev has.
    pub fn moved(&self, settings: VfSettings) -> Step {
        let mac = self.state().netdev.unwrap().mac;
        let name = "net1".parse().unwrap();
        Step::MoveVf(MoveVf { vf: self.vf.clone(), name, mac, settings })
    }
}

/// VF `index` of nic0.
pub fn vf_ref(index: u16) -> VfRef {
    let name = |path: String| {
        let target = std::fs::read_link(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        target.file_name().unwrap().to_str().unwrap().to_owned()
    };
    VfRef {
        pci: name(format!("/sys/class/net/nic0/device/virtfn{index}")).parse().unwrap(),
        port: PortKey { device: name("/sys/class/net/nic0/device".into()), port: 0 },
        pf: "nic0".parse().unwrap(),
        index,
    }
}

/// Runs it, and prints how long it took.
pub fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    println!("TIME {what}: {} us", start.elapsed().as_micros());
    result
}

/// Executes a step; its error's text.
pub fn apply(executor: &mut Executor<'_>, step: &Step) -> Result<(), String> {
    timed(step.name(), || executor.apply(step)).map_err(|e| e.to_string())
}

pub fn undo(executor: &mut Executor<'_>, step: &Step) {
    timed(&format!("undo {}", step.name()), || executor.undo(step)).unwrap();
}

/// A pod's namespace; gone when dropped.
pub struct Pod {
    pub name: &'static str,
    pub netns: Netns,
}

impl Pod {
    pub fn new(name: &'static str) -> Self {
        run(&format!("ip netns add {name}"));
        run(&format!("ip -n {name} link set lo up"));
        Self { name, netns: Netns::open(Path::new("/run/netns").join(name)).unwrap() }
    }

    pub fn executor(&self) -> Executor<'_> {
        Executor::new(Some(&self.netns)).unwrap()
    }

    pub fn ip(&self, args: &str) -> serde_json::Value {
        serde_json::from_str(&run(&format!("ip -n {} -j {args}", self.name))).unwrap()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", self.name]).status();
    }
}

/// Runs a command; its output, or a failed test.
pub fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command}: {text}");
    text
}

pub fn mac(last: u8) -> MacAddr {
    MacAddr::local(0x5e00_0000_0a00 | u64::from(last))
}
