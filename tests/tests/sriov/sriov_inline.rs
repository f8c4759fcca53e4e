//! The fields of sriov-cni.

use crate::lab::{Machine, pci, run, state};
use serde_json::{Value, json};
use std::path::Path;

/// As Multus calls sriov-cni for a pod with every field that the emulated NIC can serve.
#[test]
fn every_field_is_set_checked_and_taken_back() {
    let m = Machine::new();
    let before = state(0);
    let (pod, info) = (m.pod(), m.node.dir().join("info/devinfo"));
    let conf = m.conf(
        0,
        json!({
            "pciBusID": pci(0), "mac": "CA:FE:C0:FF:EE:00", "vlan": 100, "vlanQoS": 3, "vlanProto": "802.1q",
            "spoofchk": "off", "trust": "on", "max_tx_rate": 300, "logLevel": "debug",
            "mtu": 1400, "allmulticast": true,
            "ipam": {"routes": [{"dst": "10.99.0.0/16", "gw": "10.56.217.1"}]},
            "runtimeConfig": {"CNIDeviceInfoFile": info, "deviceID": pci(0),
                              "bandwidth": {"egressRate": 200_000_000, "egressBurst": 1000}},
        }),
    );
    let result = m.node.add(&pod, &conf).ok();
    let interface = &result["interfaces"][0];
    assert_eq!(interface["pciID"], pci(0));
    assert_eq!((&interface["name"], &interface["mtu"]), (&json!("net1"), &json!(1400)));
    assert_eq!(interface["mac"], "ca:fe:c0:ff:ee:00");
    assert_eq!(interface["sandbox"], json!(pod.path()));

    let link = pod.link("net1").unwrap();
    assert_eq!((&link["address"], &link["mtu"]), (&json!("ca:fe:c0:ff:ee:00"), &json!(1400)));
    assert!(link["flags"].to_string().contains("\"UP\"") && link["allmulti"] == 1, "{link}");
    assert_eq!(pod.addresses("net1"), ["10.56.217.2/24"]);
    assert!(pod.ip("route").contains("10.99.0.0/16 via 10.56.217.1 dev net1"));
    let pf = state(0)["pf"].clone();
    assert_eq!((&pf["vlan_list"][0]["vlan"], &pf["vlan_list"][0]["qos"]), (&json!(100), &json!(3)), "{pf}");
    assert_eq!((&pf["spoofchk"], &pf["trust"]), (&json!(false), &json!(true)), "{pf}");
    assert_eq!(pf["rate"]["max_tx"], 200, "{pf}");
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&info).unwrap()).unwrap();
    assert_eq!((&told["type"], &told["version"]), (&json!("pci"), &json!("1.1.0")));
    assert_eq!(told["pci"]["pci-address"], pci(0));
    assert_eq!(m.claim(0).unwrap()["state"]["is"], "lent");

    m.node.check(&pod, &conf, &result).ok();
    run("ip link set nic0 vf 0 vlan 5");
    m.node.check(&pod, &conf, &result).failed(102, &["vlan of VF 0 of nic0"]);
    m.node.add(&pod, &conf).failed(101, &["attached already"]);

    for _ in 0..3 {
        m.node.del(&pod, &conf).ok();
    }
    assert!(!info.exists());
    m.assert_free_and_clean(0, &before);
}

#[test]
fn the_shapes_of_old_versions_and_a_delegated_ipam() {
    let m = Machine::new();
    let before = state(1);
    let data = m.node.dir().join("host-local");
    for version in ["0.3.1", "1.0.0"] {
        let pod = m.pod();
        let ipam = json!({"type": "host-local", "dataDir": data, "ranges": [[{"subnet": "10.57.0.0/24"}]]});
        let conf = m.conf(1, json!({"cniVersion": version, "ipam": null}));
        let conf = offramp_tests::over(conf, json!({"ipam": ipam}));
        let result = m.node.add(&pod, &conf).ok();
        assert!(result["interfaces"][0].get("pciID").is_none(), "{result}");
        assert!(pod.addresses("net1")[0].starts_with("10.57.0."));
        let mac = state_mac(&before);
        assert_eq!(result["interfaces"][0]["mac"], mac, "a VF keeps its MAC");
        if version != "0.3.1" {
            m.node.check(&pod, &conf, &result).ok();
        }
        m.node.del(&pod, &conf).ok();
        m.assert_free_and_clean(1, &before);
    }
    let left = std::fs::read_dir(data.join("sriov-net")).unwrap().flatten();
    let left: Vec<_> =
        left.map(|e| e.file_name()).filter(|n| n.to_string_lossy().starts_with("10.")).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn state_mac(state: &Value) -> Value {
    state["netdev"]["mac"].clone()
}

/// What the driver refuses fails the ADD with its words; all that was set before is put back.
#[test]
fn what_the_driver_refuses_leaves_nothing() {
    let m = Machine::new();
    let before = state(2);
    let cases = [
        json!({"vlan": 100, "trust": "on", "vlanProto": "802.1ad"}),
        json!({"vlan": 100, "trust": "on", "spoofchk": "off", "link_state": "enable"}),
        json!({"vlan": 100, "min_tx_rate": 10}),
        json!({"vlan": 100, "trust": "on", "mtu": 65000}),
        json!({"mac": "02:00:00:00:00:99", "queues": 8}),
    ];
    for more in cases {
        let pod = m.pod();
        let conf = m.conf(2, more.clone());
        let e = m.node.add(&pod, &conf).failed(100, &[]);
        println!("{more}: {e:?}");
        m.assert_free_and_clean(2, &before);
        m.node.del(&pod, &conf).ok();
    }
    // And it can be had by whoever comes at once.
    let pod = m.pod();
    m.node.add(&m.pod(), &m.conf(2, json!({"link_state": "enable"}))).error();
    m.node.add(&pod, &m.conf(2, json!({}))).ok();
    m.node.del(&pod, &m.conf(2, json!({}))).ok();
    m.assert_free_and_clean(2, &before);
}

#[test]
fn what_is_no_vf_is_refused_before_anything() {
    let m = Machine::new();
    let pf = run("basename $(readlink /sys/class/net/nic0/device)");
    let cases = [
        (json!({"deviceID": pf.trim()}), 100, "not a VF"),
        (json!({"deviceID": "0000:7f:1f.7"}), 100, "0000:7f:1f.7"),
        (json!({"deviceID": null, "trust": "on"}), 7, "deviceID"),
    ];
    for (more, code, word) in cases {
        m.node.add(&m.pod(), &m.conf(3, more)).failed(code, &[word]);
    }
    // Somebody else has moved it into a namespace of its own.
    let (other, before) = (m.pod(), state(3));
    let name = crate::lab::netdev(3);
    run(&format!("ip link set {name} netns {}", other.netns.name()));
    m.node.add(&m.pod(), &m.conf(3, json!({}))).failed(11, &["somebody else"]);
    other.ip(&format!("link set {name} netns 1"));
    m.assert_free_and_clean(3, &before);
    assert!(!Path::new(&m.claim_file(3)).exists());
}
