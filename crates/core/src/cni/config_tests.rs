use super::*;
use serde_json::json;
use std::collections::BTreeMap;

fn parse(value: &Value) -> Result<NetConf, CniError> {
    NetConf::parse(value.to_string().as_bytes(), false)
}

fn with(extra: &Value) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "offramp"});
    conf.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    conf
}

#[test]
fn what_is_named_inline_decides_the_mode() {
    let conf = parse(&with(&json!({}))).unwrap();
    assert_eq!(conf.mode, ModeConf::Node);
    assert_eq!(conf.local.socket, PathBuf::from("/run/offramp/offrampd.sock"));
    let conf = parse(&with(
        &json!({"bridge": "br0", "isDefaultGateway": true, "ipam": {"type": "host-local", "anything": 1}}),
    ))
    .unwrap();
    let ModeConf::Inline { link: Link::Bridge(bridge), ipam } = conf.mode else { panic!("inline") };
    assert!(bridge.is_gateway && *ipam == Ipam::Delegate { plugin: "host-local".into() });
}

#[test]
fn wrong_configurations_name_field_and_code() {
    let cases = [
        (json!({"cniVersion": "0.1.0"}), 1, "0.1.0"),
        (json!({"cniVersion": 5}), 7, "cniVersion"),
        (json!({"name": "../etc"}), 7, "name"),
        (json!({"name": null}), 7, "name"),
        (json!({"isGateway": true}), 2, "isGateway"),
        (json!({"path": "netkit"}), 2, "path"),
        (json!({"bridge": "br0", "path": "netkit-l3"}), 7, "\"netkit-l3\" is for offrampd's pods"),
        (json!({"bridge": "br0", "ipam": {"type": "../../bin/sh"}}), 7, "ipam.type"),
        (json!({"ipamTimeout": 0, "ipam": {"type": "dhcp"}}), 7, "\"ipamTimeout\" with value 0"),
        (json!({"ipamTimeout": 181, "ipam": {"type": "dhcp"}}), 7, "1 to 180 seconds"),
        (json!({"ipamTimeout": "9s", "ipam": {"type": "dhcp"}}), 7, "\"ipamTimeout\" with value \"9s\""),
        (json!({"ipamTimeout": 9, "ipam": {}}), 2, "ipamTimeout"),
        (json!({"bridge": "br0", "ipam": {}, "colour": "red"}), 2, "\"colour\" with value \"red\""),
        (json!({"bridge": "a/b"}), 7, "bridge"),
        (json!({"bridge": "br0", "mtu": "big"}), 7, "mtu"),
        (json!({"bridge": "br0", "mtu": 9}), 7, "MTU"),
        (json!({"bridge": "br0", "vlan": 4095}), 7, "VLAN"),
        (json!({"bridge": "br0", "vlanTrunk": [{"id": 5, "minID": 3}]}), 7, "vlanTrunk[0]"),
        (json!({"bridge": "br0", "vlanTrunk": [{"minID": 5, "maxID": 3}]}), 7, "vlanTrunk[0]"),
        (json!({"bridge": "br0", "ipMasqBackend": "iptables"}), 2, "ipMasqBackend"),
        (json!({"bridge": "br0", "hairpinMode": true, "promiscMode": true}), 7, "hairpinMode"),
        (
            json!({"ipam": {"type": "offramp", "ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.0.0/25"}]]}}),
            7,
            "overlap",
        ),
        (json!({"ipam": {"type": "offramp", "ranges": [[]]}}), 7, "ipam.ranges[0]"),
        (
            json!({"ipam": {"type": "offramp", "ranges": [[{"subnet": "10.0.0.0/24", "x": 1}]]}}),
            2,
            "ipam.ranges[0][0].x",
        ),
        (json!({"ipam": {"type": "offramp", "gateway": "10.0.0.1"}}), 7, "ipam.subnet"),
        (json!({"bridge": "br0", "preserveDefaultVlan": false}), 7, "preserveDefaultVlan"),
        (json!({"stateDir": "relative"}), 7, "stateDir"),
        (json!({"prevResult": {"cniVersion": "1.0.0", "ips": 5}}), 6, "result"),
        (
            json!({"cni.dev/valid-attachments": [{"containerID": "/", "ifname": "eth0"}]}),
            7,
            "valid-attachments",
        ),
    ];
    for (extra, code, text) in cases {
        let e = parse(&with(&extra)).unwrap_err();
        assert!(e.code == code && e.msg.contains(text), "{extra}: {} {e}", e.code);
    }
    for stdin in ["", "{", "[]", "5", "\"x\"", "\u{0}"] {
        assert_eq!(NetConf::parse(stdin.as_bytes(), false).unwrap_err().code, 6, "{stdin:?}");
    }
}

#[test]
fn a_release_reads_past_what_it_does_not_need() {
    let conf =
        with(&json!({"prevResult": {"cniVersion": "9"}, "runtimeConfig": {"mac": "nonsense"}, "new-key": 1}));
    let parsed = NetConf::parse(conf.to_string().as_bytes(), true).unwrap();
    assert_eq!((parsed.prev_result, parsed.runtime), (None, RuntimeConfig::default()));
    assert!(parse(&conf).is_err());
}

#[test]
fn node_mode_has_no_ranges_of_the_runtime() {
    let ranges = json!({"runtimeConfig": {"ipRanges": [[{"subnet": "10.1.0.0/24"}]]}});
    let e = parse(&with(&ranges)).unwrap_err();
    assert!(e.code == 2 && e.msg.contains("runtimeConfig.ipRanges") && e.msg.contains("10.1.0.0/24"), "{e}");
    let mut inline = ranges.clone();
    inline["ipam"] = json!({"type": "offramp"});
    assert_eq!(parse(&with(&inline)).unwrap().runtime.ip_ranges.len(), 1);
    assert!(NetConf::parse(with(&ranges).to_string().as_bytes(), true).is_ok());
    assert!(parse(&with(&json!({"runtimeConfig": {"ipRanges": []}}))).is_ok());
}

#[test]
fn only_a_delegated_plugin_needs_the_whole_configuration() {
    let annotations = json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"a/b": "c"}}});
    let node = parse(&with(&annotations)).unwrap();
    assert_eq!((node.raw, node.runtime.annotations), (Value::Null, Some(BTreeMap::new())));
    let mut delegated = with(&annotations);
    delegated["ipam"] = json!({"type": "static"});
    assert_eq!(parse(&delegated).unwrap().raw, delegated);
    let mut wrong = annotations;
    wrong["runtimeConfig"]["io.kubernetes.cri.pod-annotations"]["a/b"] = json!(5);
    let e = parse(&with(&wrong)).unwrap_err();
    assert!(e.code == 7 && e.msg.contains("pod-annotations") && e.msg.contains("{\"a/b\":5}"), "{e}");
}

#[test]
fn the_log_is_found_in_a_wrong_configuration() {
    let local = |conf: Value| Local::of(conf.to_string().as_bytes()).map(|l| l.log_file);
    let wrong = json!({"cniVersion": 5, "stateDir": "/s", "colour": "red"});
    assert_eq!(local(wrong), Some(PathBuf::from("/s/offramp.log")));
    assert_eq!(local(json!({"logFile": "relative"})), None);
    assert_eq!((local(json!([])), Local::of(b"{").map(|l| l.log_file)), (None, None));
}

#[test]
fn gc_tells_an_empty_list_from_none() {
    assert_eq!(parse(&with(&json!({}))).unwrap().valid_attachments, None);
    let empty = parse(&with(&json!({"cni.dev/valid-attachments": []}))).unwrap();
    assert_eq!(empty.valid_attachments, Some(vec![]));
}

#[test]
fn args_ask_where_no_capability_does() {
    let args =
        json!({"args": {"cni": {"ips": ["10.0.0.5"], "mac": "02:00:00:00:00:05", "labels": []}, "other": 1}});
    let runtime = parse(&with(&args)).unwrap().runtime;
    assert_eq!((runtime.ips.len(), runtime.mac), (1, Some("02:00:00:00:00:05".parse().unwrap())));
    let mut both = args;
    both["runtimeConfig"] = json!({"ips": ["10.0.0.6"], "mac": "02:00:00:00:00:06"});
    let runtime = parse(&with(&both)).unwrap().runtime;
    assert_eq!(runtime.ips, ["10.0.0.6".parse().unwrap()]);
    assert_eq!(runtime.mac, Some("02:00:00:00:00:06".parse().unwrap()));
    let e = parse(&with(&json!({"args": {"cni": {"mac": "x"}}}))).unwrap_err();
    assert!(e.code == 7 && e.msg.contains("args.cni.mac"), "{e}");
}
