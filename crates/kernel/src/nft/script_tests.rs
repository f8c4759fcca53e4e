use super::*;
use offramp_core::firewall::{HostPortRule, Masquerade, SpoofCheck};
use offramp_core::spec::Protocol;

fn port(host_ip: Option<&str>, host_port: u16, to: &str, subnet: &str) -> HostPortRule {
    HostPortRule {
        protocol: Protocol::Tcp,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port,
        to: to.parse().unwrap(),
        to_port: 80,
        subnet: subnet.parse().unwrap(),
    }
}

fn masquerade(ip: &str, exempt: &str) -> Masquerade {
    Masquerade { ip: ip.parse().unwrap(), exempt: exempt.parse().unwrap() }
}

fn check(link: &str) -> Option<SpoofCheck> {
    Some(SpoofCheck { link: link.parse().unwrap(), mac: "02:00:00:00:00:05".parse().unwrap() })
}

fn pod() -> Rules {
    Rules {
        host_ports: vec![
            port(None, 8080, "10.0.0.5", "10.0.0.1/24"),
            port(None, 8080, "fd00::5", "fd00::/64"),
            port(Some("192.0.2.1"), 443, "10.0.0.5", "10.0.0.0/24"),
        ],
        masquerade: vec![masquerade("10.0.0.5", "10.0.0.0/24"), masquerade("fd00::5", "fd00::/64")],
        spoof_check: check("of1"),
    }
}

const ELEMENTS: &str = r#"add element inet offramp host_ports4 { tcp . 8080 : 10.0.0.5 . 80 }
add element inet offramp hairpin4 { 127.0.0.0/8 . 10.0.0.5 . tcp . 80 }
add element inet offramp hairpin4 { 10.0.0.0/24 . 10.0.0.5 . tcp . 80 }
add element inet offramp host_ports6 { tcp . 8080 : fd00::5 . 80 }
add element inet offramp hairpin6 { fd00::/64 . fd00::5 . tcp . 80 }
add element inet offramp host_ip_ports4 { 192.0.2.1 . tcp . 443 : 10.0.0.5 . 80 }
add element inet offramp masquerade4 { 10.0.0.5 }
add element inet offramp exempt4 { 10.0.0.5 . 10.0.0.0/24 }
add element inet offramp masquerade6 { fd00::5 }
add element inet offramp exempt6 { fd00::5 . fd00::/64 }
add element bridge offramp checked { "of1" }
add element bridge offramp senders { "of1" . 02:00:00:00:00:05 }
"#;

#[test]
fn add_makes_the_tables_and_then_the_elements() {
    let text = add(&pod()).unwrap();
    let base = text.strip_suffix(ELEMENTS).expect("ends with the elements");
    let heads: Vec<&str> = base.lines().filter(|l| !l.starts_with(['\t', '}']) && !l.is_empty()).collect();
    assert_eq!(
        heads,
        [
            "add table inet offramp",
            "flush table inet offramp",
            "table inet offramp {",
            "add table bridge offramp",
            "flush table bridge offramp",
            "table bridge offramp {",
        ]
    );
    assert!(!base.contains("@RULES@"), "{base}");
}

#[test]
fn the_bridge_table_is_made_only_when_needed() {
    assert!(!add(&Rules { spoof_check: None, ..pod() }).unwrap().contains("bridge offramp"));
    assert_eq!(add(&Rules::default()).unwrap(), "");
}

#[test]
fn the_quick_way_names_the_version_of_the_rules() {
    let markers = [Table::Nat, Table::Spoof].map(|t| format!("add element {t} {} {{ 0 }}\n", marker(t)));
    assert_eq!(add_quick(&Element::all(&pod()).unwrap()), markers.concat() + ELEMENTS);
    assert!(markers.iter().zip([Table::Nat, Table::Spoof]).all(|(m, t)| {
        let name = m.split_whitespace().nth(4).unwrap();
        declaration(t).contains(&format!("set {name} {{"))
    }));
}

#[test]
fn remove_adds_each_element_before_it_deletes_it() {
    let expected = ELEMENTS.lines().map(|l| format!("{l}\n{}\n", l.replacen("add", "delete", 1)));
    assert_eq!(remove(&pod()).unwrap(), expected.collect::<String>());
}

#[test]
fn replace_deletes_both_tables_and_groups_the_elements() {
    let nets = |text: &[&str]| text.iter().map(|n| n.parse().unwrap()).collect();
    let node = NodeRules {
        pod_subnets: nets(&["10.0.1.0/24", "10.0.0.0/24", "fd00::/64"]),
        no_masquerade: nets(&["10.0.0.0/16", "10.0.3.0/24", "10.0.0.0/16", "fd00::/48", "10.1.2.3/16"]),
        pod_links: vec!["ens1f0".parse().unwrap()],
    };
    let other = Rules {
        host_ports: vec![
            port(None, 8080, "10.0.0.6", "10.0.0.0/24"),
            port(None, 9090, "10.0.0.6", "10.0.0.0/24"),
        ],
        ..Rules::default()
    };
    let text = replace(&node, &[&Rules { masquerade: vec![], ..pod() }, &other]).unwrap();
    let expected = format!(
        r#"add table inet offramp
delete table inet offramp
{}add element inet offramp pod_subnets4 {{
	10.0.0.0/23
}}
add element inet offramp pod_subnets6 {{
	fd00::/64
}}
add element inet offramp no_masquerade4 {{
	10.0.0.0/15
}}
add element inet offramp no_masquerade6 {{
	fd00::/48
}}
add element inet offramp pod_links {{
	"ens1f0"
}}
add element inet offramp hairpin4 {{
	10.0.0.0/24 . 10.0.0.5 . tcp . 80,
	10.0.0.0/24 . 10.0.0.6 . tcp . 80,
	127.0.0.0/8 . 10.0.0.5 . tcp . 80,
	127.0.0.0/8 . 10.0.0.6 . tcp . 80
}}
add element inet offramp hairpin6 {{
	fd00::/64 . fd00::5 . tcp . 80
}}
add element inet offramp host_ip_ports4 {{
	192.0.2.1 . tcp . 443 : 10.0.0.5 . 80
}}
add element inet offramp host_ports4 {{
	tcp . 8080 : 10.0.0.5 . 80,
	tcp . 9090 : 10.0.0.6 . 80
}}
add element inet offramp host_ports6 {{
	tcp . 8080 : fd00::5 . 80
}}
add table bridge offramp
delete table bridge offramp
{}add element bridge offramp checked {{
	"of1"
}}
add element bridge offramp senders {{
	"of1" . 02:00:00:00:00:05
}}
"#,
        declaration(Table::Nat),
        declaration(Table::Spoof)
    );
    assert_eq!(text, expected);
}

#[test]
fn replace_without_checks_only_removes_the_bridge_table() {
    let text = replace(&NodeRules::default(), &[]).unwrap();
    assert!(text.ends_with("}\nadd table bridge offramp\ndelete table bridge offramp\n"), "{text}");
}

/// A name that the kernel takes, but that would end nft's string or match other interfaces.
#[test]
fn a_name_cannot_leave_its_quotes() {
    for name in ["a\"b", "of*", "a\\", "a;b", "a$b", "a#b", "ä"] {
        let rules = Rules { spoof_check: check(name), ..Rules::default() };
        for text in [add(&rules), remove(&rules), replace(&NodeRules::default(), &[&rules])] {
            assert!(matches!(text, Err(NftError::Name(_))), "{name}: {text:?}");
        }
    }
}

/// Twins drift: what IPv4 has, IPv6 has, but for what only IPv4 knows.
#[test]
fn both_families_have_the_same_rules() {
    let lines = |keep: fn(&&str) -> bool| {
        let text = declaration(Table::Nat);
        let only_one = |l: &&str| l.contains("127.0.0.0/8") || l.contains("::1");
        text.lines().filter(|l| !only_one(l)).filter(keep).map(str::to_owned).collect::<Vec<_>>()
    };
    let is_v4 = |l: &&str| l.contains("ipv4") || l.contains("ip saddr") || l.contains("ip daddr");
    let is_v6 = |l: &&str| l.contains("ipv6") || l.contains("ip6 saddr") || l.contains("ip6 daddr");
    let as_v6 = |l: String| {
        let pairs = [
            ("ipv4", "ipv6"),
            ("ip saddr", "ip6 saddr"),
            ("ip daddr", "ip6 daddr"),
            ("dnat ip ", "dnat ip6 "),
            ("ip protocol", "ip6 nexthdr"),
        ];
        let l = pairs
            .into_iter()
            .fold(l, |l, (four, six)| l.replace(four, six))
            .replace("224.0.0.0/4", "ff00::/8");
        ["ports", "hairpin", "subnets", "masquerade", "exempt"]
            .into_iter()
            .fold(l, |l, set| l.replace(&format!("{set}4"), &format!("{set}6")))
    };
    assert_eq!(lines(is_v4).into_iter().map(as_v6).collect::<Vec<_>>(), lines(is_v6));
}
