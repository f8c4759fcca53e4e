//! What netdevs and the kernel can do, as `ethtool` and `ip` tell it too.

use crate::lab::{attempt, enter, json, run};
use offramp_core::ids::IfName;
use offramp_core::net::Family;
use offramp_core::offload::{Ability, Answer, Feature, Features, Offload};
use offramp_core::overlay::big_tcp::{Carrier, Shown};
use offramp_kernel::ethtool::{Ethtool, Monitor};
use offramp_kernel::offload::{Reader, abilities, big_tcp};
use offramp_kernel::sysctl::Sysctl;
use std::time::{Duration, Instant};

/// What the overlay's device has for igb's fault (docs/vm-lab.md).
const CHECKSUM: &str = "tx-checksum-ip-generic";

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn ethtool() -> Ethtool {
    Ethtool::require("look at features").unwrap()
}

fn features(device: &str) -> Features {
    ethtool().features(&name(device)).unwrap().unwrap()
}

/// As ethtool has it.
fn told(device: &str, feature: &str) -> Option<Feature> {
    let all = json(&format!("ethtool --json -k {device}"));
    let feature = all[0].get(feature)?;
    let is = |key: &str| feature[key].as_bool().unwrap();
    Some(Feature { on: is("active"), fixed: is("fixed"), wanted: is("requested") })
}

fn vxlan() {
    run("ip link add vx0 type vxlan id 7 dstport 4789 local 127.0.0.1");
}

#[test]
fn features_are_those_that_ethtool_tells() {
    enter();
    vxlan();
    run("ip link add v0 type veth peer name v1");
    for device in ["vx0", "v0", "lo"] {
        let features = features(device);
        let same: Vec<_> = features
            .0
            .iter()
            .filter(|(name, feature)| {
                let told = told(device, name);
                assert!(
                    told.is_none_or(|told| told == **feature),
                    "{device} {name}: {feature:?}, but {told:?}"
                );
                told.is_some()
            })
            .collect();
        // ethtool calls some by names of its own.
        assert!(same.len() > 40 && features.0.len() > 50, "{device}: {} of {}", same.len(), features.0.len());
    }
}

#[test]
fn a_feature_is_turned_off_and_on_again() {
    enter();
    vxlan();
    let before = features("vx0");
    let off = ethtool().set_feature(&name("vx0"), CHECKSUM, false).unwrap();
    assert_eq!(off.changed.get(CHECKSUM), Some(&false));
    // What cuts packets up needs checksums.
    assert_eq!(off.changed.get("tx-tcp-segmentation"), Some(&false), "{off:?}");
    assert_eq!(told("vx0", CHECKSUM).map(|f| f.on), Some(false));
    let after = features("vx0");
    let changed: Vec<_> = after.0.iter().filter(|(name, f)| before.0[*name].on != f.on).collect();
    assert_eq!(changed.len(), off.changed.len(), "all that changed is told: {changed:?}, {off:?}");
    assert!(
        ethtool().set_feature(&name("vx0"), CHECKSUM, false).unwrap().changed.is_empty(),
        "it was so already"
    );
    let on = ethtool().set_feature(&name("vx0"), CHECKSUM, true).unwrap();
    assert_eq!(on.changed.len(), off.changed.len());
    assert_eq!(features("vx0"), before);
}

#[test]
fn what_cannot_be_changed_is_refused_with_the_reason_and_changes_nothing() {
    enter();
    run("ip link add v0 type veth peer name v1");
    let before = features("v0");
    let refused = |device: &str, feature: &str, on| {
        ethtool().set_feature(&name(device), feature, on).unwrap_err().to_string()
    };
    let fixed = refused("v0", "hw-tc-offload", true);
    assert_eq!(fixed, "turn hw-tc-offload of v0 on: it is fixed: nobody can change it on this device");
    let unknown = refused("v0", "tx-warp", true);
    assert_eq!(unknown, "turn tx-warp of v0 on: the kernel has no feature of that name");
    // It needs what was turned off.
    run("ethtool -K v0 tx off");
    let unmet = refused("v0", "tx-tcp-segmentation", true);
    assert_eq!(unmet, "turn tx-tcp-segmentation of v0 on: the device does not take it");
    run("ethtool -K v0 tx on");
    assert_eq!(features("v0"), before);
    assert!(refused("absent", CHECKSUM, true).contains("No such device (19)"));
    let channels = ethtool().set_combined(&name("v0"), 9).unwrap_err().to_string();
    assert_eq!(channels, "set v0 combined channels 9: it has 0 at most");
    let lacks = |device: &str, count| ethtool().lacks_combined(&name(device), count);
    assert_eq!(lacks("v0", 9).unwrap().as_deref(), Some("it has 0 at most"));
    assert_eq!(lacks("v0", 0).unwrap(), None, "so many it has");
    assert_eq!(lacks("lo", 2).unwrap().unwrap(), "Operation not supported on transport endpoint (95)");
    assert!(lacks("absent", 2).unwrap_err().to_string().contains("No such device (19)"));
    let none = ethtool().set_combined(&name("lo"), 2).unwrap_err().to_string();
    assert_eq!(none, "set lo combined channels 2: Operation not supported on transport endpoint (95)");
}

#[test]
fn a_device_is_read_as_a_whole() {
    enter();
    run("ip link add v0 numrxqueues 4 numtxqueues 2 type veth peer name v1");
    run("ethtool -L v0 rx 3 tx 2");
    run("ip link set v0 up gso_max_size 32000");
    run("ip link set v1 up");
    let mut reader = Reader::open().unwrap();
    let device = reader.device(&name("v0"), "veth").unwrap().unwrap();
    assert_eq!(device.unread, Vec::<String>::new());
    let channels = device.channels.unwrap();
    assert_eq!((channels.rx, channels.tx, channels.max_rx, channels.max_tx), (3, 2, 4, 2));
    assert_eq!(channels.receiving(), (3, 4));
    let ip = &json("ip -d -j link show v0")[0];
    let told = |key: &str| ip[key].as_u64().map(|n| u32::try_from(n).unwrap());
    let sizes = device.sizes;
    assert_eq!((sizes.gso_max_size, sizes.gso_max_segs), (Some(32_000), told("gso_max_segs")));
    assert_eq!((sizes.tso_max_size, sizes.gro_max_size), (told("tso_max_size"), told("gro_max_size")));
    // ethtool has no name for what a driver lacks.
    assert_eq!((device.rss, device.tunnel_ports.len(), device.private_flags.len()), (None, 0, 0));
    let xdp = device.xdp.as_ref().unwrap();
    assert!(xdp.features.contains(&"basic".to_owned()), "{xdp:?}");
    let queues = device.queues.unwrap();
    assert_eq!((queues.rx, queues.tx, queues.leased), (3, 2, 0));
    let summary = reader.device(&name("v0"), "veth").unwrap().unwrap().summary();
    assert_eq!((summary.get(&Offload::TxChecksum), summary.get(&Offload::Xdp)), (Some(&true), Some(&true)));
    assert_eq!(summary.get(&Offload::Ntuple), None);
    assert!(reader.device(&name("absent"), "port").unwrap().is_none());
}

#[test]
fn abilities_are_what_the_kernel_does_and_nothing_is_left() {
    enter();
    let namespaces = || run("lsns --type net --noheadings --output NS").lines().count();
    let (before, links) = (namespaces(), run("ip -o link"));
    let abilities = abilities();
    assert_eq!((namespaces(), run("ip -o link")), (before, links));
    let there = |ability| abilities[&ability] == Answer::There;
    for (ability, command) in [
        (Ability::Netkit, "ip link add n0 type netkit"),
        (Ability::Vxlan, "ip link add n1 type vxlan id 1 dstport 4789"),
        (Ability::BridgeVlan, "ip link add n2 type bridge vlan_filtering 1"),
        (Ability::Nftables, "nft add table inet n3"),
        (Ability::Devlink, "genl ctrl get name devlink"),
        (Ability::NetdevFamily, "genl ctrl get name netdev"),
        (Ability::BigTcp, "ip link set lo gso_max_size 131072"),
    ] {
        let (can, output) = attempt(command);
        assert_eq!(there(ability), can, "{ability}: {:?}, but {command}: {output}", abilities[&ability]);
    }
    for answer in abilities.values() {
        if let Answer::Missing { why } | Answer::Unknown { why } = answer {
            assert!(!why.is_empty() && !why.contains('\n'), "{why:?}");
        }
    }
    assert!(!abilities.values().any(|answer| matches!(answer, Answer::Unknown { .. })), "{abilities:?}");
}

#[test]
fn whether_packets_of_more_than_64_kib_pass_whole_is_tried_on_every_way() {
    enter();
    let links = run("ip -o link");
    let shown = big_tcp(&Sysctl::default(), Shown::default());
    eprintln!("{shown:#?}");
    assert_eq!(shown.len(), 6);
    for ((carrier, family), answer) in &shown {
        let known = !matches!(answer, Answer::Unknown { .. });
        assert!(known, "{family} {carrier}: {answer:?}");
    }
    // Linux 6.3 has it, and lost none where they are routed ever since.
    assert_eq!(shown[&(Carrier::Routed, Family::V4)], Answer::There);
    // What was shown once is not tried again.
    let all: Shown = shown.keys().map(|way| (*way, Answer::There)).collect();
    assert_eq!(big_tcp(&Sysctl::at("/nowhere"), all.clone()), all);
    assert_eq!(run("ip -o link"), links, "nothing is left, and nothing was touched");
}

/// The network namespaces that this process is in, or keeps open.
fn own_namespaces() -> std::collections::BTreeSet<String> {
    let of_task = |task: std::fs::DirEntry| {
        let files = std::fs::read_dir(task.path().join("fd")).into_iter().flatten().flatten();
        files.map(|file| file.path()).chain([task.path().join("ns/net")])
    };
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let links = tasks.flat_map(of_task).filter_map(|path| std::fs::read_link(path).ok());
    links.map(|link| link.display().to_string()).filter(|link| link.starts_with("net:")).collect()
}

#[test]
fn a_trial_that_fails_half_way_says_why_and_leaves_no_namespace() {
    enter();
    let before = own_namespaces();
    // A key that cannot be written: all is there but for the forwarding.
    let dir = tempfile::tempdir().unwrap();
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::create_dir_all(dir.path().join(key)).unwrap();
    }
    let shown = big_tcp(&Sysctl::at(dir.path()), Shown::default());
    assert_eq!(shown.len(), 6);
    for ((carrier, family), answer) in &shown {
        let told = matches!(answer, Answer::Unknown { why } if why.contains("sysctl net/ip"));
        assert!(told, "{family} {carrier}: {answer:?}");
    }
    // A thread that was waited for is seen for a moment yet.
    let deadline = Instant::now() + Duration::from_secs(40);
    while own_namespaces() != before {
        assert!(Instant::now() < deadline, "{:?}, but before {before:?}", own_namespaces());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_somebody_sets_by_ethtool_is_heard() {
    enter();
    run("ip link add v0 type veth peer name v1");
    let mut monitor = Monitor::open().unwrap().unwrap();
    run("ethtool -K v0 tso off");
    let heard = monitor.wait().unwrap();
    assert!(heard.devices.contains("v0") && !heard.lost, "{heard:?}");
}
