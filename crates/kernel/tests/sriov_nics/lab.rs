//! What the tests share. They change the machine's NICs, so each puts back what it finds, and they run one by one.

use offramp_core::nic::{Inventory, PciAddr, Port, Vf};
use offramp_kernel::link::Parent;
use offramp_kernel::netlink::Socket;
use offramp_kernel::stubborn::Written;
use offramp_kernel::sysfs::{Sysfs, read, set_num_vfs};
use serde_json::Value;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The PF.
pub const PF: &str = "nic0";
/// An emulated machine takes its time for a VF.
pub const LONG: Duration = Duration::from_secs(60);

/// The only test that runs; nic0 with 4 VFs bound to their driver. A failed test if there is no such NIC.
pub fn enter() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let driver = sh("readlink -f /sys/class/net/nic0/device/driver");
    assert!(driver.trim().ends_with("/igb"), "no igb PF called nic0: run it by hack/vm --nic igb:4");
    sh("ip link set nic0 up; modprobe igbvf");
    // In this order: igb opens its PF anew when the number of VFs changes.
    set(4);
    eventually("carrier of nic0", || port(PF).carrier && port(PF).speed_mbps.is_some());
    guard
}

/// What a shell says; a failed test if it fails.
pub fn sh(script: &str) -> String {
    let output = Command::new("bash").args(["-ec", script]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{script}: {text}");
    text
}

pub fn json(script: &str) -> Value {
    serde_json::from_str(&sh(script)).unwrap()
}

pub fn inventory() -> Inventory {
    read(&Sysfs::default(), &[]).unwrap()
}

/// A port by its netdev.
pub fn port(netdev: &str) -> Port {
    let inventory = inventory();
    let port = inventory.ports.iter().find(|p| p.netdev.as_str() == netdev);
    port.unwrap_or_else(|| panic!("{netdev} is not in {inventory:?}")).clone()
}

/// A VF of nic0.
pub fn vf(index: usize) -> Vf {
    port(PF).vfs[index].clone()
}

pub fn pci(index: usize) -> PciAddr {
    vf(index).pci
}

/// Gives nic0 VFs.
pub fn set(number: u16) {
    let written = set_num_vfs(&Sysfs::default(), &mut Socket::open().unwrap(), &port(PF), number, LONG, &[]);
    assert_eq!(written.unwrap(), Written::Done);
}

/// Until it holds: what the kernel does behind our back takes its time.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A simulated NIC with two ports, 3 VFs when asked for; gone when dropped.
pub struct Simulated(pub Parent);

impl Simulated {
    /// Its number must be nobody's.
    pub fn new(number: u32) -> Self {
        sh(&format!("echo '{number} 2' > /sys/bus/netdevsim/new_device"));
        let device = Self(Parent { bus: "netdevsim".into(), device: format!("netdevsim{number}") });
        eventually("its ports", || device.ports().len() == 2);
        device
    }

    pub fn folder(&self) -> String {
        format!("/sys/bus/netdevsim/devices/{}", self.0.device)
    }

    /// In the inventory.
    pub fn ports(&self) -> Vec<Port> {
        inventory().ports.into_iter().filter(|port| port.key.device == self.0.device).collect()
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        let number = self.0.device.trim_start_matches("netdevsim");
        sh(&format!("echo {number} > /sys/bus/netdevsim/del_device"));
    }
}
