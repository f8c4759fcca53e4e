use super::*;
use crate::cni::CniError;
use crate::cni::result::CniResult;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn select(text: &str) -> Result<Vec<Selection>, CniError> {
    let annotations = BTreeMap::from([(NETWORKS.to_owned(), text.to_owned())]);
    parse(&annotations, &"team-a".parse().unwrap())
}

fn nad(text: &str) -> NadRef {
    let (namespace, name) = text.split_once('/').unwrap();
    NadRef { namespace: namespace.parse().unwrap(), name: name.parse().unwrap() }
}

fn define(config: &Value) -> Result<Definition, CniError> {
    Definition::parse(nad("default/a"), &config.to_string(), None)
}

fn one(entry: Value) -> Selection {
    select(&json!([entry]).to_string()).unwrap().remove(0)
}

#[test]
fn the_comma_form() {
    let all = select(" net-a, other/net-b ,net.c@data0,other/net-a@x").unwrap();
    let told: Vec<String> = all.iter().map(|s| format!("{}@{}", s.nad, s.ifname)).collect();
    assert_eq!(told, ["team-a/net-a@net1", "other/net-b@net2", "team-a/net.c@data0", "other/net-a@x"]);
    assert_eq!(select("  ").unwrap(), []);
    assert_eq!(parse(&BTreeMap::new(), &"a".parse().unwrap()).unwrap(), []);
}

#[test]
fn the_json_form() {
    let all = select(
        &json!([
            {"name": "a"},
            {"name": "b", "namespace": "", "interface": ""},
            {"name": "c", "namespace": "other", "interface": "data0", "ips": ["192.0.2.5", "2001:db8::5/64"],
             "mac": "02:00:00:00:00:01", "infiniband-guid": "c2:11:22:33:44:55:66:77",
             "portMappings": [{"hostPort": 80, "containerPort": 8080, "protocol": "tcp"}],
             "bandwidth": {"ingressRate": 8000, "ingressBurst": 800},
             "cni-args": {"color": "red"}, "default-route": ["192.0.2.1", "2001:db8::1"], "example.com/own": 1},
        ])
        .to_string(),
    )
    .unwrap();
    assert_eq!(all[1].nad, nad("team-a/b"));
    assert_eq!((all[0].ifname.as_str(), all[1].ifname.as_str()), ("net1", "net2"));
    let c = &all[2];
    assert_eq!((c.nad.clone(), c.ifname.as_str()), (nad("other/c"), "data0"));
    assert_eq!(c.addresses.ips, ["192.0.2.5", "2001:db8::5/64"]);
    assert_eq!((c.default_route.len(), c.cni_args["color"].clone()), (2, json!("red")));
    let long = one(json!({"name": "ib", "mac": vec!["80"; 20].join(":")}));
    assert!(long.addresses.mac.is_some());
}

/// Each names the annotation, the field, the value, and what is allowed or why not.
#[test]
fn what_is_wrong_is_told() {
    let field = |entry: Value| json!([entry]).to_string();
    let with = |key: &str, value: Value| field(json!({"name": "a", key: value}));
    let many = |n: usize| vec!["a"; n].join(",");
    let cases: Vec<(String, &[&str])> = vec![
        ("a,,b".into(), &["networks[1]", "\"\"", "NAMESPACE/NAME"]),
        ("a,".into(), &["networks[1]"]),
        ("A".into(), &["networks[0]", "\"A\"", "lower-case"]),
        ("a/b/c".into(), &["networks[0]", "\"a/b/c\"", "NAMESPACE/NAME"]),
        ("/b".into(), &["namespace \"\""]),
        ("b/".into(), &["\"b/\"", "NAMESPACE/NAME"]),
        ("Ns/b".into(), &["namespace \"Ns\"", "lower-case"]),
        ("a@".into(), &["interface name \"\""]),
        ("a@b@c".into(), &["networks[0]"]),
        ("a@eth0".into(), &["interface", "eth0", "taken"]),
        ("a@lo".into(), &["taken"]),
        ("a@abcdefghijklmnop".into(), &["1 to 15 bytes"]),
        ("a@x,b@x".into(), &["networks[1].interface", "x", "entry 0"]),
        ("a@net2,b".into(), &["networks[1].interface", "net2", "entry 0"]),
        (many(17), &["17 networks", "allowed: 16"]),
        ("x".repeat(17_000), &["17000 bytes", "allowed: 16384"]),
        ("[".into(), &["no JSON"]),
        ("{\"name\": \"a\"}".into(), &["must be a JSON list"]),
        ("\"a\"".into(), &["must be a JSON list"]),
        ("[\"a\"]".into(), &["networks[0]", "must be a JSON object"]),
        ("[{}]".into(), &["networks[0].name", "missing"]),
        (field(json!({"name": 5})), &["networks[0].name", "5"]),
        (field(json!({"name": "A_b"})), &["networks[0].name", "A_b", "lower-case"]),
        (with("namespace", json!("a.b")), &["networks[0].namespace", "a.b"]),
        (with("interface", json!("a/b")), &["networks[0].interface", "a/b", "no '/'"]),
        (with("interface", json!("eth0")), &["networks[0].interface", "eth0", "taken"]),
        (with("ips", json!([])), &["networks[0].ips", "allowed: 1 to 32"]),
        (with("ips", json!("192.0.2.1")), &["networks[0].ips", "192.0.2.1"]),
        (with("ips", json!(["192.0.2.300"])), &["networks[0].ips", "192.0.2.300", "IP address"]),
        (with("ips", json!(["192.0.2.1/33"])), &["networks[0].ips", "192.0.2.1/33"]),
        (with("ips", json!(["0.0.0.0"])), &["networks[0].ips", "no host"]),
        (with("ips", json!(["::1"])), &["networks[0].ips", "no host"]),
        (with("ips", json!(["192.0.2.1", "192.0.2.1/24"])), &["networks[0].ips", "twice"]),
        (with("mac", json!("02:00")), &["networks[0].mac", "02:00", "6 bytes"]),
        (with("mac", json!("01:00:00:00:00:00")), &["networks[0].mac", "unicast"]),
        (with("mac", json!("0+:00:00:00:00:00")), &["networks[0].mac"]),
        (with("infiniband-guid", json!("x")), &["networks[0].infiniband-guid", "8 bytes"]),
        (
            with("portMappings", json!([{"hostPort": 0, "containerPort": 1}])),
            &["networks[0].portMappings[0].hostPort", "1 to 65535"],
        ),
        (
            with("portMappings", json!([{"hostPort": 1, "containerPort": 1, "protocol": "icmp"}])),
            &["tcp, udp or sctp"],
        ),
        (
            with("portMappings", json!([{"hostPort": 1}])),
            &["networks[0].portMappings[0].containerPort", "missing"],
        ),
        (with("bandwidth", json!({"ingressBurst": 5})), &["networks[0].bandwidth.ingressRate"]),
        (with("bandwidth", json!({"speed": 5})), &["networks[0].bandwidth.speed", "not supported"]),
        (with("cni-args", json!("x")), &["networks[0].cni-args"]),
        (with("default-route", json!("192.0.2.1")), &["networks[0].default-route"]),
        (
            with("default-route", json!(["192.0.2.1", "192.0.2.2"])),
            &["networks[0].default-route", "192.0.2.2", "of its family"],
        ),
        (with("default-route", json!(["0.0.0.0"])), &["networks[0].default-route", "gateway"]),
        (with("ip", json!(["192.0.2.1"])), &["networks[0].ip", "not supported"]),
        (with("ipam-claim-reference", json!("x")), &["networks[0].ipam-claim-reference", "not supported"]),
    ];
    assert!(cases.len() >= 40);
    for (text, words) in cases {
        let e = select(&text).unwrap_err();
        assert!(matches!(e.code, 2 | 6 | 7) && e.msg.contains(NETWORKS) && e.msg.len() < 500, "{e}");
        for word in words {
            assert!(e.msg.contains(word), "{word:?} is not in {:?}, of {text:.60}", e.msg);
        }
    }
}

#[test]
fn namespaces_of_others_must_be_allowed() {
    let own = "team-a".parse().unwrap();
    let check = |text: &str, global: &[&str]| {
        let global: Vec<String> = global.iter().map(|s| (*s).to_owned()).collect();
        check_namespaces(&select(text).unwrap(), &own, &global).map_err(|e| (e.code, e.msg))
    };
    assert_eq!(check("a,default/b", &["default"]), Ok(()));
    assert_eq!(check("other/a", &["*"]), Ok(()));
    let (code, msg) = check("a,other/b", &["default"]).unwrap_err();
    assert_eq!(code, 107);
    assert!(
        msg.contains("networks[1].namespace\" with value other") && msg.ends_with("team-a, default"),
        "{msg}"
    );
}

#[test]
fn names_and_versions_are_put_in() {
    let single =
        define(&json!({"type": "macvlan", "cniVersion": "1.0.0", "prevResult": {}, "runtimeConfig": {}}))
            .unwrap();
    assert_eq!(
        Value::from(single.plugins[0].clone()),
        json!({"type": "macvlan", "cniVersion": "1.0.0", "name": "a"})
    );
    let list = json!({"cniVersion": "0.4.0", "name": "n", "plugins": [{"type": "bridge", "name": "x"}, {"type": "tuning"}]});
    let list = define(&list).unwrap();
    let of = |t: &str| json!({"type": t, "cniVersion": "0.4.0", "name": "n"});
    assert_eq!(
        list.plugins.iter().cloned().map(Value::from).collect::<Vec<_>>(),
        [of("bridge"), of("tuning")]
    );
    assert!(list.check && !define(&json!({"type": "a", "cniVersion": "0.3.1"})).unwrap().check);
    assert!(
        !define(&json!({"cniVersion": "1.0.0", "disableCheck": true, "plugins": [{"type": "a"}]}))
            .unwrap()
            .check
    );
}

#[test]
fn definitions_that_cannot_be_used_are_named() {
    let cases: [(Value, &str); 12] = [
        (json!("x"), "not a JSON object"),
        (json!({}), "field \"type\" is missing"),
        (json!({"type": "../sh"}), "file name"),
        (json!({"type": ".."}), "file name"),
        (json!({"type": "a", "cniVersion": "0.2.0"}), "0.2.0"),
        (json!({"type": "a", "name": "-x"}), "network name \"-x\""),
        (json!({"type": "a", "name": 5}), "field \"name\""),
        (json!({"plugins": []}), "list of 1 to 16"),
        (json!({"plugins": [{"type": "a"}, 5]}), "list of 1 to 16"),
        (json!({"type": "offramp"}), "needs a \"pool\""),
        (json!({"type": "offramp", "pool": "a/b"}), "pool name \"a/b\""),
        (
            json!({"plugins": [{"type": "offramp", "pool": "a"}, {"type": "tuning"}]}),
            "cannot have a \"pool\"",
        ),
    ];
    for (config, why) in cases {
        let e = define(&config).unwrap_err();
        assert!(e.msg.starts_with("NetworkAttachmentDefinition default/a: ") && e.msg.contains(why), "{e}");
    }
    let empty = Definition::parse(nad("default/a"), " ", None).unwrap_err();
    assert!(empty.msg.ends_with("no spec.config") && empty.details.contains("disk"), "{empty}");
    let large = Definition::parse(nad("default/a"), &" ".repeat(40_000).replace(' ', "x"), None).unwrap_err();
    assert!(large.msg.contains("40000 bytes"), "{large}");
}

#[test]
fn a_capability_goes_to_who_declares_it() {
    let list = define(&json!({"cniVersion": "1.0.0", "plugins": [
        {"type": "bridge", "capabilities": {"ips": true, "mac": false}, "args": {"cni": {"a": 1, "ips": ["x"]}, "b": 2}},
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]}))
    .unwrap();
    let ports = json!([{"hostPort": 80, "containerPort": 8080}]);
    let wish = one(
        json!({"name": "a", "ips": ["192.0.2.5"], "mac": "02:00:00:00:00:01", "portMappings": ports, "cni-args": {"c": 3}}),
    );
    let d = delegation(&wish, &list, None).unwrap();
    assert_eq!(d.plugins[0]["runtimeConfig"], json!({"ips": ["192.0.2.5"]}));
    assert_eq!(d.plugins[1]["runtimeConfig"], json!({"portMappings": ports}));
    let cni = json!({"a": 1, "c": 3, "ips": ["192.0.2.5"], "mac": "02:00:00:00:00:01"});
    assert_eq!(d.plugins[0]["args"], json!({"cni": cni, "b": 2}));
    assert!(!d.is_begun() && d.check && (d.type_of(1), d.is_ours(1)) == ("portmap", false));
    let plain = delegation(&one(json!({"name": "a"})), &list, None).unwrap();
    assert_eq!(plain.plugins[1], Value::from(list.plugins[1].clone()));
}

#[test]
fn a_capability_that_nobody_declares_is_refused() {
    let macvlan = define(&json!({"type": "macvlan"})).unwrap();
    for (key, value, capability) in [
        ("portMappings", json!([{"hostPort": 80, "containerPort": 8080}]), "portMappings"),
        ("bandwidth", json!({"egressRate": 8000, "egressBurst": 800}), "bandwidth"),
        ("infiniband-guid", json!("c2:11:22:33:44:55:66:77"), "infinibandGUID"),
    ] {
        let e = delegation(&one(json!({"name": "a", key: value})), &macvlan, None).unwrap_err();
        assert_eq!(e.code, 2);
        assert!(e.msg.contains(NETWORKS) && e.msg.contains(key) && e.msg.contains("default/a"), "{e}");
        assert!(e.details.contains("(macvlan)") && e.details.contains(capability), "{e}");
    }
}

#[test]
fn a_device_goes_to_who_declares_it_or_to_the_first() {
    let (id, container) = ("0000:02:10.1", "c1".parse().unwrap());
    let device = Some(Device { id, resource: "vendor/vf", container: &container });
    let parse =
        |config: Value| Definition::parse(nad("default/a"), &config.to_string(), Some("vendor/vf")).unwrap();
    let sriov = parse(json!({"plugins": [{"type": "sriov"}, {"type": "tuning"}]}));
    assert_eq!(sriov.resource.as_deref(), Some("vendor/vf"));
    let d = delegation(&one(json!({"name": "a"})), &sriov, device).unwrap();
    assert_eq!((&d.plugins[0]["deviceID"], &d.plugins[0]["pciBusID"]), (&json!(id), &json!(id)));
    let info = d.device.unwrap();
    let source = "/run/k8s.cni.cncf.io/devinfo/dp/vendor-vf-0000:02:10.1-device.json";
    assert_eq!((info.source.to_str().unwrap(), info.file), (source, None));
    assert_eq!(d.plugins[1].get("deviceID"), None);
    let declared = parse(json!({"type": "offramp", "capabilities": {"deviceID": true}}));
    let d = delegation(&one(json!({"name": "a"})), &declared, device).unwrap();
    assert_eq!(d.plugins[0]["runtimeConfig"], json!({"deviceID": id}));
    assert_eq!(d.plugins[0].get("deviceID"), None);
    // A plugin that writes a file is told which.
    let told = parse(json!({"type": "sriov", "capabilities": {"CNIDeviceInfoFile": true}}));
    let d = delegation(&one(json!({"name": "a"})), &told, device).unwrap();
    let file = "/run/k8s.cni.cncf.io/devinfo/cni/c1-net1";
    assert_eq!(d.plugins[0]["runtimeConfig"], json!({"CNIDeviceInfoFile": file}));
    let says = json!({"type": "pci", "version": "1.1.0"});
    let info = d.device.unwrap();
    let status = |says| {
        let device = Some(DeviceInfo { told: says, ..info.clone() });
        let result = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "net1", "sandbox": "/n"}]});
        let d = Delegation {
            device,
            result: Some(result),
            ..delegation(&one(json!({"name": "a"})), &told, None).unwrap()
        };
        d.entry().unwrap().device_info
    };
    assert_eq!((status(Some(says.clone())), status(None)), (Some(says), None));
}

#[test]
fn a_vf_of_a_pool() {
    let vf = |more: Value| {
        let mut config =
            json!({"type": "offramp", "cniVersion": "1.0.0", "pool": "telco", "vlan": 100, "trust": "on"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        define(&config).unwrap()
    };
    let wish = one(
        json!({"name": "a", "ips": ["192.0.2.5/24"], "mac": "02:00:00:00:00:01", "default-route": ["192.0.2.1"]}),
    );
    let lent = pool_wish(&wish, &vf(json!({}))).unwrap().unwrap();
    assert_eq!((lent.name.as_str(), lent.pool.unwrap().as_str()), ("net1", "telco"));
    assert_eq!((lent.settings.trust, lent.settings.mac.is_some()), (Some(true), true));
    assert_eq!(lent.addresses[0].gateway, Some("192.0.2.1".parse().unwrap()));
    assert!(lent.default_route && lent.routes.len() == 1);
    assert!(delegation(&wish, &vf(json!({})), None).unwrap().plugins.is_empty());
    assert_eq!(pool_wish(&wish, &define(&json!({"type": "macvlan"})).unwrap()).unwrap(), None);
    let told = |wish: Value, more: Value| pool_wish(&one(wish), &vf(more)).unwrap_err().to_string();
    assert!(told(json!({"name": "a"}), json!({"ipam": {"type": "../x"}})).contains("ipam.type"));
    assert!(told(json!({"name": "a"}), json!({"speed": 5})).contains("\"spec.config.speed\""));
    assert!(told(json!({"name": "a", "ips": ["192.0.2.5"]}), json!({})).contains("prefix length"));
    assert!(
        told(json!({"name": "a", "default-route": ["192.0.2.1"]}), json!({}))
            .contains("no address of its family")
    );
    assert!(told(json!({"name": "a", "cni-args": {"x": 1}}), json!({})).contains("cni-args"));
    let own = json!({"ipam": {"type": "offramp", "ranges": [[{"subnet": "10.0.0.0/24"}]], "dataDir": "/x"}});
    let e = pool_wish(&one(json!({"name": "a"})), &vf(own)).unwrap_err();
    assert!(e.code == 2 && e.msg.contains("\"ipam.dataDir\" with value \"/x\""), "{e}");
}

/// What is judged has a key of its own, and no other way in.
#[test]
fn addresses_of_an_ipam_are_asked_for_with_ips() {
    let config = json!({"type": "offramp", "pool": "telco", "ipam": {"type": "static"}});
    let definition = define(&config).unwrap();
    let wish = |args: Value| pool_wish(&one(json!({"name": "a", "cni-args": args})), &definition);
    assert!(wish(json!({"color": "red"})).is_ok());
    for key in ["ips", "IPs", "ip\u{17f}", "mac", "MAC"] {
        let e = wish(json!({"color": "red", key: ["192.0.2.5/24"]})).unwrap_err();
        assert!(e.code == 7 && e.msg.contains(&format!("{key:?}")) && e.msg.contains("use `ips`"), "{e}");
    }
    let mut asked =
        delegation(&one(json!({"name": "a", "ips": ["192.0.2.5/24"]})), &definition, None).unwrap();
    asked.result = Some(json!({"cniVersion": "1.0.0"}));
    let e = asked.verify(&CniResult::default()).unwrap_err();
    assert!(e.msg.ends_with("its ipam (static) does not support that"), "{e}");
}

#[test]
fn addresses_that_were_not_given_fail() {
    let macvlan = define(&json!({"type": "macvlan"})).unwrap();
    let wish = one(json!({"name": "a", "ips": ["192.0.2.5"], "mac": "02:00:00:00:00:AA"}));
    let d = delegation(&wish, &macvlan, None).unwrap();
    let result = |ip: &str, mac: &str| {
        let interfaces = json!([{"name": "br0"}, {"name": "net1", "mac": mac, "sandbox": "/x"}]);
        CniResult::from_json(json!({"cniVersion": "1.0.0", "interfaces": interfaces, "ips": [{"address": ip, "interface": 1}]})).unwrap()
    };
    assert_eq!(d.verify(&result("192.0.2.5/24", "02:00:00:00:00:aa")), Ok(()));
    let e = d.verify(&result("192.0.2.6/24", "02:00:00:00:00:aa")).unwrap_err();
    assert!(e.code == 2 && e.msg.contains("address 192.0.2.5") && e.msg.contains("(macvlan)"), "{e}");
    assert!(
        d.verify(&result("192.0.2.5/24", "02:00:00:00:00:bb"))
            .unwrap_err()
            .msg
            .contains("MAC 02:00:00:00:00:AA")
    );
}

proptest! {
    /// Whatever a pod's author writes is either understood or refused, and what is understood stays within its bounds.
    #[test]
    fn no_text_is_too_strange(text in "[ -~]{0,80}|\\PC{0,40}") {
        if let Ok(all) = select(&text) {
            prop_assert!(all.len() <= 16);
            let mut names: Vec<_> = all.iter().map(|s| s.ifname.clone()).collect();
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), all.len());
        }
    }

    /// What is taken apart and put together again is the same.
    #[test]
    fn references_survive(names in proptest::collection::vec("[a-z]([a-z0-9-]{0,8}[a-z0-9])?", 1..8)) {
        let all = select(&names.join(",")).unwrap();
        let read: Vec<String> = all.iter().map(|s| s.nad.name.to_string()).collect();
        prop_assert_eq!(read, names);
    }
}
