//! VLANs of bridge ports. Small kernels are built without VLAN filtering: there these tests say SKIP, and run in
//! the VM: `hack/vm -- hack/lab TEST_BINARY vlan`.

use crate::lab::{self, Pod, apply, attempt, json, plan_of, run, spec};
use offramp_core::spec::{PortSpec, VlanTrunk};
use serde_json::{Value, json};

/// False if the kernel cannot do it. `OFFRAMP_MUST_RUN=vlan` makes that a failure.
fn kernel_filters_vlans(test: &str) -> bool {
    lab::enter();
    let (can, why) = attempt("ip link add probe0 type bridge vlan_filtering 1");
    let must = std::env::var("OFFRAMP_MUST_RUN").is_ok_and(|l| l.split(',').any(|word| word == "vlan"));
    assert!(can || !must, "this kernel's bridges have no VLAN filtering: {why}");
    if can {
        run("ip link del probe0");
    } else {
        println!("SKIP {test}: this kernel's bridges have no VLAN filtering: {}", why.trim());
    }
    can
}

fn add(n: u8, port: PortSpec) -> (Pod, Value) {
    let (pod, mut wanted) = (Pod::new(), spec(n));
    wanted.port = port;
    wanted.bridge.ensure.as_mut().unwrap().vlan_filtering = true;
    apply(&mut pod.executor(), &plan_of(n, &wanted).steps).unwrap();
    let shown = json(&format!("bridge -j -compressvlans vlan show dev {}", wanted.host_ifname));
    (pod, shown[0]["vlans"].clone())
}

fn untagged(id: u64) -> PortSpec {
    PortSpec { vlan: Some(id.try_into().unwrap()), ..PortSpec::default() }
}

fn trunk(min: u64, max: u64) -> VlanTrunk {
    VlanTrunk { min: min.try_into().unwrap(), max: max.try_into().unwrap() }
}

#[test]
fn vlan_of_a_port_is_set() {
    if !kernel_filters_vlans("vlan_of_a_port_is_set") {
        return;
    }
    let flags = json!(["PVID", "Egress Untagged"]);
    assert_eq!(add(2, PortSpec::default()).1, json!([{"vlan": 1, "flags": flags}]));
    assert_eq!(add(3, untagged(100)).1, json!([{"vlan": 100, "flags": flags}]));
    assert_eq!(add(4, untagged(1)).1, json!([{"vlan": 1, "flags": flags}]));
    let kept = PortSpec { keep_default_vlan: true, ..untagged(100) };
    assert_eq!(
        add(5, kept).1,
        json!([{"vlan": 1, "flags": ["Egress Untagged"]}, {"vlan": 100, "flags": flags}])
    );
}

#[test]
fn vlan_trunks_are_set() {
    if !kernel_filters_vlans("vlan_trunks_are_set") {
        return;
    }
    let port = PortSpec { trunk: vec![trunk(101, 101), trunk(200, 299)], ..PortSpec::default() };
    assert_eq!(add(2, port.clone()).1, json!([{"vlan": 101}, {"vlan": 200, "vlanEnd": 299, "flags": []}]));
    let both = PortSpec { trunk: port.trunk, ..untagged(100) };
    let flags = json!(["PVID", "Egress Untagged"]);
    assert_eq!(
        add(3, both).1,
        json!([{"vlan": 100, "flags": flags}, {"vlan": 101}, {"vlan": 200, "vlanEnd": 299, "flags": []}])
    );
}

#[test]
fn vlans_keep_pods_apart() {
    if !kernel_filters_vlans("vlans_keep_pods_apart") {
        return;
    }
    let pods = [(2, 100), (3, 100), (4, 200)].map(|(n, vlan)| add(n, untagged(vlan)).0);
    let ping = |to: &str| attempt(&format!("ip netns exec {} ping -n -c 1 -W 1 {to}", pods[0].name)).0;
    assert!(ping("10.88.0.3") && ping("fd88::3"), "pods of one VLAN do not reach each other");
    assert!(!ping("10.88.0.4") && !ping("fd88::4"), "pods of two VLANs reach each other");
}
