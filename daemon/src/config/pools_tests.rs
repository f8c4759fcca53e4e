use crate::config::{Config, Fault};
use offramp_core::nic::Eswitch;
use offramp_core::pool::{FlowRules, QueueKind};
use offramp_core::vf::VfMode;

const MINIMAL: &str = "cluster: {source: standalone, podCIDRs: [10.244.1.0/24]}\n";

fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    Config::parse(&format!("{MINIMAL}{text}"), "n")
}

fn told(text: &str) -> String {
    parse(text).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn pools_in_full_and_in_short() {
    let config = parse(
        "\
pools:
  - name: fast
    selectors:
      - {pfNames: [\"ens1f0#0,2-7\", ens1f1], vendors: [\"8086\"], devices: [\"154c\"], drivers: [iavf], numa: [0]}
      - {rootDevices: [\"0000:02:00.0#1\"], pciAddresses: [\"0000:03:10.1\"]}
    mode: netdev
    bridge: br-telco
    defaults: {vlan: 100, qos: 3, proto: 802.1ad, trust: off, spoofchk: on, linkState: auto, minTxRate: 1,
      maxTxRate: 1000, mtu: 9000, allmulticast: false, queues: 2}
    policy: {namespaces: [telco, \"team-*\"], eth0: true, allowBond: true, vlans: [0, 100-199], maxQos: 7,
      vlanProtocols: [802.1q, 802.1ad], mac: true, trust: true, spoofchkOff: true, linkState: true,
      allmulticast: true, minTxRate: 100, maxTxRate: 2000, maxMtu: 9000, maxQueues: 8}
  - name: dpdk
    selectors: [{pfNames: [ens2]}]
    mode: vfio
    policy: {namespaces: [\"*\"]}
",
    )
    .unwrap();
    let [fast, dpdk] = &config.pools[..] else { panic!("two pools") };
    assert_eq!(fast.selectors.len(), 2);
    assert_eq!((fast.selectors[0].vendors[0], fast.selectors[0].devices[0]), (0x8086, 0x154c));
    let defaults = &fast.defaults;
    assert_eq!(defaults.vlan.unwrap().to_string(), "vlan 100 qos 3 proto 802.1ad");
    assert_eq!((defaults.trust, defaults.spoofchk, defaults.queues), (Some(false), Some(true), Some(2)));
    let policy = &fast.policy;
    assert!(policy.eth0 && policy.allow_bond && policy.mac && policy.trust && policy.spoofchk_off);
    assert!(policy.link_state && policy.allmulticast && policy.admits(Some("team-x")));
    assert_eq!((policy.max_qos, policy.min_tx_rate, policy.max_tx_rate), (7, 100, Some(2000)));
    assert_eq!((policy.max_mtu, policy.max_queues, policy.vlan_protocols.len()), (9000, 8, 2));
    assert_eq!((fast.bridge.as_ref().map(|b| b.as_str()), &dpdk.bridge), (Some("br-telco"), &None));
    assert_eq!((dpdk.mode, dpdk.policy.eth0, dpdk.policy.vlans.len()), (VfMode::Vfio, false, 0));
    assert_eq!(dpdk.defaults, offramp_core::vf::VfSettings::default());
}

#[test]
fn all_mistakes_of_pools_are_told_with_their_places() {
    assert_eq!(
        told(
            "\
pools:
  - name: a
    selectors: [{pfNames: [\"nic0#3-1\"], vendors: [86], drivers: [a/b], numa: [x]}, {}]
    defaults: {vlan: 4095, qos: 1, minTxRate: 5, maxTxRate: 4, trust: maybe}
    policy: {namespaces: [Team], vlans: [9-1], maxQos: 8, maxTxRate: 0}
  - {name: a, mode: vfio, defaults: {mtu: 1500}, policy: {eth0: true}}
  - {selectors: [{numa: [0]}], policy: {namespaces: [\"*\"]}}
"
        ),
        "\
line 3, column 11: pools[0].selectors[1]: it has no criterion: it would select every VF
line 4, column 28: pools[0].selectors[0].pfNames[0]: range \"3-1\" is not valid: it has the form 0,2-7
line 4, column 51: pools[0].selectors[0].vendors[0]: \"86\" is not allowed; allowed: four hexadecimal digits, such as \"8086\"
line 4, column 66: pools[0].selectors[0].drivers[0]: \"a/b\" is not the name of a driver
line 4, column 79: pools[0].selectors[0].numa[0]: \"x\" is not allowed; allowed: a whole number from 0 to 1023
line 5, column 22: pools[0].defaults.vlan: \"4095\" is not allowed; allowed: a whole number from 0 to 4094
line 5, column 33: pools[0].defaults.qos: it needs a vlan from 1 to 4094
line 5, column 47: pools[0].defaults.minTxRate: 5 is above maxTxRate, 4
line 5, column 71: pools[0].defaults.trust: \"maybe\" is not allowed; allowed: on, off, true, false
line 6, column 27: pools[0].policy.namespaces[0]: namespace \"Team\" is not valid: it has lower-case letters, digits and '-'; '*' stands for any text: team-a or team-*
line 6, column 42: pools[0].policy.vlans[0]: VLAN range \"9-1\" is not valid: it is 0 (untagged) to 4094, or a range such as 100-199
line 6, column 56: pools[0].policy.maxQos: \"8\" is not allowed; allowed: a whole number from 0 to 7
line 6, column 70: pools[0].policy.maxTxRate: \"0\" is not allowed; allowed: a whole number from 1 to 4294967295
line 7, column 12: pools[1].selectors: at least one is needed, such as {pfNames: [ens1f0]}
line 7, column 12: pools[1].policy.namespaces: it must be said which namespaces may use the pool, such as [team-a, \"team-b-*\"]; [\"*\"]: all
line 7, column 12: pools[1].name: a is there twice
line 7, column 43: pools[1].defaults.mtu: a VF in mode vfio has no netdev
line 7, column 65: pools[1].policy.eth0: a VF in mode vfio cannot be eth0
pools[2].name: it is missing"
    );
    assert!(told("pools: [{nmae: a}]\n").contains("unknown field `nmae`"));
    assert!(told("pools: [{policy: {root: true}}]\n").contains("unknown field `root`"));
}

#[test]
fn nics_and_bridges() {
    let config = parse(
        "\
nics:
  - {pfNames: [ens1f0], numVfs: 7, manage: true}
  - {drivers: [mlx5_core], pciAddresses: [\"0000:02:00.0\"], eswitch: switchdev}
embeddedSwitch: {syncBridges: [br0]}
",
    )
    .unwrap();
    let [first, second] = &config.nics[..] else { panic!("two rules") };
    assert_eq!((first.num_vfs, first.eswitch, first.manage), (Some(7), None, true));
    assert_eq!((second.num_vfs, second.eswitch, second.manage), (None, Some(Eswitch::Switchdev), false));
    assert!(config.embedded_switch.sync);
    assert_eq!(config.embedded_switch.bridges, ["br0".parse().unwrap()]);
    assert_eq!(
        told("nics: [{numVfs: 65536, pfNames: []}, {pfNames: [a/b]}]\nembeddedSwitch: {sync: false, syncBridges: [br0]}\n"),
        "\
line 2, column 17: nics[0]: it names no port: pfNames, pciAddresses or drivers is needed
line 2, column 17: nics[0].numVfs: \"65536\" is not allowed; allowed: a whole number from 0 to 65535
line 2, column 49: nics[1].pfNames[0]: interface name \"a/b\" is not valid: an interface name has no '/', ':' or white space
line 3, column 24: embeddedSwitch.syncBridges: there are bridges, but sync is false
nics[1]: it wants nothing: numVfs or eswitch is needed"
    );
}

#[test]
fn a_pool_may_be_kubelets() {
    let pool = |name: &str, resource: &str| {
        let plugin = format!("devicePlugin: {{{resource}}}");
        format!(
            "  - {{name: {name}, selectors: [{{pfNames: [e]}}], {plugin}, policy: {{namespaces: [\"*\"]}}}}\n"
        )
    };
    let one = format!("pools:\n{}", pool("a", "resourceName: offramp.dev/fast"));
    let resource = parse(&one).unwrap().pools.remove(0).resource;
    assert_eq!(resource.unwrap().as_str(), "offramp.dev/fast");
    let by_cdi = one.replace("/fast", "/fast, cdi: true").replace("name: a,", "name: a, mode: vfio,");
    assert!(parse(&by_cdi).unwrap().pools[0].cdi);
    let told = told(&format!(
        "{one}{}{}{}",
        pool("b", "resourceName: offramp.dev/fast"),
        pool("c", ""),
        pool("d", "resourceName: fast, cdi: true")
    ));
    for line in [
        "pools[1].devicePlugin.resourceName: offramp.dev/fast is that of pool a too",
        "pools[2].devicePlugin.resourceName: it is missing",
        "pools[3].devicePlugin.resourceName: resource \"fast\" is not valid: a resource is DOMAIN/NAME",
        "pools[3].devicePlugin.cdi: a VF in mode netdev has no device node",
    ] {
        assert!(told.contains(line), "{line} is not in\n{told}");
    }
}

#[test]
fn the_pods_bridge_is_no_pools() {
    let pool = |bridge: &str| {
        format!(
            "pools: [{{name: a, selectors: [{{pfNames: [e]}}], bridge: {bridge}, policy: {{namespaces: [x]}}}}]\n"
        )
    };
    assert!(parse(&pool("br0")).is_ok());
    assert_eq!(
        told(&format!("bridge: {{name: br0}}\n{}", pool("br0"))),
        "pools[0].bridge: of a: br0 is the pods' own: there VFs are eth0"
    );
}

#[test]
fn pools_of_queues() {
    let config = parse(
        "\
pools:
  - {name: xdp, queues: {nics: [\"ens1f0#4-7\", \"ens1f1#1,3\"]}, policy: {namespaces: [team-a], maxQueues: 2}}
  - {name: led, queues: {kind: steer, nics: [\"ens1f1#4\"]}, policy: {namespaces: [\"*\"]}}
  - {name: one, queues: {kind: lease, nics: [\"ens1f0#3\"], rules: ignore}, policy: {namespaces: [\"*\"]}}
",
    )
    .unwrap();
    let [xdp, led, one] = &config.queue_pools[..] else { panic!("three pools") };
    assert_eq!([xdp, led, one].map(|pool| pool.kind), [QueueKind::Lease, QueueKind::Steer, QueueKind::Lease]);
    assert!(config.pools.is_empty() && xdp.admits(Some("team-a")) && !xdp.admits(Some("team-b")));
    assert_eq!((xdp.max_queues, one.max_queues), (2, 1));
    assert_eq!((xdp.rules, one.rules), (FlowRules::Quarantine, FlowRules::Ignore));
    assert!(xdp.nics[1].has(3) && !xdp.nics[1].has(2) && one.nics[0].of.as_str() == "ens1f0");
}

#[test]
fn all_mistakes_of_pools_of_queues_are_told() {
    let told = told(
        "\
pools:
  - {name: a, selectors: [{pfNames: [x]}], mode: vfio, queues: {kind: share, nics: [x]}, policy: {eth0: true}}
  - {name: a, queues: {rules: never}, policy: {namespaces: [\"*\"], maxQueues: 256}}
  - {name: b, queues: {nics: [\"x#4-7\"]}, policy: {namespaces: [\"*\"]}}
  - {name: c, queues: {nics: [\"y#0\", \"x#7-9\"]}, policy: {namespaces: [\"*\"]}}
",
    );
    for words in [
        "pools[0].selectors: a pool of queues has none",
        "pools[0].mode: a pool of queues has none",
        "pools[0].queues.kind: ",
        "pools[0].queues.nics: x must be followed by its queues, such as x#4-7",
        "pools[0].policy.eth0: it is of pools of VFs",
        "pools[0].policy.namespaces: it must be said",
        "pools[1].name: a is there twice",
        "pools[1].queues.rules: ",
        "pools[1].queues.nics: at least one is needed",
        "pools[1].policy.maxQueues: ",
        "pools: queue 7 of x is in the pools b and c",
    ] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
}
