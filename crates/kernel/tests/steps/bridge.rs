//! The bridge: made once, corrected where it differs, never taken away from anybody.

use crate::lab::{self, BRIDGE, Pod, apply, ip, plan_of, run, spec};
use offramp_core::spec::{EnsureBridge, Spec};
use offramp_core::step::Step;
use offramp_kernel::{Error, Executor};

fn bridge_addresses() -> Vec<String> {
    let link = &ip(&format!("addr show dev {BRIDGE}"))[0];
    let global = link["addr_info"].as_array().unwrap().iter().filter(|a| a["scope"] == "global");
    global.map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"])).collect()
}

fn ensure(change: impl FnOnce(&mut EnsureBridge)) -> Step {
    let mut want = spec(2).bridge.ensure.unwrap();
    change(&mut want);
    Step::EnsureBridge(want)
}

#[test]
fn the_bridge_is_made_once_and_corrected() {
    lab::enter();
    let mut executor = Executor::new(None).unwrap();
    executor.apply(&ensure(|_| {})).unwrap();
    let first = ip(&format!("-d link show dev {BRIDGE}"))[0].clone();
    assert_eq!(first["linkinfo"]["info_kind"], "bridge");
    assert!(first["flags"].as_array().unwrap().contains(&"UP".into()), "{first}");
    executor.apply(&ensure(|_| {})).unwrap();
    assert_eq!(ip(&format!("link show dev {BRIDGE}"))[0]["ifindex"], first["ifindex"]);

    run(&format!("ip link set {BRIDGE} down"));
    executor
        .apply(&ensure(|b| {
            b.mtu = Some(1300.try_into().unwrap());
            b.promisc = true;
        }))
        .unwrap();
    let corrected = &ip(&format!("-d link show dev {BRIDGE}"))[0];
    assert_eq!((&corrected["mtu"], &corrected["address"]), (&1300.into(), &first["address"]));
    for flag in ["UP", "PROMISC"] {
        assert!(corrected["flags"].as_array().unwrap().contains(&flag.into()), "{corrected}");
    }
}

#[test]
fn the_bridge_keeps_its_mac_when_ports_come() {
    lab::enter();
    let pod = Pod::new();
    let mut executor = pod.executor();
    executor.apply(&ensure(|_| {})).unwrap();
    let mac = ip(&format!("link show dev {BRIDGE}"))[0]["address"].clone();
    apply(&mut executor, &plan_of(2, &spec(2)).steps).unwrap();
    assert_eq!(ip(&format!("link show dev {BRIDGE}"))[0]["address"], mac);
}

#[test]
fn many_can_make_it_at_once() {
    lab::enter();
    let pods: Vec<(u8, Pod)> = (2..10).map(|n| (n, Pod::new())).collect();
    std::thread::scope(|scope| {
        let add = |(n, pod): &(u8, Pod)| apply(&mut pod.executor(), &plan_of(*n, &spec(*n)).steps);
        let running: Vec<_> = pods.iter().map(|pod| scope.spawn(move || add(pod))).collect();
        for thread in running {
            thread.join().unwrap().unwrap();
        }
    });
    for (n, _) in &pods {
        run(&format!("ping -n -c 1 -W 0.9 10.88.0.{n}"));
    }
    assert_eq!(bridge_addresses(), ["10.88.0.1/24", "fd88::1/64"]);
}

fn gateways(force: bool) -> Step {
    let mut wanted = spec(2);
    wanted.bridge.force_address = force;
    let steps = plan_of(2, &wanted).steps;
    steps.into_iter().find(|s| matches!(s, Step::Gateway(_))).unwrap()
}

#[test]
fn an_address_in_the_way_is_replaced_only_by_force() {
    lab::enter();
    let mut executor = Executor::new(None).unwrap();
    executor.apply(&ensure(|_| {})).unwrap();
    for address in ["10.88.0.254/16", "192.0.2.1/24", "fd88::fe/64", "2001:db8::1/64"] {
        run(&format!("ip addr add {address} dev {BRIDGE} nodad"));
    }
    let before = bridge_addresses();
    let error = executor.apply(&gateways(false)).unwrap_err();
    assert!(matches!(error, Error::Unfit { .. }));
    for part in ["bridge br0", "10.88.0.254/16", "10.88.0.1/24", "forceAddress"] {
        assert!(error.to_string().contains(part), "{error} does not name {part}");
    }
    assert_eq!(bridge_addresses(), before, "something was changed");

    executor.apply(&gateways(true)).unwrap();
    let mut now = bridge_addresses();
    now.sort();
    assert_eq!(now, ["10.88.0.1/24", "192.0.2.1/24", "2001:db8::1/64", "fd88::1/64"]);
    executor.apply(&gateways(false)).unwrap();
}

#[test]
fn port_settings_are_those_asked_for() {
    lab::enter();
    for (n, hairpin, isolated) in [(2, false, false), (3, true, false), (4, false, true), (5, true, true)] {
        let (pod, mut wanted): (Pod, Spec) = (Pod::new(), spec(n));
        (wanted.port.hairpin, wanted.port.isolated) = (hairpin, isolated);
        apply(&mut pod.executor(), &plan_of(n, &wanted).steps).unwrap();
        let port = &ip(&format!("-d link show dev {}", wanted.host_ifname))[0]["linkinfo"]["info_slave_data"];
        assert_eq!((&port["hairpin"], &port["isolated"]), (&hairpin.into(), &isolated.into()));
        assert_eq!(port["state"], "forwarding");
    }
}

#[test]
fn isolated_pods_reach_the_gateway_but_not_each_other() {
    lab::enter();
    let pods = [2, 3].map(|n| {
        let (pod, mut wanted) = (Pod::new(), spec(n));
        wanted.port.isolated = true;
        apply(&mut pod.executor(), &plan_of(n, &wanted).steps).unwrap();
        pod
    });
    let ping = |to: &str| lab::attempt(&format!("ip netns exec {} ping -n -c 1 -W 1 {to}", pods[0].name)).0;
    assert!(ping("10.88.0.1") && ping("fd88::1"));
    assert!(!ping("10.88.0.3") && !ping("fd88::3"));
}
