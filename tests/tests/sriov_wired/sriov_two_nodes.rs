//! The PF is the uplink.

use crate::pair::Pair;
use crate::pods::{Ips, Pods};
use crate::sriov_verdicts::found;
use offramp_tests::traffic::{at, tcp};
use serde_json::json;

#[test]
fn over_direct_routes_all_reach_all() {
    let pair = Pair::new("direct", "nic0");
    let _daemon = pair.daemon(json!({}));
    let pods = pair.pods(81);
    pods.all_reach_all();
    pods.largest_packets_pass(1500);
    pods.no_redirect_was_learned();
    masquerade_to_the_outside(&pods, 81);
    host_ports(&pods);
    services(&pods);
    pods.end();
}

#[test]
fn over_vxlan_all_reach_all() {
    let pair = Pair::new("vxlan", "nic0");
    let daemon = pair.daemon(json!({"overlay": {"mode": "vxlan"}, "offloads": {"probe": true}}));
    // igb fills in wrong inner checksums: TCP would stall in its tunnel, whatever the pods are made of.
    let probes = found(&daemon, "works");
    assert_eq!(probes["cures"][0]["features"], json!(["tx-checksum-ip-generic"]), "{probes}");
    pair.meet("cured");
    let pods = pair.pods(82);
    pods.all_reach_all();
    pods.largest_packets_pass(1450);
    services(&pods);
    pods.end();
}

impl Pods<'_> {
    /// Neither by this pod, nor was one sent to it.
    fn no_redirect_was_learned(&self) {
        for family in ["-4", "-6"] {
            let all = self.vf.ip(&format!("{family} route show table all"))
                + &self.vf.ip(&format!("{family} route show cache"));
            assert!(!all.contains("redirect"), "{all}");
        }
        let counters = self.vf.run("nstat -asz IcmpInRedirects Icmp6InRedirects");
        let counted = |l: &str| l.split_whitespace().nth(1).is_some_and(|n| n != "0");
        assert!(!counters.lines().any(|l| l.contains("Redirects") && counted(l)), "{counters}");
    }
}

/// Outside of the cluster, here the other node itself, a pod has its node's address.
fn masquerade_to_the_outside(pods: &Pods<'_>, port: u16) {
    for (ip, own) in pods.there.host.iter().zip(&pods.here.host) {
        assert_eq!(tcp(&pods.vf, at(ip, port)).unwrap(), format!("host {own}"));
    }
}

/// The VF pods' port at the nodes: from everywhere.
fn host_ports(pods: &Pods<'_>) {
    let mut wrong = Vec::new();
    for (client, netns, _) in pods.clients() {
        for node in pods.here.host.iter().chain(&pods.there.host) {
            match tcp(netns, at(node, 8080)) {
                Ok(text) if text.starts_with("vf ") => {}
                other => wrong.push(format!("{client} -> {node}: {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tcp(&pods.pair.node, at("127.0.0.1", 8080)).unwrap().starts_with("vf "));
}

/// As kube-proxy does it: destination NAT on the client's node, and the backend's answer comes back through it. A
/// backend that is its own client must see the node.
fn services(pods: &Pods<'_>) {
    let backends: [(&str, &Ips); 4] = [
        ("vf", &pods.here.vf),
        ("bridge", &pods.here.bridge),
        ("vf", &pods.there.vf),
        ("bridge", &pods.there.bridge),
    ];
    let virtual_ips = |i: usize| [format!("203.0.113.{}", i + 1), format!("2001:db8:ffff::{}", i + 1)];
    let (mut dnat, mut own) = (String::new(), String::new());
    for (i, (_, to)) in backends.iter().enumerate() {
        let [v4, v6] = virtual_ips(i);
        dnat += &format!("ip daddr {v4} tcp dport 80 dnat ip to {}\n", to[0]);
        dnat += &format!("ip6 daddr {v6} tcp dport 80 dnat ip6 to {}\n", to[1]);
        own += &format!("ip saddr {0} ip daddr {0} ct status dnat masquerade\n", to[0]);
        own += &format!("ip6 saddr {0} ip6 daddr {0} ct status dnat masquerade\n", to[1]);
    }
    let file = pods.pair.node.dir().join("services.nft");
    let table = format!(
        "table inet services {{
        chain prerouting {{ type nat hook prerouting priority dstnat - 1;\n{dnat} }}
        chain output {{ type nat hook output priority -101;\n{dnat} }}
        chain postrouting {{ type nat hook postrouting priority srcnat - 1;\n{own} }}
        }}"
    );
    std::fs::write(&file, table).unwrap();
    pods.pair.node.run(&format!("nft -f {}", file.display()));
    // The node's own connections need a route before their destination is changed.
    for route in
        ["route replace 203.0.113.0/24 dev offramp0", "-6 route replace 2001:db8:ffff::/64 dev offramp0"]
    {
        pods.pair.node.ip(route);
    }
    let mut wrong = Vec::new();
    for (client, netns, _) in pods.clients() {
        for (i, (name, to)) in backends.iter().enumerate() {
            for ip in virtual_ips(i) {
                match tcp(netns, at(&ip, 80)) {
                    Ok(text) if text.starts_with(&format!("{name} ")) => {}
                    other => wrong.push(format!("{client} -> {ip} -> {to:?}: {other:?}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
