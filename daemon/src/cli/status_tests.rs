use super::*;
use crate::status::{
    AttachmentCount, BridgeStatus, DeviceStatus, LinkStatus, LoopStatus, NodeStatus, PeerPath, PeerStatus,
    ProbeStatus, WayStatus,
};
use offramp_core::Mtu;
use offramp_core::overlay::decisions::{Decision, Scope, Topic};
use offramp_core::plan::Path;
use offramp_core::record::State;
use offramp_core::vf::VfMode;

fn status() -> Status {
    let way = |net: &str, path, endpoint: &str, why: &str| WayStatus {
        pod_cidr: net.parse().unwrap(),
        path,
        endpoint: endpoint.parse().unwrap(),
        why: why.into(),
    };
    let peer = |name: &str, nets: &[&str], ways: Vec<WayStatus>, health| PeerStatus {
        name: name.into(),
        endpoint: ways.first().map(|way| way.endpoint),
        pod_cidrs: nets.iter().map(|net| net.parse().unwrap()).collect(),
        path: ways.first().map(|way| way.path),
        ways,
        health,
    };
    let decision = |scope, topic, is: &str, why: &str, todo: Option<&str>| Decision {
        scope,
        topic,
        is: is.into(),
        why: why.into(),
        todo: todo.map(str::to_owned),
    };
    let (near, far) = ("in a subnet of eth0", "in no subnet of eth0");
    let other = "in a subnet of eth0, but not by IPv6";
    let (b, b6, c, d) = ("10.244.2.0/24", "fd00:244:2::/64", "10.244.3.0/24", "10.244.1.0/25");
    let (e, e6, e2) = ("10.244.5.0/24", "fd00:244:5::/64", "10.245.5.0/24");
    let failed = |reason: &str| Health::Failed { reason: reason.into() };
    Status {
        node: NodeStatus {
            name: "node-a".parse().unwrap(),
            version: "0.1.0".into(),
            started: 1000,
            now: 8260,
            underlay: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            uplink: Some(LinkStatus { name: "eth0".parse().unwrap(), mtu: 1500 }),
        },
        bridge: BridgeStatus {
            name: "offramp0".parse().unwrap(),
            mtu: Some(Mtu::try_from(1450).unwrap()),
            gateways: vec!["10.244.1.1/24".parse().unwrap(), "fd00:244:1::1/64".parse().unwrap()],
            path: "veth".into(),
            health: Health::Ok,
        },
        ranges: vec![
            RangeStatus { subnet: "10.244.1.0/24".parse().unwrap(), used: 203, capacity: 253 },
            RangeStatus { subnet: "fd00:244:1::/64".parse().unwrap(), used: 203, capacity: u64::MAX - 1 },
        ],
        silent: vec![],
        overlay: OverlayStatus {
            mode: "auto".into(),
            device: Some(DeviceStatus {
                name: "offramp-vxlan".parse().unwrap(),
                vni: 1,
                port: 4789,
                mtu: 1450,
                local: "192.0.2.1".parse().unwrap(),
            }),
            peers: vec![
                peer(
                    "node-b",
                    &[b, b6],
                    vec![
                        way(b, PeerPath::Direct, "192.0.2.2", near),
                        way(b6, PeerPath::Vxlan, "192.0.2.2", other),
                    ],
                    Health::Ok,
                ),
                peer("node-c", &[c], vec![way(c, PeerPath::Vxlan, "198.51.100.3", far)], Health::Ok),
                peer("node-d", &[d], vec![], failed("its podCIDR overlaps ours")),
                peer(
                    "node-e",
                    &[e, e6, e2],
                    vec![
                        way(e, PeerPath::Direct, "192.0.2.5", near),
                        way(e6, PeerPath::Direct, "2001:db8::5", near),
                        way(e2, PeerPath::Direct, "192.0.2.5", near),
                    ],
                    Health::Ok,
                ),
            ],
            decisions: vec![
                decision(Scope::Pods, Topic::Mtu, "1450", "the tunnel's", None),
                decision(Scope::Vxlan, Topic::Port, "4789, unknown to eth0", "full", Some("make room")),
            ],
        },
        attachments: vec![
            AttachmentCount { path: Path::Veth, state: State::Ready, count: 202 },
            AttachmentCount { path: Path::Veth, state: State::Adding, count: 1 },
            AttachmentCount { path: Path::Veth, state: State::Deleting, count: 0 },
        ],
        pools: Vec::new(),
        vfs: Vec::new(),
        queue_pools: Vec::new(),
        queues: Vec::new(),
        offload: Vec::new(),
        probes: ProbeStatus::default(),
        reconcile: vec![
            LoopStatus { name: "overlay".into(), last_run: Some(8248), repairs: 2, health: Health::Ok },
            LoopStatus {
                name: "reclaim".into(),
                last_run: None,
                repairs: 0,
                health: failed("read /proc: busy"),
            },
        ],
        watches: Vec::new(),
        problems: vec![
            "peer node-d is left out: its podCIDR overlaps ours".into(),
            "range 10.244.1.0/24 is at 80%: 50 addresses left".into(),
        ],
    }
}

#[test]
fn another_path_than_veth_is_told() {
    let told = |path: &str| {
        let bridge = BridgeStatus { path: path.into(), ..status().bridge };
        let text = render(&Status { bridge, ..status() });
        text.lines().find_map(|l| Some(l.strip_prefix("Path ")?.trim().to_owned()))
    };
    assert_eq!((told("veth"), told("netkit")), (None, Some("netkit".into())));
    let why = "veth: path netkit is configured, but this kernel has no netkit";
    assert_eq!(told(why), Some(why.into()));
}

#[test]
fn a_busy_node() {
    assert_eq!(
        render(&status()),
        "\
Node         node-a (offrampd 0.1.0, up 2h 1m)
Uplink       eth0, MTU 1500
Underlay     192.0.2.1, 2001:db8::1
Bridge       offramp0, MTU 1450: ok
Gateways     10.244.1.1/24, fd00:244:1::1/64
Overlay      auto: offramp-vxlan (VNI 1, UDP port 4789, MTU 1450, from 192.0.2.1)
Attachments  203 veth (202 ready, 1 adding)

RANGE            USED  CAPACITY  %    STATE
10.244.1.0/24    203   253       80%  nearly exhausted
fd00:244:1::/64  203   2^64      0%   ok

PEER    ENDPOINT      PODCIDRS                      PATH    WHY                                   STATE
node-b  192.0.2.2     10.244.2.0/24                 direct  in a subnet of eth0                   ok
node-b  192.0.2.2     fd00:244:2::/64               vxlan   in a subnet of eth0, but not by IPv6  ok
node-c  198.51.100.3  10.244.3.0/24                 vxlan   in no subnet of eth0                  ok
node-d  -             10.244.1.0/25                 -       -                                     its podCIDR overlaps ours
node-e  192.0.2.5     10.244.5.0/24, 10.245.5.0/24  direct  in a subnet of eth0                   ok
node-e  2001:db8::5   fd00:244:5::/64               direct  in a subnet of eth0                   ok

PACKETS  DECISION  IS                     WHY
pods     MTU       1450                   the tunnel's
vxlan    UDP port  4789, unknown to eth0  full
  vxlan UDP port: make room

RECONCILE  LAST RUN  REPAIRS  STATE
overlay    12s ago   2        ok
reclaim    not yet   0        read /proc: busy

2 problems:
  peer node-d is left out: its podCIDR overlaps ours
  range 10.244.1.0/24 is at 80%: 50 addresses left
"
    );
}

#[test]
fn a_quiet_node() {
    let mut s = status();
    s.node.uplink = None;
    s.bridge.health = Health::Failed { reason: "it is missing".into() };
    s.ranges.remove(0);
    (s.overlay.device, s.overlay.mode) = (None, "none".into());
    (s.overlay.peers, s.attachments, s.reconcile, s.problems) = (vec![], vec![], vec![], vec![]);
    s.overlay.decisions = vec![];
    assert_eq!(
        render(&s),
        "\
Node         node-a (offrampd 0.1.0, up 2h 1m)
Uplink       not found
Underlay     192.0.2.1, 2001:db8::1
Bridge       offramp0, MTU 1450: it is missing
Gateways     10.244.1.1/24, fd00:244:1::1/64
Overlay      none
Attachments  none

RANGE            USED  CAPACITY  %   STATE
fd00:244:1::/64  203   2^64      0%  ok

No peers.

No problems.
"
    );
}

#[test]
fn pools_and_why_their_vfs_are_not_lent() {
    let mut s = status();
    let unusable = [("of a port that is down".to_owned(), 2), ("without a driver".to_owned(), 1)].into();
    s.pools = vec![
        Usage {
            pool: "fast".parse().ok(),
            mode: Some(VfMode::Netdev),
            total: 8,
            free: 2,
            lent: 2,
            quarantine: 1,
            unusable,
        },
        Usage { pool: "userspace".parse().ok(), mode: Some(VfMode::Vfio), ..Usage::default() },
        Usage { total: 3, free: 2, lent: 1, ..Usage::default() },
    ];
    let text = render(&s);
    assert!(
        text.contains(
            "
POOL       MODE    VFS  FREE  LENT  QUARANTINE  NOT USABLE
fast       netdev  8    2     2     1           2 of a port that is down, 1 without a driver
userspace  vfio    0    0     0     0           -
none       -       3    2     1     0           -

"
        ),
        "{text}"
    );
    assert_eq!(serde_json::from_value::<Status>(serde_json::to_value(&s).unwrap()).unwrap(), s);
}

#[test]
fn what_is_read_is_what_was_written() {
    let s = status();
    assert_eq!(serde_json::from_value::<Status>(serde_json::to_value(&s).unwrap()).unwrap(), s);
}

/// Others read this: keys may be added, but not renamed.
#[test]
fn the_json_keys_are_stable() {
    let json = serde_json::to_value(status()).unwrap();
    for (pointer, value) in [
        ("/node/uplink/name", serde_json::json!("eth0")),
        ("/overlay/device/vni", 1.into()),
        ("/overlay/peers/0/podCIDRs/0", "10.244.2.0/24".into()),
        ("/overlay/peers/0/path", "direct".into()),
        ("/overlay/peers/0/ways/1/path", "vxlan".into()),
        ("/overlay/peers/0/ways/1/podCIDR", "fd00:244:2::/64".into()),
        ("/overlay/decisions/1/scope", "vxlan".into()),
        ("/overlay/decisions/1/topic", "port".into()),
        ("/overlay/decisions/1/todo", "make room".into()),
        ("/overlay/peers/2/health/state", "failed".into()),
        ("/overlay/peers/2/health/reason", "its podCIDR overlaps ours".into()),
        ("/bridge/health/state", "ok".into()),
        ("/ranges/0/capacity", 253.into()),
        ("/attachments/0/state", "ready".into()),
        ("/reconcile/0/lastRun", 8248.into()),
    ] {
        assert_eq!(json.pointer(pointer), Some(&value), "{pointer}");
    }
}

#[test]
fn percent_and_the_warning() {
    let range = |used, capacity| RangeStatus { subnet: "10.0.0.0/24".parse().unwrap(), used, capacity };
    assert_eq!((range(202, 253).percent(), range(202, 253).is_short()), (79, false));
    assert_eq!((range(203, 253).percent(), range(203, 253).is_short()), (80, true));
    assert_eq!((range(253, 253).percent(), range(0, 0).percent(), range(9, 3).percent()), (100, 0, 100));
    assert_eq!(range(u64::MAX, u64::MAX).percent(), 100);
    assert_eq!(range(202, 253).problem(), None);
    let told = |used| range(used, 253).problem().unwrap();
    assert_eq!(told(203), "range 10.0.0.0/24 is at 80%: 50 addresses left");
    assert_eq!(told(252), "range 10.0.0.0/24 is at 99%: 1 address left");
}
