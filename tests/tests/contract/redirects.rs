//! A pod reaches one of another subnet by the node, also where both are on one bridge, and is not told of a shorter way.

use offramp_tests::{Lab, Pod, until};
use serde_json::json;
use std::path::Path;

/// ICMP redirects that a pod was sent, of IPv4 and IPv6.
fn redirects(pod: &Pod) -> [u32; 2] {
    let counters = pod.run("nstat -asz IcmpInRedirects Icmp6InRedirects");
    ["IcmpInRedirects", "Icmp6InRedirects"].map(|name| {
        let line = counters.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    })
}

#[test]
fn a_pod_is_not_told_to_go_past_the_node() {
    let lab = Lab::new();
    let (node, pod, other) = (lab.node("node"), lab.pod("pod"), lab.pod("other"));
    // The kernel's default: with it, a link's own setting is of no matter.
    node.run("sysctl -w net.ipv4.conf.all.send_redirects=1");
    // With br_netfilter the kernel may do without.
    for key in ["iptables", "ip6tables"].map(|key| format!("/proc/sys/net/bridge/bridge-nf-call-{key}")) {
        node.inside(|| Path::new(&key).exists().then(|| std::fs::write(&key, "0").unwrap()));
    }
    let subnets = ["10.244.1.0/24", "fd00:244:1::/64", "10.244.9.0/24", "fd00:244:9::/64"];
    let daemon = node.daemon(json!({"cluster": {"podCIDRs": subnets}}));
    node.add(&pod, &node.conf(json!({}))).ok();
    let theirs = ["10.244.9.9", "fd00:244:9::9"];
    let asking = json!({"capabilities": {"ips": true}, "runtimeConfig": {"ips": theirs}});
    node.add(&other, &node.conf(asking)).ok();
    assert_eq!(other.ips(), ["10.244.9.9/24", "fd00:244:9::9/64"]);
    // Of a flow's first packet nobody is told, since NAT is not through with it; and after nine that are not heeded the
    // kernel is silent (nf_nat_icmp_reply_translation, ip_rt_send_redirect).
    let reach = || {
        for ip in theirs {
            pod.run(&format!("ping -n -c 3 -i 0.3 -W 2 {ip}"));
        }
    };
    reach();
    assert_eq!(redirects(&pod), [0, 0]);

    // It is the rules that keep the node from it.
    daemon.kill();
    node.run("nft flush chain inet offramp no_redirects");
    until("the node to tell of a shorter way", || {
        reach();
        redirects(&pod).iter().all(|told| *told > 0)
    });
}
