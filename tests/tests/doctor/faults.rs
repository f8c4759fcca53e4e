//! The faults.

use crate::site::{Site, peers};
use offramp_core::ids::AttachmentId;
use offramp_core::nic::PortKey;
use offramp_core::queue::{CLAIM_FORMAT, QueueClaim, QueueRef};
use offramp_core::vf::{Claim, Claimed, VfMode, VfRef, VfState};
use serde_json::json;

/// A fault.
pub struct Fault {
    /// What is found: itself, and what else comes with it.
    pub ids: &'static [&'static str],
    /// The daemon would mend it: it is away, which is found too.
    without_daemon: bool,
    plant: fn(&Site),
    /// Takes away what the daemon does not.
    lift: fn(&Site),
    /// What shows it.
    words: &'static [&'static str],
}

/// While the daemon runs.
const fn beside(
    ids: &'static [&'static str],
    plant: fn(&Site),
    lift: fn(&Site),
    words: &'static [&'static str],
) -> Fault {
    Fault { ids, without_daemon: false, plant, lift, words }
}

/// While it does not; it mends the fault when it is back.
const fn mended(ids: &'static [&'static str], plant: fn(&Site), words: &'static [&'static str]) -> Fault {
    Fault { ids, without_daemon: true, plant, lift: |_| {}, words }
}

/// While it does not, and is no help.
const fn alone(
    ids: &'static [&'static str],
    plant: fn(&Site),
    lift: fn(&Site),
    words: &'static [&'static str],
) -> Fault {
    Fault { ids, without_daemon: true, plant, lift, words }
}

pub const ALL: &[&[Fault]] = &[SOFTWARE, STATE, WAYS, SIZES, KERNEL, RULES];

const SOFTWARE: &[Fault] = &[
    // Of what the daemon would be asked, nothing is known then.
    alone(
        &["config-unreadable"],
        |s| std::fs::write(s.node.dir().join("offrampd.yaml"), "bridge: {mtuu: 9000}\n").unwrap(),
        |_| {},
        &["offrampd.yaml: ", "mtuu"],
    ),
    mended(&["daemon-away"], |_| {}, &["connect", "offrampd.sock"]),
    beside(
        &["version-skew"],
        |s| {
            std::fs::remove_file(s.node.dir().join("bin/offramp")).unwrap();
            let text = "\u{7f}ELF offramp 0.0.9: the Offramp CNI plugin. It is called by";
            std::fs::write(s.node.dir().join("bin/offramp"), text).unwrap();
        },
        |s| {
            std::fs::remove_file(s.node.dir().join("bin/offramp")).unwrap();
            let plugin = offramp_tests::binary("offramp");
            std::os::unix::fs::symlink(plugin, s.node.dir().join("bin/offramp")).unwrap();
        },
        &["the plugin: 0.0.9", "the daemon: 0."],
    ),
    mended(
        &["conflist-missing"],
        |s| std::fs::remove_file(s.node.dir().join("net.d/05-offramp.conflist")).unwrap(),
        &["05-offramp.conflist does not exist"],
    ),
    beside(
        &["conflist-shadowed"],
        |s| {
            let other = json!({"cniVersion": "1.0.0", "name": "cbr0", "plugins": [{"type": "bridge"}]});
            std::fs::write(s.node.dir().join("net.d/00-cbr0.conflist"), other.to_string()).unwrap();
        },
        |s| std::fs::remove_file(s.node.dir().join("net.d/00-cbr0.conflist")).unwrap(),
        &["00-cbr0.conflist comes before", "rm "],
    ),
    beside(&["daemon-problem"], |s| s.publish("- {name: ["), |s| s.publish(&peers()), &["peers"]),
];

/// A claim on a queue of a NIC that is not there.
fn claim_queue(s: &Site, state: Claimed) {
    let port = PortKey { device: "0000:01:00.0".into(), port: 0 };
    let claim = QueueClaim {
        format: CLAIM_FORMAT,
        queue: QueueRef { port, nic: "ens1f0".parse().unwrap(), queue: 5 },
        holder: "c8@eth0".parse().unwrap(),
        pod: None,
        pool: "fast".parse().unwrap(),
        state,
        since: 1_767_225_600,
    };
    std::fs::create_dir_all(s.node.state().join("queues")).unwrap();
    std::fs::write(s.node.state().join(QUEUE_CLAIM), serde_json::to_string(&claim).unwrap()).unwrap();
}

const QUEUE_CLAIM: &str = "queues/0000:01:00.0-0-rx5";

fn no_claim(s: &Site) {
    std::fs::remove_file(s.node.state().join(QUEUE_CLAIM)).unwrap();
}

const STATE: &[Fault] = &[
    alone(
        &["record-unreadable"],
        |s| std::fs::write(s.node.state().join("attachments/c9@eth0.json"), "{").unwrap(),
        |s| std::fs::remove_file(s.node.state().join("attachments/c9@eth0.json")).unwrap(),
        &["c9@eth0.json"],
    ),
    alone(
        &["claim-stale"],
        |s| {
            let port = PortKey { device: "0000:01:00.0".into(), port: 0 };
            let pf = "ens1f0".parse().unwrap();
            let vf = VfRef { pci: "0000:01:10.0".parse().unwrap(), port, pf, index: 0 };
            let holder: AttachmentId = "c8@net1".parse().unwrap();
            let claim = Claim::lent(vf, holder, VfMode::Netdev, VfState::default(), 1_767_225_600);
            std::fs::create_dir_all(s.node.state().join("vfs")).unwrap();
            let text = serde_json::to_string(&claim).unwrap();
            std::fs::write(s.node.state().join("vfs/0000:01:10.0"), text).unwrap();
        },
        |s| std::fs::remove_file(s.node.state().join("vfs/0000:01:10.0")).unwrap(),
        &["VF 0 of ens1f0 (0000:01:10.0) is held by c8@net1"],
    ),
    alone(
        &["claim-stale"],
        |s| claim_queue(s, Claimed::Lent),
        no_claim,
        &["queue 5 of ens1f0 (0000:01:00.0) is held by c8@eth0"],
    ),
    alone(
        &["queue-quarantined"],
        |s| claim_queue(s, Claimed::Quarantine { attempts: 2, reason: "its pool has no such queue".into() }),
        no_claim,
        &["queue 5 of ens1f0 (0000:01:00.0) is in quarantine", "its pool has no such queue"],
    ),
    beside(
        &["state-dir-full"],
        |s| std::fs::write(s.node.state().join("filler"), vec![1; 4_050_000]).unwrap(),
        |s| std::fs::remove_file(s.node.state().join("filler")).unwrap(),
        &["KiB of 4096 KiB free"],
    ),
    beside(
        &["state-dir-on-disk"],
        |s| s.rewrite_conf(json!({"paths": {"stateDir": env!("CARGO_TARGET_TMPDIR")}})),
        |s| s.rewrite_conf(json!({})),
        &["is not on a tmpfs"],
    ),
    beside(
        &["addresses-short"],
        |s| s.add_more(3),
        Site::del_more,
        &["range 10.244.1.0/29 is at 80%: 1 address left"],
    ),
    // Its pod does not come back.
    alone(
        &["record-stale"],
        |s| s.pod.delete(),
        |s| s.del(&s.pod),
        &["its network namespace is gone, and so is its link of"],
    ),
];

const WAYS: &[Fault] = &[
    alone(
        &["uplink-missing"],
        |s| drop(s.node.ip("route del default")),
        |s| drop(s.node.ip("route add default via 198.51.100.2")),
        &["there is no default route"],
    ),
    alone(
        &["uplink-down"],
        |s| drop(s.outside.ip("link set eth0 down")),
        |s| drop(s.outside.ip("link set eth0 up")),
        &["up0 is up, without carrier"],
    ),
    mended(
        &["bridge-broken"],
        |s| drop(s.node.ip("addr del 10.244.1.1/29 dev offramp0")),
        &["offramp0 has no address in 10.244.1.0/29"],
    ),
    beside(
        &["peer-unreachable"],
        |s| {
            let old = "- {name: old, endpoints: ['2001:db8:66::6'], podCIDRs: [10.244.6.0/24]}\n";
            s.publish(&(peers() + old));
        },
        |s| s.publish(&peers()),
        &["peer old", "the tunnel is over IPv4"],
    ),
    mended(
        &["tunnel-down"],
        |s| drop(s.node.ip("link set offramp-vxlan down")),
        &["offramp-vxlan (VNI 1, UDP port 4789) is down"],
    ),
    mended(
        &["overlay-fdb-missing"],
        |s| drop(s.node.run("bridge fdb flush dev offramp-vxlan")),
        &["10.244.9.0/24 via ", "no forwarding entry says which node has"],
    ),
    mended(
        &["overlay-fdb-missing"],
        |s| drop(s.node.ip("neigh flush dev offramp-vxlan nud permanent")),
        &["10.244.9.0/24 via ", "there is no neighbour"],
    ),
    alone(
        &["vxlan-conflict", "tunnel-down"],
        |s| {
            s.node.ip("link del offramp-vxlan");
            s.node.ip("link add flannel.1 type vxlan id 1 dstport 4789 local 198.51.100.1 dev up0");
        },
        |s| drop(s.node.ip("link del flannel.1")),
        &["flannel.1 has VNI 1 and UDP port 4789", "ip link del flannel.1"],
    ),
    alone(
        &["vxlan-conflict"],
        |s| drop(s.node.ip("link add any0 type vxlan external dstport 4789")),
        |s| drop(s.node.ip("link del any0")),
        &["any0 takes all VNIs of UDP port 4789"],
    ),
];

const SIZES: &[Fault] = &[
    alone(
        &["mtu-tunnel", "mtu-path"],
        |s| drop(s.node.ip("link set up0 mtu 1400")),
        |s| drop(s.node.ip("link set up0 mtu 1500")),
        &["offramp-vxlan has MTU 1450", "up0 has MTU 1400, less 50 bytes of outer headers: 1350"],
    ),
    mended(
        &["mtu-path"],
        |s| drop(s.node.ip("link set offramp0 mtu 1500")),
        &["offramp0 has MTU 1500", "10.244.9.0/24 by offramp-vxlan with MTU 1450"],
    ),
    beside(
        &["mtu-pods"],
        |s| drop(s.node.ip("link set up0 mtu 1400")),
        |s| drop(s.node.ip("link set up0 mtu 1500")),
        &["offramp0 has MTU 1350", "MTU 1450 in the pod"],
    ),
];

const KERNEL: &[Fault] = &[
    mended(
        &["forwarding-off"],
        |s| drop(s.node.run("sysctl -w net.ipv4.ip_forward=0")),
        &["net.ipv4.ip_forward = 0", "sysctl -w net.ipv4.ip_forward=1"],
    ),
    mended(
        &["forwarding-off"],
        |s| drop(s.node.run("sysctl -w net.ipv6.conf.all.forwarding=0")),
        &["net.ipv6.conf.all.forwarding = 0"],
    ),
    beside(
        &["rp-filter-drops"],
        |s| {
            s.node.ip("link add other0 type veth peer name other1");
            s.node.ip("link set other0 up");
            s.node.ip("link set other1 up");
            s.node.ip("route add 203.0.113.0/24 dev other0");
            s.node.run("sysctl -w net.ipv4.conf.up0.rp_filter=1");
        },
        |s| {
            s.node.ip("link del other0");
            s.node.run("sysctl -w net.ipv4.conf.up0.rp_filter=0");
        },
        &["203.0.113.7", "comes in at up0, where rp_filter is strict, and the route back is by other0"],
    ),
    beside(
        &["tunnel-offload-off"],
        |s| drop(s.node.run("ethtool -K up0 tx-udp_tnl-segmentation off")),
        |s| drop(s.node.run("ethtool -K up0 tx-udp_tnl-segmentation on")),
        &["up0: tx-udp_tnl-segmentation is off", "ethtool -K up0 tx-udp_tnl-segmentation on"],
    ),
];

fn nft(s: &Site, script: &str) {
    let file = s.node.dir().join("planted.nft");
    std::fs::write(&file, script).unwrap();
    s.node.run(&format!("nft -f {}", file.display()));
}

/// Of iptables-legacy a namespace keeps what it ever had: the last.
const RULES: &[Fault] = &[
    beside(
        &["pod-traffic-dropped"],
        |s| drop(s.node.run("iptables-nft -P FORWARD DROP")),
        |s| nft(s, "delete table ip filter"),
        &["chain FORWARD of table ip filter: its policy is drop", "iifname offramp0 accept"],
    ),
    beside(
        &["pod-traffic-dropped"],
        |s| drop(s.node.run("iptables-nft -A FORWARD -s 10.244.0.0/16 -j REJECT")),
        |s| nft(s, "delete table ip filter"),
        &["chain FORWARD of table ip filter: a rule in FORWARD says reject"],
    ),
    beside(
        &["pod-traffic-dropped"],
        |s| {
            nft(
                s,
                "table inet site { set pods { type ipv4_addr; flags interval; elements = { 10.244.0.0/16 } }
                 chain raw { type filter hook prerouting priority -300; ip saddr @pods iifname != \"lo\" drop; }; }",
            );
        },
        |s| nft(s, "delete table inet site"),
        &["chain raw of table inet site: a rule in raw says drop"],
    ),
    beside(
        &["pod-traffic-unclear"],
        |s| {
            nft(
                s,
                "table ip site { chain f { type filter hook forward priority 0; policy drop;
                 ct state established,related accept; meta mark 0x4000 accept; }; }",
            );
        },
        |s| nft(s, "delete table ip site"),
        &["chain f of table ip site", "unless"],
    ),
    beside(
        &["tunnel-blocked"],
        |s| {
            nft(
                s,
                "table inet firewalld { chain in { type filter hook input priority 10; policy drop;
                 ct state established,related accept; iifname lo accept; tcp dport { 22, 6443 } accept; \
                 udp dport 8472 accept; }; }",
            );
        },
        |s| nft(s, "delete table inet firewalld"),
        &["UDP port 4789 from 203.0.113.7: chain in of table inet firewalld"],
    ),
    beside(
        &["pod-traffic-dropped"],
        |s| {
            s.node.run("iptables-legacy -P FORWARD DROP");
            s.node.run("iptables-legacy -A FORWARD -i other+ -j ACCEPT");
            s.node.run("iptables-legacy -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
        },
        |s| {
            s.node.run("iptables-legacy -P FORWARD ACCEPT");
            s.node.run("iptables-legacy -F FORWARD");
        },
        &[
            "chain FORWARD of table ip filter (iptables-legacy): its policy is drop, and no rule accepts it",
            "from pods (10.244.1.0/29) to the outside",
            "iptables-legacy -t filter -I FORWARD -i offramp0 -j ACCEPT",
        ],
    ),
    beside(
        &["pod-traffic-dropped"],
        |s| {
            s.node.run("ip6tables-legacy -N KEEP-OUT");
            s.node.run("ip6tables-legacy -A KEEP-OUT -s fd00:244:1::/64 -m comment --comment none -j REJECT");
            s.node.run("ip6tables-legacy -A FORWARD ! -i lo -j KEEP-OUT");
        },
        |s| {
            s.node.run("ip6tables-legacy -F");
            s.node.run("ip6tables-legacy -X");
        },
        &[
            "chain FORWARD of table ip6 filter (iptables-legacy)",
            "from pods (fd00:244:1::/64) to the outside",
        ],
    ),
    beside(
        &["iptables-mixed"],
        |s| {
            s.node.run("iptables-legacy -A INPUT -j ACCEPT");
            s.node.run("iptables-nft -A INPUT -j ACCEPT");
        },
        |s| nft(s, "delete table ip filter"),
        &["iptables-legacy has the tables filter", "iptables-nft has ip filter"],
    ),
];

/// Plants one after the other.
fn run(faults: &[Fault]) {
    let site = Site::new();
    let mut daemon = Some(site.start());
    site.add(&site.pod);
    site.doctor(|d| d.finds_nothing("a healthy node"));
    for fault in faults {
        eprintln!("{}", fault.ids[0]);
        if fault.without_daemon {
            daemon.take().unwrap().kill();
        }
        (fault.plant)(&site);
        let mut ids = fault.ids.to_vec();
        if fault.without_daemon && ids[0] != "daemon-away" {
            ids.push("daemon-away");
        }
        site.doctor(|d| d.finds(&ids, fault.words));
        (fault.lift)(&site);
        let daemon = daemon.get_or_insert_with(|| site.start());
        assert!(!daemon.has_ended());
        site.doctor(|d| d.finds_nothing(&format!("after {}", fault.ids[0])));
    }
}

#[test]
fn of_software() {
    run(SOFTWARE);
}

#[test]
fn of_the_state() {
    run(STATE);
}

#[test]
fn of_ways() {
    run(WAYS);
}

#[test]
fn of_sizes() {
    run(SIZES);
}

#[test]
fn of_the_kernel() {
    run(KERNEL);
}

#[test]
fn of_rules() {
    run(RULES);
}

/// The node routes for it by its own bridge, or not at all.
#[test]
fn pods_of_other_bridges_are_none() {
    let site = Site::new();
    let _daemon = site.start();
    site.add(&site.pod);
    let l2 = json!({"bridge": "br1", "isDefaultGateway": false, "ipam": {"ranges": [[{"subnet": "10.89.0.0/24"}]]}});
    let pods = ["routed", "bridged"].map(|name| site.lab.pod(name));
    for (pod, more) in pods.iter().zip([json!({}), l2]) {
        site.node.add(pod, &site.node.inline(more)).ok();
    }
    site.node.run("sysctl -w net.ipv4.conf.all.rp_filter=1");
    site.doctor(|d| d.finds_nothing("inline pods beside"));
}
