use super::*;

fn sample() -> CniResult {
    CniResult {
        interfaces: vec![Interface {
            name: "eth0".into(),
            mac: Some("02:00:00:00:00:01".into()),
            mtu: Some(1450),
            sandbox: Some("/run/netns/x".into()),
            pci_id: Some("0000:01:00.1".into()),
            ..Default::default()
        }],
        ips: vec![
            Ip {
                address: "10.0.0.2/24".parse().unwrap(),
                gateway: "10.0.0.1".parse().ok(),
                interface: Some(0),
            },
            Ip { address: "fd00::2/64".parse().unwrap(), gateway: None, interface: Some(0) },
        ],
        routes: vec![Route { priority: Some(5), ..Route::via("0.0.0.0/0".parse().unwrap(), None) }],
        dns: Dns::default(),
    }
}

#[test]
fn every_version_has_its_shape() {
    for version in Version::ALL {
        let json = sample().to_json(version);
        assert_eq!(json["cniVersion"], version.as_str());
        let versioned = version < Version::V1_0_0;
        assert_eq!(json["ips"][0].get("version").is_some(), versioned, "{version}");
        assert_eq!(json["ips"][1].get("version"), versioned.then(|| json!("6")).as_ref());
        let newest = version == Version::V1_1_0;
        for (object, key) in [
            (&json["interfaces"][0], "mtu"),
            (&json["interfaces"][0], "pciID"),
            (&json["routes"][0], "priority"),
        ] {
            assert_eq!(object.get(key).is_some(), newest, "{version} {key}");
        }
        let back = CniResult::from_json(json).unwrap();
        assert_eq!(back.ips, sample().ips);
        assert_eq!(back == sample(), newest);
    }
}

#[test]
fn joins_behind_an_earlier_result() {
    let all = sample().after(Some(sample()));
    assert_eq!((all.interfaces.len(), all.ips[3].interface, all.ips[1].interface), (2, Some(1), Some(0)));
    assert_eq!(sample().after(None), sample());
}

#[test]
fn wrong_results_are_named() {
    assert_eq!(CniResult::from_json(json!({"cniVersion": "9.9.9"})).unwrap_err().code, 1);
    assert_eq!(
        CniResult::from_json(json!({"cniVersion": "1.0.0", "ips": [{"address": "x"}]})).unwrap_err().code,
        6
    );
    let nulls = json!({"cniVersion": "1.0.0", "interfaces": null, "dns": {"nameservers": null}});
    assert_eq!(CniResult::from_json(nulls).unwrap(), CniResult::default());
}
