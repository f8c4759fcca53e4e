//! Embedded switches that are run by representors, on netdevsim: it has them, and offloads no bridge.

use crate::lab::*;
use offramp_core::nic::Eswitch;
use offramp_kernel::link::{self, Parent};
use offramp_kernel::netlink::Socket;
use offramp_kernel::switchdev::{FdbEntry, fdb, representors};
use offramp_kernel::{Error, devlink};
use std::time::Duration;

fn set_mode(device: &Parent, mode: Eswitch) -> offramp_kernel::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(60);
    devlink::set_eswitch(device, mode, PATIENCE, &[])?.within("set the mode", PATIENCE)
}

#[test]
fn the_mode_is_read_and_set() {
    let _lab = enter();
    let device = Simulated::new(10);
    assert_eq!(devlink::eswitch(&device.0).unwrap(), Some(Eswitch::Legacy));
    set_mode(&device.0, Eswitch::Switchdev).unwrap();
    let told = json(&format!("devlink -j dev eswitch show netdevsim/{}", device.0.device));
    assert_eq!(told["dev"]["netdevsim/netdevsim10"]["mode"], "switchdev", "{told}");
    assert_eq!(devlink::eswitch(&device.0).unwrap(), Some(Eswitch::Switchdev));
    assert_eq!(devlink::eswitch_modes().unwrap()[&device.0], Eswitch::Switchdev);
    let ports = device.ports();
    assert_eq!(ports.len(), 2, "{ports:?}");
    assert!(ports.iter().all(|p| p.eswitch == Eswitch::Switchdev && p.switch_id.is_some()), "{ports:?}");
    // dev_port is 0 for both.
    assert_eq!(ports.iter().map(|p| p.key.port).collect::<Vec<_>>(), [1, 2]);
    set_mode(&device.0, Eswitch::Legacy).unwrap();
    assert_eq!(devlink::eswitch(&device.0).unwrap(), Some(Eswitch::Legacy));
}

#[test]
fn refusals_have_the_words_of_the_kernel() {
    let _lab = enter();
    // igb has a devlink no more than an embedded switch that could be set.
    let igb = Parent { bus: "pci".into(), device: port(PF).key.device };
    assert_eq!(devlink::eswitch(&igb).unwrap(), None);
    let error = set_mode(&igb, Eswitch::Switchdev).unwrap_err();
    assert!(matches!(&error, Error::Refused { .. }), "{error}");
    let start = format!("set the embedded switch of {} to switchdev: ", igb.device);
    assert!(error.to_string().starts_with(&start), "{error}");
}

#[test]
fn representors_are_found_and_are_no_ports() {
    let _lab = enter();
    let device = Simulated::new(11);
    sh(&format!("echo 3 > {}/sriov_numvfs", device.folder()));
    set_mode(&device.0, Eswitch::Switchdev).unwrap();
    let links = link::list(&mut Socket::open().unwrap()).unwrap();
    let found: Vec<_> = representors(&links, &device.0).collect();
    assert_eq!(found.iter().map(|(vf, _)| *vf).collect::<Vec<_>>(), [0, 1, 2]);
    for (vf, name) in &found {
        let told = sh(&format!("cat /sys/class/net/{name}/phys_port_name"));
        assert_eq!(told.trim(), format!("pf0vf{vf}"));
    }
    let ports = device.ports();
    assert_eq!(ports.iter().map(|p| (p.key.port, p.num_vfs)).collect::<Vec<_>>(), [(1, 3), (2, 3)]);
}

#[test]
fn forwarding_entries_that_the_hardware_has_not_are_told() {
    let _lab = enter();
    let device = Simulated::new(12);
    sh(&format!("echo 1 > {}/sriov_numvfs", device.folder()));
    set_mode(&device.0, Eswitch::Switchdev).unwrap();
    let mut socket = Socket::open().unwrap();
    let links = link::list(&mut socket).unwrap();
    let (_, representor) = representors(&links, &device.0).next().unwrap();
    let index = links.iter().find(|l| l.name == representor.as_str()).unwrap().index;
    sh(&format!("ip link add br9 type bridge; ip link set {representor} master br9 up; ip link set br9 up"));
    assert_eq!(fdb(&mut socket, index).unwrap(), [], "its own address is no entry");
    let mac = "02:00:00:00:00:77";
    sh(&format!("bridge fdb add {mac} dev {representor} master static"));
    // The bridge adds it to the port's VLANs too.
    let entry = |vlan| FdbEntry { mac: mac.parse().unwrap(), vlan, offloaded: false };
    let mut entries = fdb(&mut socket, index).unwrap();
    entries.sort_by_key(|entry| entry.vlan);
    assert_eq!(entries, [entry(None), entry(Some(1))]);
    sh("ip link del br9");
}
