//! What a pod finds inside.

use crate::lab::{self, BRIDGE, Pod, apply, ip, plan_of, run, spec};
use offramp_core::cni::result::Route;
use serde_json::Value;

fn address<'a>(link: &'a Value, ip: &str) -> &'a Value {
    let found = link["addr_info"].as_array().unwrap().iter().find(|a| a["local"] == ip);
    found.unwrap_or_else(|| panic!("{ip} is missing: {link}"))
}

#[test]
fn a_plan_becomes_links_addresses_routes_and_neighbours() {
    lab::enter();
    let (pod, mut wanted) = (Pod::new(), spec(2));
    wanted.mtu = Some(1400.try_into().unwrap());
    let plan = plan_of(2, &wanted);
    apply(&mut pod.executor(), &plan.steps).unwrap();

    let inside = &pod.ip("-d addr show dev eth0")[0];
    assert_eq!(inside["address"], wanted.mac.to_string());
    assert_eq!((&inside["mtu"], &inside["operstate"]), (&1400.into(), &"UP".into()));
    let v4 = address(inside, "10.88.0.2");
    assert_eq!((&v4["prefixlen"], &v4["broadcast"]), (&24.into(), &"10.88.0.255".into()));
    let v6 = address(inside, "fd88::2");
    assert_eq!((&v6["prefixlen"], &v6["nodad"]), (&64.into(), &true.into()));
    let link_local = address(inside, &wanted.mac.link_local().to_string());
    assert_eq!((&link_local["scope"], &link_local["nodad"]), (&"link".into(), &true.into()));
    assert_eq!(inside["addr_info"].as_array().unwrap().len(), 3, "{inside}");
    assert_eq!(pod.ip("-4 route show default")[0]["gateway"], "10.88.0.1");
    assert_eq!(pod.ip("-6 route show default")[0]["gateway"], "fd88::1");

    let host = &ip(&format!("-d addr show dev {}", wanted.host_ifname))[0];
    assert_eq!(host["address"], wanted.host_mac.to_string());
    assert_eq!((&host["mtu"], &host["master"]), (&1400.into(), &BRIDGE.into()));
    assert_eq!(host["addr_info"], Value::Array(vec![]), "the host end has addresses of its own");

    let gateway = &ip(&format!("addr show dev {BRIDGE}"))[0];
    assert_eq!(address(gateway, "10.88.0.1")["prefixlen"], 24);
    assert_eq!(address(gateway, "fd88::1")["prefixlen"], 64);
    for pod_ip in ["10.88.0.2", "fd88::2"] {
        let entry = &ip(&format!("neigh show to {pod_ip} dev {BRIDGE}"))[0];
        assert_eq!(entry["lladdr"], wanted.mac.to_string(), "{pod_ip}");
        assert_ne!(entry["state"][0], "PERMANENT", "a pod's MAC could never be learnt anew");
    }
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        assert_eq!(std::fs::read_to_string(format!("/proc/sys/net/{key}")).unwrap().trim(), "1", "{key}");
    }
}

#[test]
fn the_first_packet_passes() {
    lab::enter();
    let mut pods = Vec::new();
    for n in 2..22 {
        let (pod, wanted) = (Pod::new(), spec(n));
        let plan = plan_of(n, &wanted);
        apply(&mut pod.executor(), &plan.steps).unwrap();
        // One packet, and less time than the kernel takes to ask for a MAC again.
        const PING: &str = "ping -n -c 1 -W 0.9";
        run(&format!("{PING} fd88::{n:x}"));
        run(&format!("{PING} 10.88.0.{n}"));
        let inside = format!("ip netns exec {} {PING}", pod.name);
        for peer in ["10.88.0.1", "fd88::1", "10.88.0.2", "fd88::2"] {
            run(&format!("{inside} {peer}"));
        }
        pods.push(pod);
    }
}

#[test]
fn a_route_has_all_that_was_asked_for() {
    lab::enter();
    let (pod, mut wanted) = (Pod::new(), spec(2));
    let route =
        |dst: &str, gw: Option<&str>| Route::via(dst.parse().unwrap(), gw.map(|g| g.parse().unwrap()));
    wanted.routes = vec![
        // Next hops in no subnet of the pod.
        route("0.0.0.0/0", Some("169.254.1.1")),
        route("::/0", Some("fe80::1")),
        route("2001:db8:2::/48", Some("2001:db8:ffff::1")),
        Route {
            mtu: Some(1300),
            advmss: Some(1200),
            priority: Some(50),
            ..route("192.0.2.7/24", Some("10.88.0.9"))
        },
        Route { mtu: Some(1280), priority: Some(70), ..route("2001:db8:1::/48", None) },
        Route { table: Some(1000), ..route("198.51.100.0/24", None) },
        Route { scope: Some(253), ..route("203.0.113.0/24", None) },
    ];
    for address in &mut wanted.addresses {
        // Without a gateway a route without next hop is on-link.
        address.gateway = address.gateway.filter(|g| g.is_ipv6());
    }
    wanted.bridge.is_gateway = false;
    let plan = plan_of(2, &wanted);
    apply(&mut pod.executor(), &plan.steps).unwrap();

    let v4 = pod.ip("-d -4 route show default");
    assert_eq!((&v4[0]["gateway"], &v4[0]["flags"][0]), (&"169.254.1.1".into(), &"onlink".into()));
    assert_eq!(pod.ip("-d -6 route show default")[0]["gateway"], "fe80::1");
    let v6 = &pod.ip("-6 route show 2001:db8:2::/48")[0];
    assert_eq!((&v6["gateway"], &v6["flags"][0]), (&"2001:db8:ffff::1".into(), &"onlink".into()));
    let metrics = &pod.ip("route show 192.0.2.0/24")[0];
    assert_eq!((&metrics["gateway"], &metrics["metric"]), (&"10.88.0.9".into(), &50.into()));
    assert_eq!(metrics["metrics"][0], serde_json::json!({"mtu": 1300, "advmss": 1200}));
    let by_default = &pod.ip("-6 route show 2001:db8:1::/48")[0];
    assert_eq!((&by_default["gateway"], &by_default["metric"]), (&"fd88::1".into(), &70.into()));
    assert_eq!(by_default["metrics"][0]["mtu"], 1280);
    assert_eq!(pod.ip("route show table 1000")[0]["dst"], "198.51.100.0/24");
    let on_link = &pod.ip("route show 203.0.113.0/24")[0];
    assert_eq!((&on_link["scope"], &on_link["gateway"]), (&"link".into(), &Value::Null));
}

#[test]
fn duplicate_address_detection_is_waited_for_when_it_is_asked_for() {
    lab::enter();
    let (pod, mut wanted) = (Pod::new(), spec(2));
    wanted.enable_dad = true;
    apply(&mut pod.executor(), &plan_of(2, &wanted).steps).unwrap();
    let inside = &pod.ip("-d addr show dev eth0")[0];
    let v6 = address(inside, "fd88::2");
    assert_eq!((&v6["nodad"], &v6["tentative"]), (&Value::Null, &Value::Null));
    run("ping -n -c 1 -W 0.9 fd88::2");
}

#[test]
fn a_link_that_is_to_stay_down_stays_down() {
    lab::enter();
    let (pod, mut wanted) = (Pod::new(), spec(2));
    wanted.leave_down = true;
    apply(&mut pod.executor(), &plan_of(2, &wanted).steps).unwrap();
    let inside = &pod.ip("addr show dev eth0")[0];
    assert_eq!((&inside["operstate"], &inside["addr_info"]), (&"DOWN".into(), &Value::Array(vec![])));
}

#[test]
fn neighbours_hear_of_the_new_holder_of_an_address() {
    lab::enter();
    let (old, watcher, new) = (Pod::new(), Pod::new(), Pod::new());
    let (first, second) = (spec(2), spec(3));
    let old_plan = plan_of(2, &first);
    apply(&mut old.executor(), &old_plan.steps).unwrap();
    apply(&mut watcher.executor(), &plan_of(3, &second).steps).unwrap();
    for peer in ["10.88.0.2", "fd88::2"] {
        run(&format!("ip netns exec {} ping -n -c 1 -W 5 {peer}", watcher.name));
    }
    lab::undo(&mut old.executor(), &old_plan.steps);
    // Another pod, with the addresses of the one that went.
    let heir = offramp_core::spec::Spec { addresses: first.addresses, ..spec(4) };
    apply(&mut new.executor(), &plan_of(4, &heir).steps).unwrap();
    for peer in ["10.88.0.2", "fd88::2"] {
        let entry = &watcher.ip(&format!("neigh show to {peer} dev eth0"))[0];
        assert_eq!(entry["lladdr"], heir.mac.to_string(), "{peer}: {entry}");
        run(&format!("ip netns exec {} ping -n -c 1 -W 0.9 {peer}", watcher.name));
    }
}
