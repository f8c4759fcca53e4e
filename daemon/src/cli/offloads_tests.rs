use super::*;
use serde_json::json;

fn offloads() -> Offloads {
    let on = json!({"on": true, "wanted": true});
    let off = json!({"on": false});
    let cannot = json!({"on": false, "fixed": true});
    serde_json::from_value(json!({
        "kernel": {
            "netkit": {"is": "missing", "why": "create a link of kind netkit: Operation not supported (95)"},
            "vxlan": {"is": "there"},
            "tcx": {"is": "unknown", "why": "list the TCX programs of lo: Operation not permitted (1)"},
        },
        "devices": {
            "ens1f0": {
                "kind": "port",
                "features": {
                    "tx-checksum-ipv4": on, "tx-checksum-ipv6": on, "tx-checksum-ip-generic": cannot,
                    "tx-tcp-segmentation": {"on": false, "wanted": true}, "rx-ntuple-filter": off, "hw-tc-offload": cannot,
                    "tx-udp_tnl-segmentation": cannot, "tx-gre-segmentation": cannot, "highdma": {"on": true, "fixed": true},
                },
                "channels": {"combined": 4, "maxCombined": 8, "other": 1},
                "rings": {"rx": {"now": 256, "max": 4096}, "tx": {"now": 512, "max": 4096}, "tcpDataSplit": false},
                "coalescing": {"rx-usecs": 3, "use-adaptive-rx": 1},
                "rss": {"hash": "toeplitz", "keyBytes": 40, "table": 128, "queues": [0, 1, 3], "contexts": 0},
                "ntuple": {"rules": 2, "room": 1024},
                "privateFlags": {"legacy-rx": false},
                "tunnelPorts": [{"types": ["vxlan"], "size": 4, "ports": [{"type": "vxlan", "port": 4789}]},
                    {"types": ["geneve", "vxlan-gpe"], "size": 4, "ports": []}],
                "sizes": {"gsoMaxSize": 65536, "tsoMaxSize": 65536},
                "xdp": {"features": ["basic", "redirect"], "rxMetadata": ["hash"]},
                "queues": {"rx": 4, "tx": 4, "leased": 1},
                "unread": ["read the rings of ens1f0: Input/output error (5)"],
            },
            "offramp0": {"kind": "bridge"},
        },
        "switches": {"pci/0000:01:00.0": {"mode": "switchdev", "inlineMode": "link", "encap": true,
            "ports": {"pcivf": 4, "physical": 1}, "rates": {"leaf": 4}}},
    }))
    .unwrap()
}

#[test]
fn in_short() {
    assert_eq!(
        summary(&offloads()),
        "\
DEVICE    KIND    QUEUES  AT WORK                              OFF
ens1f0    port    4 of 8  tx-checksum, rss, tunnel-ports, xdp  tso, ntuple
offramp0  bridge  -       -                                    -
"
    );
    assert_eq!((summary(&Offloads::default()), wide(&Offloads::default())), (String::new(), String::new()));
}

#[test]
fn kernel_and_switches() {
    assert_eq!(
        wide(&offloads()),
        "\
KERNEL  IS       WHY
netkit  missing  create a link of kind netkit: Operation not supported (95)
tcx     unknown  list the TCX programs of lo: Operation not permitted (1)
vxlan   there    -

DEVLINK           ESWITCH    INLINE  ENCAP  PORTS                RATES
pci/0000:01:00.0  switchdev  link    on     4 pcivf, 1 physical  4 leaf
"
    );
}

#[test]
fn in_full() {
    let offloads = offloads();
    let (name, nic) = offloads.devices.first_key_value().unwrap();
    assert_eq!(
        device(name, nic),
        "\
Device         ens1f0 (port)
Channels       4 combined of 8
Rings          rx 256 of 4096, tx 512 of 4096, tcp-data-split off
Coalescing     rx-usecs 3, use-adaptive-rx 1
RSS            toeplitz, queues 0-1,3, 128 entries, 0 more contexts
Flow rules     2 of 1024
Tunnel ports   vxlan 4789 of 4 for vxlan, none of 4 for geneve/vxlan-gpe
Private flags  legacy-rx off
Packet sizes   GSO 65536, the device can 65536
XDP            basic, redirect
XDP metadata   hash
Queues         4 rx, 4 tx, 1 leased
Not read       read the rings of ens1f0: Input/output error (5)

Tunnels
  cannot have: tx-gre-segmentation, tx-udp_tnl-segmentation

Segmentation
  tx-tcp-segmentation  off [requested on]

Checksum
  tx-checksum-ipv4  on
  tx-checksum-ipv6  on
  cannot have: tx-checksum-ip-generic

Receive
  rx-ntuple-filter  off

Forwarding in the NIC
  cannot have: hw-tc-offload

Other
  highdma  on [fixed]
"
    );
}

#[test]
fn numbers_in_a_row_are_a_range() {
    assert_eq!((ranges(&[]).as_str(), ranges(&[2]).as_str()), ("", "2"));
    assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
}
