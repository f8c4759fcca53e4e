use super::*;
use crate::cni::config::{Link, LogLevel, ModeConf, NetConf};
use crate::cni::ipam::Ipam;

/// What Multus hands over for a NetworkAttachmentDefinition of sriov-cni with every documented field.
fn documented() -> Value {
    json!({
        "cniVersion": "0.3.1",
        "name": "sriov-net",
        "type": "offramp",
        "deviceID": "0000:03:02.0",
        "pciBusID": "0000:03:02.0",
        "mac": "CA:FE:C0:FF:EE:00",
        "vlan": 1000,
        "vlanQoS": 4,
        "vlanProto": "802.1ad",
        "min_tx_rate": 100,
        "max_tx_rate": 200,
        "spoofchk": "off",
        "trust": "on",
        "link_state": "enable",
        "logLevel": "warning",
        "logFile": "/tmp/sriov.log",
        "ipam": {"type": "host-local", "subnet": "10.56.217.0/24"},
    })
}

fn with(more: &Value) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "n", "type": "offramp", "deviceID": "0000:03:02.0"});
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    conf
}

fn parse(conf: &Value) -> Result<NetConf, CniError> {
    NetConf::parse(conf.to_string().as_bytes(), false)
}

fn vf(conf: &NetConf) -> &VfConf {
    match &conf.mode {
        ModeConf::Inline { link: Link::Vf(vf), .. } => vf,
        other => panic!("{other:?}"),
    }
}

fn settings(more: &Value) -> Result<VfSettings, CniError> {
    let conf = parse(&with(more))?;
    vf(&conf).with_runtime(&conf.runtime, None)
}

#[test]
fn every_documented_field_is_read() {
    let conf = parse(&documented()).unwrap();
    assert_eq!(conf.local.log_level, LogLevel::Error);
    let wanted = VfSettings {
        mac: Some("ca:fe:c0:ff:ee:00".parse().unwrap()),
        vlan: Some(VlanTag { id: Some(VlanId::try_from(1000).unwrap()), qos: 4, proto: VlanProto::Ad }),
        trust: Some(true),
        spoofchk: Some(false),
        link_state: Some(LinkState::Enable),
        min_tx_rate: Some(100),
        max_tx_rate: Some(200),
        ..VfSettings::default()
    };
    assert_eq!(*vf(&conf), VfConf { device: "0000:03:02.0".parse().ok(), settings: wanted });
    assert!(matches!(&conf.mode, ModeConf::Inline { ipam, .. } if matches!(**ipam, Ipam::Delegate { .. })));
}

#[test]
fn our_own_fields_and_the_defaults() {
    let more =
        json!({"mtu": 9000, "allmulticast": true, "queues": 2, "vlanProto": "", "trust": "", "mac": ""});
    let wanted = VfSettings {
        mtu: Some(Mtu::try_from(9000).unwrap()),
        allmulticast: Some(true),
        queues: Some(2),
        ..VfSettings::default()
    };
    assert_eq!(settings(&more).unwrap(), wanted);
    assert_eq!(settings(&json!({})).unwrap(), VfSettings::default());
    let untagged = settings(&json!({"vlan": 0, "vlanProto": "802.1Q"})).unwrap();
    assert_eq!(untagged.vlan, Some(VlanTag::default()));
}

#[test]
fn the_device_comes_from_the_configuration_or_the_runtime() {
    let runtime = json!({"runtimeConfig": {"deviceID": "0000:05:00.1"}});
    let mut bare = with(&runtime);
    bare.as_object_mut().unwrap().remove("deviceID");
    assert_eq!(vf(&parse(&bare).unwrap()).device, "0000:05:00.1".parse().ok());
    let e = parse(&with(&runtime)).unwrap_err();
    assert!(e.code == 7 && e.msg.contains("0000:03:02.0") && e.msg.contains("0000:05:00.1"), "{e}");
    // GC and STATUS have no device; what they want is still a VF.
    let mut bare = with(&json!({"spoofchk": "on"}));
    bare.as_object_mut().unwrap().remove("deviceID");
    assert_eq!(vf(&parse(&bare).unwrap()).device, None);
}

#[test]
fn what_the_runtime_wants_goes_first() {
    let mac = |more: &Value, args: Option<&str>| {
        let conf = parse(&with(more)).unwrap();
        let settings = vf(&conf).with_runtime(&conf.runtime, args.map(|m| m.parse().unwrap())).unwrap();
        settings.mac.unwrap().to_string()
    };
    let (one, two, three) = ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03");
    assert_eq!(mac(&json!({"mac": one}), None), one);
    assert_eq!(mac(&json!({"mac": one}), Some(two)), two);
    assert_eq!(mac(&json!({"mac": one, "runtimeConfig": {"mac": three}}), Some(two)), three);
    assert_eq!(mac(&json!({"mac": one, "args": {"cni": {"mac": three}}}), Some(two)), three);
}

#[test]
fn a_limit_on_sending_becomes_the_rate() {
    let rate = |bits: u64, max: Option<u32>| {
        let more = json!({"max_tx_rate": max, "runtimeConfig": {"bandwidth": {"egressRate": bits}}});
        settings(&more).unwrap().max_tx_rate
    };
    assert_eq!(rate(100_000_000, None), Some(100));
    assert_eq!(rate(100_000_008, None), Some(101), "rounded up");
    assert_eq!(rate(8, None), Some(1), "0 would be no limit");
    assert_eq!(rate(100_000_000, Some(50)), Some(50), "the stricter one");
    assert_eq!(rate(100_000_000, Some(0)), Some(100), "0 is no limit");
}

#[test]
fn what_cannot_be_is_named_with_its_code() {
    let cases = [
        (json!({"deviceID": "03:02.0"}), 7, "0000:02:10.3"),
        (json!({"bridge": "br0"}), 7, "bridge"),
        (json!({"vlan": 4095}), 7, "4095"),
        (json!({"vlan": 5, "vlanQoS": 8}), 7, "vlanQoS"),
        (json!({"vlanQoS": 1}), 7, "need vlan"),
        (json!({"vlan": 0, "vlanQoS": 1}), 7, "not 0"),
        (json!({"vlan": 0, "vlanProto": "802.1ad"}), 7, "not 0"),
        (json!({"vlan": 5, "vlanProto": "802.1x"}), 7, "802.1x"),
        (json!({"trust": true}), 7, "trust"),
        (json!({"spoofchk": "yes"}), 7, "spoofchk"),
        (json!({"link_state": "up"}), 7, "link_state"),
        (json!({"min_tx_rate": -1}), 7, "min_tx_rate"),
        (json!({"min_tx_rate": 20, "max_tx_rate": 10}), 7, "min_tx_rate 20"),
        (json!({"pciBusID": "0000:03:02.1"}), 7, "pciBusID"),
        (json!({"vlan_trunk": "1-4"}), 2, "vlan_trunk"),
        (json!({"isGateway": true}), 2, "isGateway"),
        (json!({"runtimeConfig": {"bandwidth": {"ingressRate": 8000}}}), 2, "ingressRate"),
        (json!({"runtimeConfig": {"infinibandGUID": "c2:11"}}), 2, "infinibandGUID"),
        (
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 2}]}}),
            2,
            "portMappings",
        ),
    ];
    for (more, code, word) in cases {
        let e = settings(&more).unwrap_err();
        assert!(e.code == code && e.to_string().contains(word), "{more}: {e:?}");
    }
}

#[test]
fn a_device_info_file_is_for_devices() {
    let info = json!({"runtimeConfig": {"CNIDeviceInfoFile": "/var/run/k8s.cni.cncf.io/x"}});
    assert_eq!(parse(&with(&info)).unwrap().runtime.device_info, Some("/var/run/k8s.cni.cncf.io/x".into()));
    let mut bridge = with(&info);
    bridge.as_object_mut().unwrap().remove("deviceID");
    bridge["bridge"] = json!("br0");
    let e = parse(&bridge).unwrap_err();
    assert!(e.code == 2 && e.msg.contains("CNIDeviceInfoFile"), "{e}");
}

#[test]
fn a_release_reads_what_an_add_could_not_have() {
    let text = with(&json!({"trust": "maybe"})).to_string();
    assert!(NetConf::parse(text.as_bytes(), true).is_ok());
}
