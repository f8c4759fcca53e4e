//! What real drivers tell of their offloads, as `ethtool`, `devlink` and `ip` tell it too.

use crate::lab::*;
use offramp_core::ids::IfName;
use offramp_core::nic::Eswitch;
use offramp_core::offload::{Ability, Answer, Device, Feature, Offload};
use offramp_kernel::ethtool::Ethtool;
use offramp_kernel::link;
use offramp_kernel::netlink::Socket;
use offramp_kernel::offload::{self, Reader, abilities, switches, wanted};
use offramp_kernel::{devlink, stubborn::Written};
use std::time::Duration;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn device(netdev: &str) -> Device {
    Reader::open().unwrap().device(&name(netdev), "port").unwrap().unwrap()
}

/// Every feature that ethtool calls by the same name is as it says.
fn features_are_as_told(netdev: &str, device: &Device) {
    let all = json(&format!("ethtool --json -k {netdev}"));
    let mut same = 0;
    for (name, feature) in &device.features.0 {
        let Some(told) = all[0].get(name) else { continue };
        let is = |key: &str| told[key].as_bool().unwrap();
        let told = Feature { on: is("active"), fixed: is("fixed"), wanted: is("requested") };
        assert_eq!(*feature, told, "{netdev} {name}");
        same += 1;
    }
    assert!(same > 40, "{netdev}: {same}");
}

/// What follows `KEY:` in a text, each time.
fn values(text: &str, key: &str) -> Vec<u32> {
    let value = |line: &str| line.trim().strip_prefix(key)?.strip_prefix(':')?.trim().parse().ok();
    text.lines().filter_map(value).collect()
}

#[test]
fn igb_is_what_ethtool_says() {
    let _lab = enter();
    let nic = device(PF);
    assert_eq!(nic.unread, Vec::<String>::new());
    features_are_as_told(PF, &nic);
    let channels = nic.channels.unwrap();
    let told = sh("ethtool -l nic0");
    assert_eq!(values(&told, "Combined"), [channels.max_combined, channels.combined], "{told}");
    let rings = nic.rings.unwrap();
    let told = sh("ethtool -g nic0");
    assert_eq!(values(&told, "RX"), [rings.rx.max, rings.rx.now], "{told}");
    assert_eq!(values(&told, "TX"), [rings.tx.max, rings.tx.now], "{told}");
    let told = sh("ethtool -c nic0");
    assert_eq!(values(&told, "rx-usecs"), [nic.coalescing["rx-usecs"]], "{told}");
    let told = sh("ethtool --show-priv-flags nic0");
    for (flag, on) in &nic.private_flags {
        let word = if *on { "on" } else { "off" };
        assert!(told.lines().any(|l| l.starts_with(flag) && l.ends_with(word)), "{flag} {on}: {told}");
    }
    assert!(nic.private_flags.contains_key("legacy-rx"), "{told}");
    let rss = nic.rss.as_ref().unwrap();
    let told = sh("ethtool -x nic0");
    assert_eq!(rss.table, 128, "{told}");
    // A heading, and eight entries a line.
    let is_entry = |line: &&str| {
        line.starts_with(' ') && line.split_once(':').is_some_and(|(at, _)| at.trim().parse::<u32>().is_ok())
    };
    assert_eq!(told.lines().filter(is_entry).count(), 16, "{told}");
    assert!(told.contains(&format!("{}: on", rss.hash.as_ref().unwrap())), "{told}");
    let rules = nic.ntuple.unwrap();
    let told = sh("ethtool -n nic0 2>&1 || :");
    assert!(told.contains(&format!("Total {} rules", rules.rules)), "{rules:?}: {told}");
    let flows = Ethtool::require("read rules").unwrap().flows(&name(PF)).unwrap();
    assert_eq!((flows.rules.len(), rules.rules), (0, 0), "82576 takes none: {}", refused_rule());
    assert!(nic.tunnel_ports.is_empty());
    let xdp = nic.xdp.as_ref().unwrap();
    assert!(xdp.features.contains(&"redirect".to_owned()), "{xdp:?}");
    let queues = nic.queues.unwrap();
    assert_eq!((queues.rx, queues.tx), (channels.combined, channels.combined));
    let summary = nic.summary();
    assert_eq!((summary.get(&Offload::TxChecksum), summary.get(&Offload::Tso)), (Some(&true), Some(&true)));
    assert_eq!(summary.get(&Offload::TunnelTso), Some(&true));
    assert_eq!((summary.get(&Offload::Ntuple), summary.get(&Offload::Tc)), (None, None), "82576 has neither");
}

/// What the driver says to a rule.
fn refused_rule() -> String {
    let told = sh("ethtool -N nic0 flow-type tcp4 dst-port 80 action 1 2>&1 || :");
    assert!(told.contains("not supported"), "{told}");
    told
}

#[test]
fn a_real_drivers_feature_is_set_and_put_back() {
    let _lab = enter();
    let before = device(PF).features;
    let mut ethtool = Ethtool::require("set features").unwrap();
    let off = ethtool.set_feature(&name(PF), "tx-udp_tnl-segmentation", false).unwrap();
    assert_eq!(off.changed, [("tx-udp_tnl-segmentation".to_owned(), false)].into());
    features_are_as_told(PF, &device(PF));
    ethtool.set_feature(&name(PF), "tx-udp_tnl-segmentation", true).unwrap();
    assert_eq!(device(PF).features, before);
    let refused = ethtool.set_combined(&name(PF), 100).unwrap_err().to_string();
    assert!(refused.starts_with("set nic0 combined channels 100: it has "), "{refused}");
}

/// On kernels that can by netlink, else by the ioctl. igbvf has no table: the PF stands in for VFs.
#[test]
fn what_is_received_is_spread_over_as_many_queues_as_are_wanted() {
    let _lab = enter();
    let pf = name(PF);
    let before = device(PF).channels.unwrap().combined;
    let mut ethtool = Ethtool::require("spread").unwrap();
    ethtool.set_combined(&pf, 2).unwrap();
    let mut table = |count| {
        ethtool.spread(&pf, count).unwrap();
        ethtool.rss(&pf).unwrap().unwrap().queues
    };
    assert_eq!((table(1), table(2)), (vec![0], vec![0, 1]));
    assert!(sh("ethtool -x nic0").contains("0     1     0     1"), "{}", sh("ethtool -x nic0"));
    let refused = ethtool.spread(&pf, 3).unwrap_err().to_string();
    assert!(refused.starts_with("spread what nic0 receives over 3 queues: "), "{refused}");
    println!("{refused}");
    ethtool.spread(&name("lo"), 2).unwrap();
    sh("ethtool -X nic0 default");
    ethtool.set_combined(&pf, before).unwrap();
}

#[test]
fn a_port_with_what_is_on_it_is_looked_at_and_vfs_are_not() {
    let _lab = enter();
    sh(
        "ip link add br7 type bridge; ip link add link nic0 name nic0.7 type vlan id 7; ip link set nic0.7 master br7; \
        ip link add vx7 type vxlan id 7 dev nic0 dstport 4789",
    );
    let inventory = inventory();
    let ports = inventory.ports.iter().map(|port| &port.netdev).collect();
    let links = link::list(&mut Socket::open().unwrap()).unwrap();
    let all = wanted(&links, &ports, &[name("vx7")]);
    sh("ip link del nic0.7; ip link del br7; ip link del vx7");
    let mut ours: Vec<String> = all.iter().map(|w| format!("{} {}", w.kind, w.name)).collect();
    ours.retain(|w| w.ends_with('7') || w.ends_with("nic0"));
    ours.sort();
    assert_eq!(ours, ["bridge br7", "port nic0", "vlan nic0.7", "vxlan vx7"]);
    let vfs: Vec<_> = inventory.vfs().filter_map(|(_, vf)| vf.netdev.on_host()).collect();
    assert!(vfs.len() == 4 && !all.iter().any(|w| vfs.contains(&&w.name)), "{vfs:?} {all:?}");
}

#[test]
fn a_simulated_nic_has_a_table_of_tunnel_ports_a_switch_and_rates() {
    let _lab = enter();
    let sim = Simulated::new(11);
    let netdev = sim.ports()[0].netdev.to_string();
    sh(&format!("ip link set {netdev} up; ip link add vx8 type vxlan id 8 dev {netdev} dstport 4788"));
    sh("ip link set vx8 up");
    let has_port =
        || device(&netdev).tunnel_ports.iter().any(|table| table.ports.iter().any(|p| p.port == 4788));
    eventually("the port in the table", has_port);
    let nic = device(&netdev);
    let told = sh(&format!("ethtool --show-tunnels {netdev}"));
    sh("ip link del vx8");
    let sizes: Vec<u32> = nic.tunnel_ports.iter().map(|table| table.size).collect();
    assert_eq!(values(&told, "Size"), sizes, "{told}");
    let ports: Vec<_> = nic.tunnel_ports.iter().flat_map(|table| &table.ports).collect();
    assert_eq!((ports.len(), ports[0].kind.as_str()), (1, "vxlan"), "{told}");
    assert_eq!(Offload::TunnelPorts.of(&nic), Some(true));
    assert_eq!(nic.unread, Vec::<String>::new());
    features_are_as_told(&netdev, &device(&netdev));

    sh(&format!("echo 3 > {}/sriov_numvfs", sim.folder()));
    let switch = || switches().unwrap()["netdevsim/netdevsim11"].clone();
    assert_eq!((switch().mode.as_deref(), switch().ports.get("physical")), (Some("legacy"), Some(&2)));
    let written = devlink::set_eswitch(&sim.0, Eswitch::Switchdev, Duration::from_secs(60), &[]).unwrap();
    assert_eq!(written, Written::Done);
    let now = switch();
    assert_eq!((now.mode.as_deref(), now.ports.get("pcivf")), (Some("switchdev"), Some(&3)));
    assert_eq!(now.rates.get("leaf"), Some(&3), "{now:?}");
}

#[test]
fn abilities_are_asked_of_the_kernel_itself() {
    let _lab = enter();
    let mut abilities = abilities();
    // Whoever loads a module on a busy machine may take longer than nft is given; it is there the next time.
    eventually("all is known", || {
        let unknown = abilities.values().any(|answer| matches!(answer, Answer::Unknown { .. }));
        if unknown {
            abilities = offload::abilities();
        }
        !unknown
    });
    // Debian's kernels have all of these; whether queues can be leased is for each of them to say.
    for ability in [
        Ability::Netkit,
        Ability::Vlan,
        Ability::BridgeVlan,
        Ability::Flowtable,
        Ability::Tcx,
        Ability::BigTcp,
        Ability::BigTcpIpv4,
        Ability::AfXdp,
        Ability::Devlink,
        Ability::NetdevFamily,
    ] {
        assert_eq!(abilities[&ability], Answer::There, "{ability}");
    }
    // 6.12 has no queue-create, 7.3 has.
    let lease = sh("genl ctrl get name netdev").contains("ID-0x10 ");
    assert_eq!(abilities[&Ability::QueueLease] == Answer::There, lease, "{abilities:?}");
}
