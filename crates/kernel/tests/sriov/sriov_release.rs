//! Whatever was done to a VF is undone.

use crate::lab::{Lab, run, timed, vf_ref};
use offramp_core::vf::differences;
use offramp_kernel::vf::{self, Host};

fn spoil(lab: &Lab) {
    let name = lab.name();
    for setting in ["mtu 1280", "alias spoilt", "promisc on", "allmulticast on", "up"] {
        run(&format!("ip link set {name} {setting}"));
    }
    run(&format!("ip link property add dev {name} altname one altname two"));
    run(&format!("ip link set {name} name spoilt"));
    // Last: a netdev that comes up trusted tells its PF its own MAC.
    for setting in ["mac 02:00:00:00:00:77", "vlan 7 qos 2", "trust on", "spoofchk off", "max_tx_rate 50"] {
        run(&format!("ip link set nic0 vf {} {setting}", lab.vf.index));
    }
    assert_eq!(differences(&lab.before, &lab.state()).len(), 12);
}

#[test]
fn a_spoilt_vf_is_cleaned() {
    let lab = Lab::new(3);
    spoil(&lab);
    lab.clean();
}

#[test]
fn what_was_set_before_the_vf_was_lent_is_set_again() {
    let mut lab = Lab::new(3);
    spoil(&lab);
    let spoilt = lab.state();
    let clean = std::mem::replace(&mut lab.before, spoilt);
    run("ip link set spoilt down");
    run("ip link property del dev spoilt altname two");
    run("ip link set nic0 vf 3 vlan 0");
    lab.clean();
    lab.before = clean;
    lab.clean();
}

/// An administrative MAC that the netdev has not taken up yet.
#[test]
fn two_macs_are_two_macs_again() {
    let mut lab = Lab::new(3);
    let clean = lab.before.clone();
    run("ip link set nic0 vf 3 mac 02:00:00:00:00:78");
    lab.before = lab.state();
    assert_ne!(lab.before.pf_side.mac, lab.before.netdev.as_ref().map(|n| n.mac));
    lab.clean();
    lab.before = clean;
    lab.clean();
}

/// Without unbinding first: the settings alone, and the driver bound anew for the MAC.
#[test]
fn a_bound_vf_is_restored_too() {
    let lab = Lab::new(3);
    spoil(&lab);
    let host = Host::default();
    let error = vf::reset(&host, lab.vf.pci).unwrap_err().to_string();
    assert_eq!(error, format!("reset {}: it is bound to igbvf, whose netdev would hang", lab.vf.pci));
    timed("restore bound", || vf::restore(&host, &lab.vf, &lab.before)).unwrap();
    lab.is_as_before();
}

#[test]
fn a_vf_that_had_no_driver_has_none_again() {
    let mut lab = Lab::new(3);
    let host = Host::default();
    let clean = lab.before.clone();
    vf::unbind(&host, lab.vf.pci).unwrap();
    lab.before = lab.state();
    assert_eq!((&lab.before.driver, &lab.before.netdev), (&None, &None));
    vf::bind(&host, lab.vf.pci, "igbvf").unwrap();
    lab.clean();
    let error = vf::bind(&host, lab.vf.pci, "nonsense").unwrap_err().to_string();
    let why = "the kernel has no such driver, its module may have to be loaded";
    assert_eq!(error, format!("bind {} to nonsense: {why}", lab.vf.pci));
    lab.before = clean;
    lab.clean();
}

/// As the kernel names netdevs: each VF got the name of the other one, and both are cleaned at once.
#[test]
fn two_vfs_that_have_each_others_names_change_them() {
    let lab = Lab::new(2);
    let (host, other) = (Host::default(), vf_ref(3));
    let other_before = vf::state(&host, &other).unwrap();
    let (one, two) = (lab.name(), other_before.netdev.as_ref().unwrap().name.to_string());
    for change in [format!("{one} name aside0"), format!("{two} name {one}"), format!("aside0 name {two}")] {
        run(&format!("ip link set {change}"));
    }
    let restored = std::thread::scope(|scope| {
        let both = [(&lab.vf, &lab.before), (&other, &other_before)];
        let threads = both.map(|(vf, before)| scope.spawn(|| vf::restore(&Host::default(), vf, before)));
        threads.map(|thread| thread.join().unwrap())
    });
    restored.into_iter().for_each(|restored| restored.unwrap());
    lab.is_as_before();
    assert_eq!(differences(&other_before, &vf::state(&host, &other).unwrap()), [] as [String; 0]);
}
