//! Into the pod and out of it, whatever happens there.

use crate::lab::{Lab, Pod, apply, run, timed, undo};
use offramp_core::record::NetnsRef;
use offramp_core::vf::VfSettings;
use offramp_kernel::vf::{self, Home, Host};
use offramp_kernel::{Executor, Netns};
use std::path::Path;
use std::process::{Child, Command};

fn settings() -> VfSettings {
    VfSettings { mtu: Some(1400.try_into().unwrap()), allmulticast: Some(true), ..VfSettings::default() }
}

fn record_of(pod: &Pod) -> NetnsRef {
    NetnsRef { path: pod.netns.path().to_owned(), inode: pod.netns.inode() }
}

/// As DEL finds it: by the record alone.
fn deleting(pod: &Pod) -> Executor<'static> {
    Executor::new(None).unwrap().with_record_netns(record_of(pod))
}

#[test]
fn a_vf_goes_in_with_its_settings_and_comes_back() {
    let (lab, pod) = (Lab::new(1), Pod::new("in"));
    let step = lab.moved(settings());
    apply(&mut pod.executor(), &step).unwrap();
    let inside = &pod.ip("-d link show dev net1")[0];
    assert_eq!(inside["mtu"], 1400);
    assert_eq!(inside["parentdev"], lab.vf.pci.to_string());
    assert_eq!(inside["address"], lab.before.netdev.as_ref().unwrap().mac.to_string());
    assert!(inside["flags"].as_array().unwrap().contains(&"ALLMULTI".into()), "{inside}");
    assert!(!inside["flags"].as_array().unwrap().contains(&"UP".into()), "{inside}");
    assert_eq!(lab.name(), "net1", "it is found in the pod");

    // Renamed and brought up by the pod.
    run("ip -n in link set net1 name other up");
    undo(&mut deleting(&pod), &step);
    assert_eq!(lab.name(), vf::travel_name(lab.vf.pci).as_str());
    undo(&mut deleting(&pod), &step);
    assert_eq!(pod.ip("link").as_array().unwrap().len(), 1);
    lab.clean();
}

#[test]
fn a_name_that_the_pod_has_is_an_error_and_nothing_is_changed() {
    let (lab, pod) = (Lab::new(1), Pod::new("taken"));
    run("ip -n taken link add net1 type veth peer name peer");
    let error = apply(&mut pod.executor(), &lab.moved(settings())).unwrap_err();
    assert_eq!(error, "interface net1 in the pod exists already");
    lab.is_as_before();
}

#[test]
fn the_pods_name_may_be_one_of_the_hosts_and_the_other_way_round() {
    let (lab, pod) = (Lab::new(1), Pod::new("names"));
    let own = lab.name();
    run("ip link add net1 type veth peer name net1peer");
    run(&format!("ip -n names link add {own} type veth peer name peer"));
    let step = lab.moved(VfSettings::default());
    apply(&mut pod.executor(), &step).unwrap();
    undo(&mut deleting(&pod), &step);
    assert_eq!(lab.name(), vf::travel_name(lab.vf.pci).as_str());
    run("ip link del net1");
    lab.clean();
}

#[test]
fn queues_that_the_driver_does_not_have_are_refused() {
    let (lab, pod) = (Lab::new(1), Pod::new("queues"));
    let step = lab.moved(VfSettings { queues: Some(2), ..VfSettings::default() });
    let error = apply(&mut pod.executor(), &step).unwrap_err();
    let expected = "combined channels 2: Operation not supported on transport endpoint (95)";
    assert_eq!(error, format!("set {} {expected}", lab.name()));
    lab.is_as_before();
}

#[test]
fn another_mac_than_planned_does_not_go_in() {
    let (lab, pod) = (Lab::new(1), Pod::new("mac"));
    let offramp_core::step::Step::MoveVf(mut step) = lab.moved(VfSettings::default()) else { panic!() };
    step.mac = crate::lab::mac(9);
    let error = apply(&mut pod.executor(), &offramp_core::step::Step::MoveVf(step)).unwrap_err();
    let own = lab.before.netdev.as_ref().unwrap();
    let why = format!("its MAC is {}, not {}", own.mac, crate::lab::mac(9));
    assert_eq!(error, format!("link {} ({}): {why}", own.name, lab.vf));
    lab.is_as_before();
}

#[test]
fn a_netns_that_is_deleted_sends_it_home() {
    let (lab, pod) = (Lab::new(2), Pod::new("deleted"));
    let step = lab.moved(settings());
    apply(&mut pod.executor(), &step).unwrap();
    let record = record_of(&pod);
    drop(pod);
    let mut executor = Executor::new(None).unwrap().with_record_netns(record);
    undo(&mut executor, &step);
    // It may be on its way still: then cleaning waits for it by unbinding the driver.
    lab.clean();
}

/// A process in a namespace whose name is gone.
struct Inside(Child);

impl Inside {
    fn of(pod: &Pod) -> Self {
        let child = Command::new("ip").args(["netns", "exec", pod.name, "sleep", "1000"]).spawn().unwrap();
        let path = format!("/proc/{}/ns/net", child.id());
        while Netns::open(Path::new(&path)).unwrap().inode() != pod.netns.inode() {
            std::thread::yield_now();
        }
        Self(child)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_that_stays_in_the_netns_does_not_keep_it() {
    let (lab, pod) = (Lab::new(2), Pod::new("stays"));
    let step = lab.moved(settings());
    apply(&mut pod.executor(), &step).unwrap();
    let (_inside, record) = (Inside::of(&pod), record_of(&pod));
    drop(pod);
    assert_eq!(lab.name(), "net1");
    let mut executor = Executor::new(None).unwrap().with_record_netns(record);
    undo(&mut executor, &step);
    assert_eq!(lab.name(), vf::travel_name(lab.vf.pci).as_str());
    lab.clean();
}

/// Held by a descriptor of nobody's that can be found: unbinding brings it home.
#[test]
fn one_that_cannot_be_found_is_cleaned_all_the_same() {
    let (lab, pod) = (Lab::new(2), Pod::new("lost"));
    apply(&mut pod.executor(), &lab.moved(settings())).unwrap();
    run("ip netns del lost");
    let home = timed("bring_home", || vf::bring_home(&Host::default(), lab.vf.pci, &[])).unwrap();
    assert_eq!(home, Home::NotFound);
    assert_eq!(lab.state().netdev, None);
    lab.clean();
}

/// Somebody sets the number of VFs to 0.
#[test]
fn one_that_vanished_has_nothing_to_be_taken_back() {
    let (lab, pod) = (Lab::new(1), Pod::new("vanished"));
    let step = lab.moved(settings());
    apply(&mut pod.executor(), &step).unwrap();
    let file = "/sys/class/net/nic0/device/sriov_numvfs";
    let number = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, "0").unwrap();
    undo(&mut deleting(&pod), &step);
    let error = vf::state(&Host::default(), &lab.vf).unwrap_err().to_string();
    assert_eq!(error, format!("PCI device {} is not there", lab.vf.pci));
    std::fs::write(file, number.trim()).unwrap();
}

/// The PF's link does not matter to what is set, moved and cleaned.
#[test]
fn a_pf_that_is_down_does_not_keep_a_vf_from_being_cleaned() {
    let (lab, pod) = (Lab::new(1), Pod::new("pfdown"));
    let step = lab.moved(settings());
    apply(&mut pod.executor(), &step).unwrap();
    run("ip link set nic0 down");
    undo(&mut deleting(&pod), &step);
    lab.clean();
    run("ip link set nic0 up");
    lab.is_as_before();
}
