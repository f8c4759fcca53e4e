use super::*;
use serde_json::json;

const POD: [u8; 4] = [10, 244, 1, 10];
const OUTSIDE: [u8; 4] = [192, 0, 2, 254];

fn packet() -> Packet<'static> {
    let (into, out) = (Port { name: "offramp0", group: 0 }, Some(Port { name: "eth0", group: 7 }));
    Packet { from: POD.into(), to: OUTSIDE.into(), into, out, answer: false, port: None }
}

/// A chain at the forward hook of `ip filter` with these rules, and a chain OTHER with those.
fn listing(policy: &str, rules: &[Value], other: &[Value]) -> Value {
    let chain = json!({"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "type": "filter",
        "hook": "forward", "prio": 0, "policy": policy}});
    let set = json!({"set": {"family": "ip", "table": "filter", "name": "pods", "type": "ipv4_addr",
        "elem": [{"prefix": {"addr": "10.244.0.0", "len": 16}}]}});
    let rule = |chain: &str, expr: &Value| json!({"rule": {"family": "ip", "table": "filter", "chain": chain, "handle": 1, "expr": expr}});
    let rules = rules.iter().map(|e| rule("FORWARD", e)).chain(other.iter().map(|e| rule("OTHER", e)));
    let all: Vec<Value> = [json!({"metainfo": {}}), chain, set].into_iter().chain(rules).collect();
    json!({"nftables": all})
}

fn judge_as(listing: &Value, packet: &Packet<'_>) -> Verdict {
    let mut all = Ruleset::read(listing).judge(&["forward"], packet);
    assert_eq!(all.len(), 1);
    all.remove(0).1
}

fn judge(policy: &str, rules: &[Value], other: &[Value]) -> &'static str {
    match judge_as(&listing(policy, rules, other), &packet()) {
        Verdict::Accept => "accept",
        Verdict::Drop(_) => "drop",
        Verdict::Unclear(_) => "unclear",
    }
}

fn when(left: Value, right: Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn meta(key: &str, right: &str) -> Value {
    when(json!({"meta": {"key": key}}), json!(right))
}

fn source(right: Value) -> Value {
    when(json!({"payload": {"protocol": "ip", "field": "saddr"}}), right)
}

#[test]
fn rules_are_followed_in_their_order() {
    let (accept, drop) = (json!({"accept": null}), json!({"drop": null}));
    let counter = json!({"counter": {"packets": 0, "bytes": 0}});
    let jump = json!({"jump": {"target": "OTHER"}});
    let ours = meta("iifname", "offramp0");
    let theirs = meta("iifname", "docker0");
    let group = |key: &str, right| when(json!({"meta": {"key": key}}), right);
    let cidr = |net: &str| source(json!({"prefix": {"addr": net, "len": 16}}));
    let mark = when(json!({"meta": {"key": "mark"}}), json!(16384));
    let cases: Vec<(&str, Vec<Value>, Vec<Value>, &str)> = vec![
        ("accept", vec![], vec![], "accept"),
        ("drop", vec![], vec![], "drop"),
        ("drop", vec![json!([counter, accept])], vec![], "accept"),
        ("drop", vec![json!([theirs, accept])], vec![], "drop"),
        ("drop", vec![json!([ours, counter, accept])], vec![], "accept"),
        ("drop", vec![json!([meta("iifname", "off*"), accept])], vec![], "accept"),
        ("drop", vec![json!([meta("oifname", "offramp0"), accept])], vec![], "drop"),
        ("drop", vec![json!([group("iifgroup", json!("default")), accept])], vec![], "accept"),
        ("drop", vec![json!([group("iifgroup", json!(7)), accept])], vec![], "drop"),
        ("drop", vec![json!([group("oifgroup", json!({"set": [7, 8]})), accept])], vec![], "accept"),
        ("drop", vec![json!([group("oifgroup", json!("uplinks")), accept])], vec![], "unclear"),
        ("accept", vec![json!([cidr("10.244.0.0"), drop])], vec![], "drop"),
        ("accept", vec![json!([cidr("10.245.0.0"), drop])], vec![], "accept"),
        ("accept", vec![json!([source(json!("@pods")), drop])], vec![], "drop"),
        ("accept", vec![json!([source(json!("@none")), drop])], vec![], "accept"),
        (
            "accept",
            vec![json!([source(json!({"range": ["10.244.1.1", "10.244.1.9"]})), drop])],
            vec![],
            "accept",
        ),
        ("accept", vec![json!([ours, accept]), json!([cidr("10.244.0.0"), drop])], vec![], "accept"),
        ("drop", vec![json!([jump])], vec![json!([ours, accept])], "accept"),
        (
            "drop",
            vec![json!([jump]), json!([accept])],
            vec![json!([{"return": null}]), json!([drop])],
            "accept",
        ),
        ("accept", vec![json!([{"goto": {"target": "OTHER"}}]), json!([drop])], vec![], "accept"),
        // What is not understood lets nothing be said of what would have been dropped, and blames nobody.
        ("drop", vec![json!([mark, accept])], vec![], "unclear"),
        ("drop", vec![json!([{"xt": {"type": "match", "name": "mark"}}, accept])], vec![], "unclear"),
        ("drop", vec![json!([{"xt": {"type": "match", "name": "comment"}}, theirs, accept])], vec![], "drop"),
        ("accept", vec![json!([mark, drop])], vec![], "accept"),
        ("drop", vec![json!([mark, theirs, accept])], vec![], "drop"),
        ("drop", vec![json!([mark, jump]), json!([accept])], vec![], "accept"),
    ];
    for (policy, rules, other, expected) in cases {
        assert_eq!(judge(policy, &rules, &other), expected, "{policy} {rules:?} {other:?}");
    }
}

#[test]
fn answers_and_ports_are_told_apart() {
    let established = when(json!({"ct": {"key": "state"}}), json!(["established", "related"]));
    let rules = listing("drop", &[json!([established, {"accept": null}])], &[]);
    assert_eq!(judge_as(&rules, &Packet { answer: true, ..packet() }), Verdict::Accept);
    assert!(matches!(judge_as(&rules, &packet()), Verdict::Drop(_)));

    let port = |right: Value| when(json!({"payload": {"protocol": "udp", "field": "dport"}}), right);
    let tunnel = Packet { port: Some(4789), ..packet() };
    for (right, passes) in [
        (json!(4789), true),
        (json!(53), false),
        (json!({"set": [53, 4789]}), true),
        (json!({"set": [53, {"range": [4000, 5000]}]}), true),
    ] {
        let rules = listing("drop", &[json!([port(right.clone()), {"accept": null}])], &[]);
        assert_eq!(judge_as(&rules, &tunnel) == Verdict::Accept, passes, "{right}");
    }
    let ssh = when(json!({"payload": {"protocol": "tcp", "field": "dport"}}), json!(22));
    let rules = listing("drop", &[json!([ssh, {"accept": null}])], &[]);
    assert!(matches!(judge_as(&rules, &tunnel), Verdict::Drop(_)));
}

#[test]
fn what_calls_itself_and_what_is_no_listing_ends() {
    let jump = json!([{"jump": {"target": "OTHER"}}]);
    assert_eq!(judge("accept", std::slice::from_ref(&jump), std::slice::from_ref(&jump)), "accept");
    for nonsense in [json!(null), json!({}), json!({"nftables": [1, {}, {"chain": 7}, {"rule": null}]})] {
        assert!(Ruleset::read(&nonsense).judge(&["forward"], &packet()).is_empty(), "{nonsense}");
    }
}

#[test]
fn tables_of_iptables_are_known_by_their_chains() {
    let mut rules = listing("accept", &[], &[]);
    assert_eq!(Ruleset::read(&rules).iptables_tables(), ["ip filter"]);
    rules["nftables"][1]["chain"]["name"] = json!("forward");
    assert_eq!(Ruleset::read(&rules).iptables_tables(), Vec::<String>::new());
}
