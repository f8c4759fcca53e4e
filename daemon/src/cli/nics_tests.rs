use super::*;
use crate::nics::Nics;

/// A port with four VFs in every state, one of a bond that is down, and one whose card has none.
fn nics() -> Nics {
    let vf = |index: u16, driver: Option<&str>, netdev: serde_json::Value| {
        serde_json::json!({
            "index": index, "pci": format!("0000:01:10.{}", index * 2), "id": {"vendor": 0x8086, "device": 0x10ca},
            "driver": driver, "netdev": netdev, "iommuGroup": 13 + index, "representor": null,
        })
    };
    let port = |device: &str, netdev: &str, up: bool, total: u16, vfs: Vec<serde_json::Value>| {
        serde_json::json!({
            "key": {"device": device, "port": 0}, "netdev": netdev, "ifindex": 2, "mac": null, "driver": "igb",
            "id": {"vendor": 0x8086, "device": 0x10c9}, "speedMbps": if up { Some(1000) } else { None },
            "numa": if up { Some(0) } else { None }, "up": up, "carrier": up, "mtu": 1500,
            "controller": if up { None } else { Some("bond0") },
            "totalVfs": total, "numVfs": vfs.len(), "eswitch": "legacy", "switchId": null, "vfs": vfs,
        })
    };
    let vfs = vec![
        vf(0, Some("igbvf"), serde_json::json!({"in": "host", "name": "ens1f0v0"})),
        vf(
            1,
            Some("igbvf"),
            serde_json::json!({"in": "elsewhere", "netns": "/run/netns/pod", "name": "net1"}),
        ),
        vf(2, Some("igbvf"), serde_json::json!({"in": "elsewhere", "netns": null, "name": null})),
        vf(3, Some("vfio-pci"), serde_json::json!({"in": "none"})),
    ];
    let ports = vec![
        port("0000:01:00.0", "ens1f0", true, 7, vfs),
        port("0000:02:00.0", "ens2", false, 7, vec![]),
        port("0000:03:00.0", "ens3", true, 0, vec![]),
    ];
    serde_json::from_value(serde_json::json!({"ports": ports})).unwrap()
}

#[test]
fn ports() {
    assert_eq!(
        render(&nics(), false),
        "\
PORT    DEVICE        DRIVER  ID         SPEED     NUMA  LINK  VFS     FREE  LENT  QUARANTINE  ESWITCH  CONTROLLER
ens1f0  0000:01:00.0  igb     8086:10c9  1 Gbit/s  0     up    4 of 7  4     0     0           legacy   -
ens2    0000:02:00.0  igb     8086:10c9  -         -     down  0 of 7  -     -     -           legacy   bond0
ens3    0000:03:00.0  igb     8086:10c9  1 Gbit/s  0     up    -       -     -     -           -        -
"
    );
    assert_eq!(render(&Nics::default(), true), "This node has no NIC.\n");
}

#[test]
fn vfs_with_what_of_them() {
    let claims = [
        ("0000:01:10.2", "lent to default/web@net1"),
        ("0000:01:10.4", "unreadable: it is no claim"),
        ("0000:01:10.6", "quarantine: held by process 7"),
    ];
    let claims = claims.map(|(pci, state)| (pci.parse().unwrap(), state.to_owned())).into();
    let pools = [("0000:01:10.0", "fast"), ("0000:01:10.2", "fast"), ("0000:01:10.6", "userspace")];
    let pools = pools.map(|(pci, pool)| (pci.parse().unwrap(), pool.parse().unwrap())).into();
    let nics = Nics { claims, pools, ..nics() };
    let text = render(&nics, true);
    assert!(text.contains("  4 of 7  1     1     2           legacy"), "{text}");
    let vfs = text.split_once("\n\n").unwrap().1;
    assert_eq!(vfs, "\
VF  PORT    ADDRESS       ID         DRIVER    NETDEV    NETNS           IOMMU GROUP  REPRESENTOR  POOL       STATE
0   ens1f0  0000:01:10.0  8086:10ca  igbvf     ens1f0v0  host            13           -            fast       free
1   ens1f0  0000:01:10.2  8086:10ca  igbvf     net1      /run/netns/pod  14           -            fast       lent to default/web@net1
2   ens1f0  0000:01:10.4  8086:10ca  igbvf     ?         not found       15           -            -          unreadable: it is no claim
3   ens1f0  0000:01:10.6  8086:10ca  vfio-pci  -         -               16           -            userspace  quarantine: held by process 7
");
}

#[test]
fn speeds() {
    let shown = [10, 100, 1000, 2500, 10_000, 400_000].map(speed);
    assert_eq!(shown, ["10 Mbit/s", "100 Mbit/s", "1 Gbit/s", "2.5 Gbit/s", "10 Gbit/s", "400 Gbit/s"]);
}

#[test]
fn json_is_read_back() {
    let nics = nics();
    let json = serde_json::to_value(&nics).unwrap();
    assert_eq!(json["ports"][0]["vfs"][1]["netdev"]["netns"], "/run/netns/pod");
    assert_eq!(serde_json::from_value::<Nics>(json).unwrap(), nics);
}
