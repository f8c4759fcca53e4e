use super::*;
use crate::vf::{LinkState, VlanProto};
use serde_json::json;

/// JSON is YAML too, as far as these tests go.
fn read(pairs: &[(&str, &str)]) -> Result<Wishes, CniError> {
    let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    parse(&map, |text| serde_json::from_str(text).map_err(|e| e.to_string()))
}

fn interfaces(value: &Value) -> Result<Vec<InterfaceWish>, CniError> {
    read(&[(INTERFACES, &value.to_string())]).map(|w| w.interfaces)
}

fn told(value: Value) -> String {
    let e = interfaces(&value).unwrap_err();
    format!("{} {}", e.code, e.msg)
}

#[test]
fn of_eth0() {
    assert_eq!(
        read(&[("k8s.v1.cni.cncf.io/other", "x"), ("offramp.dev/status", "{}")]).unwrap(),
        Wishes::default()
    );
    let wishes = read(&[(OFFLOAD, "preferred"), (POOL, "fast"), (QUEUES, "2")]).unwrap();
    assert_eq!((wishes.offload, wishes.queues), (Offload::Preferred, Some(2)));
    assert_eq!(wishes.pool.unwrap().as_str(), "fast");
    let told = |pairs: &[(&str, &str)]| read(pairs).map_err(|e| (e.code, e.msg)).unwrap_err();
    assert_eq!(
        told(&[(OFFLOAD, "always")]),
        (
            7,
            "annotation offramp.dev/offload: \"always\" is not allowed; \
        allowed: none, preferred, required"
                .into()
        )
    );
    assert_eq!(told(&[(OFFLOAD, "required"), (QUEUES, "0")]).0, 7);
    assert_eq!(
        told(&[(QUEUES, "2")]),
        (2, "field \"annotation offramp.dev/queues\" with value \"2\" is not supported".into())
    );
    assert_eq!(told(&[("offramp.dev/vlan", "2")]).0, 2);
    assert!(
        told(&[(POOL, "a/b")]).1.starts_with("annotation offramp.dev/pool: pool name \"a/b\" is not valid")
    );
}

#[test]
fn an_interface_with_everything() {
    let all = json!([{
        "name": "net1", "pool": "telco", "deviceID": "0000:02:10.1", "offload": "required",
        "vlan": 100, "qos": 3, "proto": "802.1ad", "mac": "02:00:00:00:00:01",
        "ips": ["192.168.10.5/24", "fd00:10::5/64"], "gateway": ["192.168.10.1", "fd00:10::1"],
        "routes": [{"dst": "10.0.0.0/8"}, {"dst": "fd00::/16", "gw": "fd00:10::2", "mtu": 1400, "priority": 7}],
        "defaultRoute": true, "mtu": 9000, "trust": "on", "spoofchk": false, "linkState": "enable",
        "minTxRate": 10, "maxTxRate": 100, "allmulticast": true, "queues": 2,
    }]);
    let [net1] = &interfaces(&all).unwrap()[..] else { panic!("one") };
    let s = &net1.settings;
    let vlan = s.vlan.unwrap();
    assert_eq!((vlan.id.unwrap().get(), vlan.qos, vlan.proto), (100, 3, VlanProto::Ad));
    assert_eq!((s.trust, s.spoofchk, s.allmulticast), (Some(true), Some(false), Some(true)));
    assert_eq!((s.link_state, s.min_tx_rate, s.max_tx_rate), (Some(LinkState::Enable), Some(10), Some(100)));
    assert_eq!((s.mtu.unwrap().get(), s.queues), (9000, Some(2)));
    assert_eq!(net1.device.unwrap().to_string(), "0000:02:10.1");
    let gateways: Vec<String> = net1.addresses.iter().map(|a| a.gateway.unwrap().to_string()).collect();
    assert_eq!(gateways, ["192.168.10.1", "fd00:10::1"]);
    let routes: Vec<String> = net1.routes.iter().map(|r| r.dst.to_string()).collect();
    assert_eq!(routes, ["10.0.0.0/8", "fd00::/16", "0.0.0.0/0", "::/0"]);
}

#[test]
fn a_count_makes_several_of_a_kind() {
    let names = |value: Value| -> Vec<String> {
        interfaces(&value).unwrap().iter().map(|w| w.name.to_string()).collect()
    };
    assert_eq!(names(json!([{"name": "net1", "count": 3}])), ["net1", "net2", "net3"]);
    assert_eq!(names(json!([{"name": "net", "count": 2}, {"name": "net2"}])), ["net0", "net1", "net2"]);
    assert!(
        told(json!([{"name": "net1", "count": 2}, {"name": "net2"}]))
            .contains("\"offramp.dev/interfaces[1].name\" with value net2: it is there twice")
    );
    assert!(told(json!([{"name": "net1", "count": 2, "ips": ["10.0.0.1/24"]}])).contains("cannot share"));
    assert!(told(json!([{"name": "net1", "count": 17}])).contains("from 1 to 16"));
    assert!(
        told(json!([{"name": "a", "count": 9}, {"name": "b", "count": 9}]))
            .contains("18 interfaces; allowed: 16")
    );
    assert!(told(json!([{"name": "abcdefghijklm99", "count": 2}])).contains("1 to 15 bytes"));
}

#[test]
fn the_pods_pool_is_for_interfaces_without_one() {
    let text = json!([{"name": "net1"}, {"name": "net2", "pool": "b"}]).to_string();
    let wishes = read(&[(POOL, "a"), (INTERFACES, &text)]).unwrap();
    let pools: Vec<&str> = wishes.interfaces.iter().map(|w| w.pool.as_ref().unwrap().as_str()).collect();
    assert_eq!(pools, ["a", "b"]);
}

#[test]
fn what_is_wrong_is_told_with_field_value_and_what_is_allowed() {
    let with = |key: &str, value: Value| {
        let mut entry = json!({"name": "net1", "ips": ["10.0.0.5/24"]});
        entry[key] = value;
        told(json!([entry]))
    };
    assert_eq!(
        with("vlan", json!(4095)),
        "7 field \"offramp.dev/interfaces[0].vlan\" with value 4095: allowed: a whole number from 0 to 4094"
    );
    assert_eq!(
        with("vlan", json!("x")),
        "7 field \"offramp.dev/interfaces[0].vlan\" with value \"x\": invalid type: string \"x\", expected u32"
    );
    assert_eq!(
        with("qos", json!(3)),
        "7 field \"offramp.dev/interfaces[0].qos\" needs a vlan from 1 to 4094"
    );
    assert_eq!(
        with("trust", json!("yes")),
        "7 field \"offramp.dev/interfaces[0].trust\" with value \"yes\": it is on, off, true or false"
    );
    assert_eq!(
        with("vlna", json!(1)),
        "2 field \"offramp.dev/interfaces[0].vlna\" with value 1 is not supported"
    );
    assert!(with("offload", json!("preferred")).ends_with("\"offramp.dev/interfaces[0].offload\" with value preferred: allowed: required; there is no other network behind a further interface to fall back to"));
    assert!(
        with("linkState", json!("up"))
            .contains("unknown variant `up`, expected one of `auto`, `enable`, `disable`")
    );
    assert!(with("mac", json!("01:00:00:00:00:01")).contains("it is a multicast address"));
    assert!(with("deviceID", json!("0000:02:10")).contains("it has the form 0000:02:10.3"));
    assert!(with("defaultRoute", json!(true)).ends_with("with value true: it needs a gateway"));
    assert!(with("gateway", json!("fd00::1")).ends_with("ips has no address of its family"));
    assert!(with("gateway", json!("10.0.0.5")).ends_with("it is no other host's address"));
    assert!(
        with("routes", json!([{"dst": "10.1.0.1/16"}]))
            .contains("interfaces[0].routes[0].dst\" with value 10.1.0.1/16: it has host bits set")
    );
    assert!(with("routes", json!([{"dst": "0.0.0.0/0"}])).contains("defaultRoute: true"));
    assert!(with("routes", json!([{"dst": "10.0.0.0/8", "via": "10.0.0.1"}])).starts_with("2 field"));
    for bad in ["10.0.0.5", "10.0.0.0/24", "10.0.0.255/24", "224.0.0.1/24", "127.0.0.1/8", "::1/128", "x/24"]
    {
        assert!(with("ips", json!([bad])).contains("it is a host's address"), "{bad}");
    }
}

#[test]
fn limits() {
    assert!(told(json!({"name": "net1"})).contains("it must be a list"));
    assert!(told(json!(["net1"])).contains("must be a JSON object"));
    assert!(told(json!([{"pool": "a"}])).contains("\"offramp.dev/interfaces[0].name\" is missing"));
    for name in ["eth0", "lo"] {
        assert!(told(json!([{"name": name}])).contains("it is taken"));
    }
    let many: Vec<Value> = (0..17).map(|i| json!({"name": format!("net{i}")})).collect();
    assert!(told(json!(many)).contains("17 interfaces; allowed: 16"));
    let ips: Vec<String> = (1..=33).map(|i| format!("10.0.0.{i}/24")).collect();
    assert!(told(json!([{"name": "net1", "ips": ips}])).contains("has 33 entries; allowed: 32"));
    let device = |name: &str| json!({"name": name, "deviceID": "0000:02:10.1"});
    assert!(told(json!([device("a"), device("b")])).contains("a has it already"));
    let default = |name: &str, ip: &str| json!({"name": name, "ips": [ip], "gateway": "10.0.0.1", "defaultRoute": true});
    assert!(
        told(json!([default("a", "10.0.0.5/24"), default("b", "10.0.0.6/24")]))
            .contains("IPv4 default routes over a and b: a pod has one")
    );
    let long = told(json!([{"name": "net1", "linkState": "x".repeat(10_000)}]));
    assert!(long.len() < 500, "{}", long.len());
    let e = read(&[(INTERFACES, &" ".repeat(20_000))]).unwrap_err();
    assert_eq!(e.msg, "annotation offramp.dev/interfaces: it has 20000 bytes; allowed: 16384");
}
