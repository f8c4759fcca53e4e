//! What keeps a pod whose eth0 is a VF to the node, and the node to the pod.

use crate::lab::{run, state};
use crate::sriov_node::{Wired, ips, reach, required};
use offramp_tests::{Pod, until};
use serde_json::{Value, json};

/// ICMP redirects that a pod was sent, of IPv4 and IPv6.
fn redirects(pod: &Pod) -> [u32; 2] {
    let counters = pod.run("nstat -asz IcmpInRedirects Icmp6InRedirects");
    ["IcmpInRedirects", "Icmp6InRedirects"].map(|name| {
        let line = counters.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    })
}

/// By one flow: of its first packet nobody is told, since NAT is not through with it, and after nine that are not heeded
/// the kernel is silent (nf_nat_icmp_reply_translation, ip_rt_send_redirect).
fn reach_thrice(from: &Pod, to: &[String]) {
    for ip in to {
        from.run(&format!("ping -n -c 3 -i 0.3 -W 2 {ip}"));
    }
}

/// Routes that a pod did not get from us.
fn learned(pod: &Pod) -> String {
    let shown =
        |what: &str| pod.ip(&format!("-4 route show {what}")) + &pod.ip(&format!("-6 route show {what}"));
    let all = shown("table all") + &shown("cache");
    all.lines().filter(|l| l.contains("redirect") || l.contains("proto ra")).collect()
}

#[test]
fn a_vf_pod_is_pinned_to_its_mac_and_told_of_no_shorter_way() {
    let w = Wired::new();
    let before = [0, 1, 2].map(state);
    let lax = json!({"spoofchk": "off", "trust": "on"});
    let policy = json!({"namespaces": ["*"], "eth0": true, "spoofchkOff": true, "trust": true});
    let pool =
        json!({"name": "lax", "selectors": [{"pfNames": ["nic0"]}], "defaults": lax, "policy": policy});
    let daemon = w.start_with(json!({"pools": [pool]}));
    // Of its own, the node would have one: from it come IPv6 redirects.
    run("ip addr add fe80::77/64 dev nic0 nodad");
    let pods = ["a", "b", "c"].map(|n| w.m.lab.pod(n));
    let [a, b, c] = &pods;
    let [a_ips, b_ips, _] = [a, b, c].map(|pod| ips(&w.add(pod, "default", required()).ok()));
    for (i, pod) in pods.iter().enumerate() {
        let pf = &state(i)["pf"];
        assert_eq!((&pf["spoofchk"], &pf["trust"]), (&json!(true), &json!(false)), "{pf}");
        assert_eq!(pf["address"], pod.link("eth0").unwrap()["address"]);
        let sysctl = |key: &str| pod.run(&format!("sysctl -n net.{key}"));
        for key in
            ["ipv6.conf.eth0.accept_ra", "ipv6.conf.eth0.accept_redirects", "ipv4.conf.eth0.accept_redirects"]
        {
            assert_eq!(sysctl(key).trim(), "0", "{key}");
        }
    }

    for (from, to) in [(a, &b_ips), (b, &a_ips)] {
        reach_thrice(from, to);
    }
    for pod in [a, b] {
        assert_eq!((redirects(pod), learned(pod).as_str()), ([0, 0], ""));
    }
    // It is the rules that keep the node from it, and without them the pods believe nothing.
    daemon.kill();
    run("nft flush chain inet offramp no_redirects");
    until("the node to tell of a shorter way", || {
        reach_thrice(c, &a_ips);
        redirects(c).iter().all(|told| *told > 0)
    });
    reach(c, &a_ips);
    assert_eq!(learned(c), "");
    let _daemon = w.start();
    pods.iter().for_each(|p| w.del(p));
    before.iter().enumerate().for_each(|(i, vf)| w.m.assert_vf_free(i, vf));
}

/// What happened while the daemon was away is mended; pods keep their VFs.
#[test]
fn a_daemon_that_comes_back_finds_its_vf_pods() {
    let w = Wired::new();
    let before = state(0);
    let daemon = w.start();
    let (pod, beside) = (w.m.lab.pod("pod"), w.m.lab.pod("beside"));
    let pod_ips = ips(&w.add(&pod, "default", required()).ok());
    w.add(&beside, "default", json!({})).ok();
    let claim = w.m.claim(0).unwrap();
    daemon.kill();
    reach(&beside, &pod_ips);

    let mac = run("cat /sys/class/net/nic0/address");
    run("ip link set nic0 address 02:00:00:00:77:02");
    for ip in &pod_ips {
        run(&format!("ip neigh del proxy {ip} dev offramp0"));
    }
    beside.ip("neigh flush all");
    run(&format!("ip route del {}/32 dev nic0", pod_ips[0]));
    let daemon = w.start();
    until("proxy entries, route and next hop", || {
        run("ip neigh show proxy").lines().count() == 2
            && run("ip route show proto 214").contains(&pod_ips[0])
            && pod.ip("neigh show nud permanent").matches("02:00:00:00:77:02").count() == 2
    });
    reach(&beside, &pod_ips);
    assert_eq!(w.m.claim(0).unwrap(), claim);

    drop(daemon);
    // No event tells of one that is removed while the daemon runs (pneigh_delete, net/core/neighbour.c).
    let daemon = w.start_with(json!({"reconcile": {"interval": "1s"}}));
    run(&format!("ip neigh del proxy {} dev offramp0", pod_ips[1]));
    until("the proxy entry to be back", || run("ip neigh show proxy").contains(&pod_ips[1]));
    drop(daemon);
    let _daemon = w.start();
    run(&format!("ip link set nic0 address {mac}"));
    w.del(&pod);
    w.del(&beside);
    w.m.assert_vf_free(0, &before);
}

#[test]
fn check_names_what_is_missing_on_the_way_to_the_pod() {
    let w = Wired::new();
    let before = state(0);
    let daemon = w.start();
    let pod = w.m.lab.pod("pod");
    let result = w.add(&pod, "default", required()).ok();
    let [v4, v6] = <[String; 2]>::try_from(ips(&result)).unwrap();
    let check = || w.m.node.check(&pod, &w.m.node.conf(json!({})), &result);
    check().ok();
    // One that runs mends at once.
    drop(daemon);
    let mac = pod.link("eth0").unwrap()["address"].as_str().unwrap().to_owned();
    let broken: [(String, String, &[&str]); 5] = [
        (
            format!("ip route del {v4}/32 dev nic0"),
            format!("ip route add {v4}/32 dev nic0 proto 214"),
            &["route", &v4, "nic0"],
        ),
        (
            format!("ip -6 route del {v6}/128 dev nic0"),
            format!("ip -6 route add {v6}/128 dev nic0 proto 214"),
            &["route", &v6, "nic0"],
        ),
        (
            format!("ip neigh replace {v4} lladdr 02:00:00:00:00:01 dev nic0 nud permanent"),
            format!("ip neigh replace {v4} lladdr {mac} dev nic0 nud permanent"),
            &["neighbour", &v4, &mac, "nic0"],
        ),
        (
            format!("ip neigh del proxy {v6} dev offramp0"),
            format!("ip neigh add proxy {v6} dev offramp0"),
            &["proxy entry", &v6, "offramp0"],
        ),
        (
            format!("ip -n {} neigh del 169.254.1.1 dev eth0", pod.name()),
            format!(
                "ip -n {} neigh add 169.254.1.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent",
                pod.name()
            ),
            &["eth0", "neighbour", "169.254.1.1"],
        ),
    ];
    for (damage, repair, words) in broken {
        run(&damage);
        check().failed(102, words);
        run(&repair);
        check().ok();
    }
    let _daemon = w.start();
    w.del(&pod);
    w.m.assert_vf_free(0, &before);
}

/// Eth0 then leads to the cluster, and no further.
#[test]
fn the_default_route_is_another_interfaces() {
    let w = Wired::new();
    let before = state(3);
    let _daemon = w.start();
    let (by_vf, by_veth) = (w.m.lab.pod("vf"), w.m.lab.pod("veth"));
    let net1 = |ips: &str| {
        format!(
            "- {{name: net1, pool: telco, vlan: 100, ips: [{ips}], gateway: [192.168.10.1, 'fd10::1'], defaultRoute: true}}"
        )
    };
    let wish = json!({"offramp.dev/offload": "required", "offramp.dev/interfaces": net1("192.168.10.5/24, 'fd10::5/64'")});
    let vf_ips = ips_of(&w.add(&by_vf, "telco-a", wish).ok(), "10.244.", "fd00:244:");
    let routes = |pod: &Pod, family: &str, what: &str| pod.ip(&format!("{family} route show {what}"));
    let defaults =
        |pod: &Pod| [by_gateway(&routes(pod, "-4", "default")), by_gateway(&routes(pod, "-6", "default"))];
    assert_eq!(defaults(&by_vf), ["192.168.10.1 dev net1", "fd10::1 dev net1"]);
    assert_eq!(by_gateway(&routes(&by_vf, "-4", "10.244.1.0/24")), "169.254.1.1 dev eth0");
    assert_eq!(by_gateway(&routes(&by_vf, "-6", "fd00:244:1::/64")), "fe80::1 dev eth0");
    let beside_ips = ips(&w.add(&by_veth, "default", json!({})).ok());
    reach(&by_vf, &beside_ips);
    reach(&by_veth, &vf_ips);
    w.del(&by_veth);
    w.del(&by_vf);

    let by_veth = w.m.lab.pod("veth");
    until("the VF to be free", || w.m.claim(3).is_none() && w.m.claim(0).is_none());
    let wish = json!({"offramp.dev/interfaces": net1("192.168.10.6/24, 'fd10::6/64'")});
    w.add(&by_veth, "telco-a", wish).ok();
    assert_eq!(defaults(&by_veth), ["192.168.10.1 dev net1", "fd10::1 dev net1"]);
    // Its own subnet, which is all of this cluster, is on the bridge.
    assert!(!routes(&by_veth, "-4", "10.244.1.0/24").contains("via"));
    w.del(&by_veth);
    w.m.assert_vf_free(3, &before);
}

/// The next hop and link of the only route in `ip route`'s output.
fn by_gateway(shown: &str) -> String {
    assert_eq!(shown.lines().count(), 1, "{shown}");
    let words: Vec<_> = shown.split_whitespace().skip_while(|w| *w != "via").collect();
    assert!(words.len() >= 4, "{shown}");
    words[1..4].join(" ")
}

/// The addresses that begin so.
fn ips_of(result: &Value, v4: &str, v6: &str) -> Vec<String> {
    ips(result).into_iter().filter(|ip| ip.starts_with(v4) || ip.starts_with(v6)).collect()
}
