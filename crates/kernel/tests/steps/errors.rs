//! Errors name what is in the way, and nothing is changed that was not ours.

use crate::lab::{self, BRIDGE, Pod, apply, attempt, ip, plan_of, run, spec};
use offramp_core::cni::error::CniError;
use offramp_core::step::Step;
use offramp_kernel::{Error, Executor};

fn message(executor: &mut Executor<'_>, steps: &[Step]) -> String {
    apply(executor, steps).unwrap_err().to_string()
}

#[test]
fn a_name_that_is_taken_is_named() {
    lab::enter();
    let (pod, wanted) = (Pod::new(), spec(2));
    let plan = plan_of(2, &wanted);
    run(&format!("ip -n {} link add eth0 type veth peer name other", pod.name));
    let before = pod.ip("link show");
    let error = apply(&mut pod.executor(), &plan.steps).unwrap_err();
    assert_eq!(error.to_string(), "interface eth0 in the pod exists already");
    assert!(matches!(error, Error::Exists { .. }));
    assert_eq!(pod.ip("link show"), before);
    assert!(!lab::has_link(wanted.host_ifname.as_str()));

    run(&format!("ip -n {} link del eth0", pod.name));
    run(&format!("ip link add {} type veth peer name other", wanted.host_ifname));
    let error = message(&mut pod.executor(), &plan.steps);
    assert_eq!(error, format!("link {} exists already", wanted.host_ifname));
    assert!(!run(&format!("ip -n {} link", pod.name)).contains("eth0"));
}

#[test]
fn a_link_that_is_no_bridge_is_named() {
    lab::enter();
    let (pod, mut wanted) = (Pod::new(), spec(2));
    run(&format!("ip link add {BRIDGE} type veth peer name other"));
    let expected = format!("link {BRIDGE}: it is of kind veth, not a bridge");
    assert_eq!(message(&mut pod.executor(), &plan_of(2, &wanted).steps), expected);
    assert!(!run("ip link").contains("state UP"), "the link was brought up");
    // In node mode the daemon makes the bridge.
    wanted.bridge.ensure = None;
    assert_eq!(message(&mut pod.executor(), &plan_of(2, &wanted).steps), expected);
    run(&format!("ip link del {BRIDGE}"));
    lab::undo(&mut pod.executor(), &plan_of(2, &wanted).steps);
    let missing = message(&mut pod.executor(), &plan_of(2, &wanted).steps);
    assert_eq!(missing, format!("link {BRIDGE} is not there"));
}

#[test]
fn a_full_bridge_is_named() {
    lab::enter();
    let (pod, wanted) = (Pod::new(), spec(2));
    run(&format!("ip link add {BRIDGE} type bridge"));
    let batch = tempfile::NamedTempFile::new().unwrap();
    let port = |n: u32| format!("link add p{n} master {BRIDGE} type ifb\n");
    std::fs::write(batch.path(), (0..1023).map(port).collect::<String>()).unwrap();
    run(&format!("ip -batch {}", batch.path().display()));
    let error = apply(&mut pod.executor(), &plan_of(2, &wanted).steps).unwrap_err();
    assert!(matches!(&error, Error::BridgeFull { bridge } if bridge == BRIDGE), "{error}");
    let cni = CniError::from(error).to_string();
    assert!(cni.contains("bridge br0 is full"), "{cni}");
    run("ip link del p7");
    lab::undo(&mut pod.executor(), &plan_of(2, &wanted).steps);
    apply(&mut pod.executor(), &plan_of(2, &wanted).steps).unwrap();
}

#[test]
fn what_the_kernel_refuses_is_told_with_call_object_and_reason() {
    lab::enter();
    let (pod, mut wanted) = (Pod::new(), spec(2));
    wanted.addresses.push(wanted.addresses[0]);
    let error = message(&mut pod.executor(), &plan_of(2, &wanted).steps);
    assert!(error.starts_with("add address 10.88.0.2/24 to eth0: File exists (17)"), "{error}");
    assert_eq!(ip("link show dev lo")[0]["operstate"], "UNKNOWN");
}

#[test]
fn a_step_within_the_pod_needs_one() {
    lab::enter();
    let plan = plan_of(2, &spec(2));
    let error = message(&mut Executor::new(None).unwrap(), &plan.steps);
    let step = plan_of(2, &spec(2)).steps[1].name();
    assert_eq!(error, format!("{step}: the pod's netns is not there"));
}

#[test]
fn a_kernel_without_vlans_says_so() {
    lab::enter();
    if attempt("ip link add probe0 type bridge vlan_filtering 1").0 {
        println!("SKIP a_kernel_without_vlans_says_so: this kernel's bridges have VLAN filtering");
        return;
    }
    let mut wanted = spec(2);
    wanted.bridge.ensure.as_mut().unwrap().vlan_filtering = true;
    let error = apply(&mut Pod::new().executor(), &plan_of(2, &wanted).steps).unwrap_err().to_string();
    assert!(error.starts_with("set br0 vlan_filtering on: Operation not supported"), "{error}");
}
