use super::fixture::Machine;
use super::{Places, locate, read_vf};
use crate::Error;
use crate::link::Link;
use offramp_core::nic::{Eswitch, VfNetdev};

const PF: &str = "0000:01:00.0";

fn host(name: &str) -> VfNetdev {
    VfNetdev::Host { name: name.parse().unwrap() }
}

#[test]
fn a_port_is_told_in_full() {
    let mut machine = Machine::new();
    let pf = machine.pf(PF);
    let mut link = pf.link(2, "ens1f0", &[("speed", "10000")]);
    link.controller = Some(7);
    let (vf, bond) = (
        machine.vf(&pf, 0, "0000:01:10.0", "igbvf"),
        Link { index: 7, name: "bond0".into(), ..Link::default() },
    );
    vf.iommu_group(13);
    let vf_link = vf.link(3, "ens1f0v0", &[]);
    machine.facts.links = vec![link, vf_link, bond];
    let inventory = serde_json::to_value(machine.inventory()).unwrap();
    assert_eq!(
        inventory,
        serde_json::json!({"ports": [{
            "key": {"device": PF, "port": 0},
            "netdev": "ens1f0", "ifindex": 2, "mac": "02:00:00:00:00:02", "driver": "igb",
            "id": {"vendor": 0x8086, "device": 0x10c9}, "speedMbps": 10000, "numa": 0,
            "up": true, "carrier": true, "mtu": 1500, "controller": "bond0",
            "totalVfs": 7, "numVfs": 1, "eswitch": "legacy", "switchId": null,
            "vfs": [{
                "index": 0, "pci": "0000:01:10.0", "id": {"vendor": 0x8086, "device": 0x10ca}, "driver": "igbvf",
                "netdev": {"in": "host", "name": "ens1f0v0"}, "iommuGroup": 13, "representor": null,
            }],
        }]})
    );
    machine.both_ways("0000:01:10.0");
}

#[test]
fn numbers_of_vfs_come_from_virtfn_and_not_from_addresses() {
    let mut machine = Machine::new();
    let pf = machine.pf(PF);
    // As ARI and a stride over bus numbers would have it; and ten come after nine.
    let addresses = [(0, "0000:02:00.1"), (1, "0000:01:1f.7"), (2, "0000:01:10.0"), (10, "0000:01:00.5")];
    for (number, address) in addresses {
        machine.vf(&pf, number, address, "igbvf");
    }
    let link = pf.link(2, "nic0", &[]);
    machine.facts.links = vec![link];
    let inventory = machine.inventory();
    let found: Vec<_> = inventory.vfs().map(|(_, vf)| (vf.index, vf.pci.to_string())).collect();
    assert_eq!(found, addresses.map(|(number, address)| (number, address.to_owned())));
    for (number, address) in addresses {
        assert_eq!(machine.both_ways(address).index, number);
    }
}

#[test]
fn two_ports_of_one_function_stay_apart() {
    let mut machine = Machine::new();
    let pf = machine.pf(PF);
    machine.vf(&pf, 0, "0000:01:10.0", "");
    // The order of the names is not the order of the ports.
    let links = vec![pf.link(2, "a", &[("dev_port", "1")]), pf.link(3, "b", &[("dev_port", "0")])];
    machine.facts.links = links;
    let inventory = machine.inventory();
    let shown: Vec<_> =
        inventory.ports.iter().map(|p| (p.key.to_string(), p.netdev.as_str(), p.vfs.len())).collect();
    assert_eq!(shown, [("0000:01:00.0".to_owned(), "b", 1), ("0000:01:00.0/1".to_owned(), "a", 0)]);
    assert_eq!(machine.both_ways("0000:01:10.0").index, 0);
}

#[test]
fn ports_without_dev_port_are_told_by_their_names() {
    for (names, keys) in [
        ([Some("p2"), Some("p1")], ["x/1", "x/2"]),
        ([Some("p1"), None], ["x", "x/1"]),
        ([None, None], ["x", "x/1"]),
    ] {
        let mut machine = Machine::new();
        let device = machine.device("netdevsim", "x", "netdevsim", &[("sriov_numvfs", "0")]);
        let port = |index, name, port: Option<&str>| {
            let attributes: Vec<_> = port.map(|port| ("phys_port_name", port)).into_iter().collect();
            device.link(index, name, &attributes)
        };
        let links = vec![port(2, "b", names[0]), port(3, "a", names[1])];
        machine.facts.links = links;
        let inventory = machine.inventory();
        let shown: Vec<_> = inventory.ports.iter().map(|p| (p.key.to_string(), p.netdev.as_str())).collect();
        assert_eq!(shown, [(keys[0].to_owned(), "a"), (keys[1].to_owned(), "b")], "{names:?}");
    }
}

#[test]
fn where_the_netdev_of_a_vf_is() {
    let mut machine = Machine::new();
    let pf = machine.pf(PF);
    let (a, b) = (machine.vf(&pf, 0, "0000:01:10.0", "igbvf"), machine.vf(&pf, 1, "0000:01:10.2", "igbvf"));
    machine.vf(&pf, 2, "0000:01:10.4", "");
    machine.vf(&pf, 3, "0000:01:10.6", "vfio-pci").iommu_group(16);
    machine.vf(&pf, 4, "0000:01:11.0", "mlx5_vfio_pci");
    machine.vf(&pf, 5, "0000:01:11.2", "uio_pci_generic");
    // The folder stays when its only link has left for another namespace.
    std::fs::create_dir_all(b.path.join("net")).unwrap();
    let links = vec![pf.link(2, "nic0", &[]), a.link(3, "eth0", &[])];
    machine.facts.links = links;
    let away = VfNetdev::Elsewhere { netns: None, name: None };
    for (pci, netdev, driver, group) in [
        ("0000:01:10.0", host("eth0"), Some("igbvf"), None),
        ("0000:01:10.2", away, Some("igbvf"), None),
        ("0000:01:10.4", VfNetdev::None, None, None),
        ("0000:01:10.6", VfNetdev::None, Some("vfio-pci"), Some(16)),
        ("0000:01:11.0", VfNetdev::None, Some("mlx5_vfio_pci"), None),
        ("0000:01:11.2", VfNetdev::None, Some("uio_pci_generic"), None),
    ] {
        let vf = machine.both_ways(pci);
        assert_eq!((vf.netdev, vf.driver.as_deref(), vf.iommu_group), (netdev, driver, group), "{pci}");
    }
}

#[test]
fn a_netdev_of_a_virtio_device_is_of_its_pci_function() {
    let mut machine = Machine::new();
    let pf = machine.device("pci", PF, "virtio-pci", &[("sriov_totalvfs", "2"), ("sriov_numvfs", "1")]);
    let vf = machine.vf(&pf, 0, "0000:01:00.1", "virtio-pci");
    let virtio = |function: &std::path::Path, name: &str| {
        machine.device_at(function.join(name), "virtio", name, "virtio_net", &[])
    };
    let links = vec![
        virtio(&pf.path, "virtio1").link(2, "nic0", &[]),
        virtio(&vf.path, "virtio2").link(3, "eth0", &[]),
    ];
    machine.facts.links = links;
    let inventory = machine.inventory();
    assert_eq!(inventory.ports.len(), 1);
    assert_eq!((inventory.ports[0].key.to_string(), inventory.ports[0].total_vfs), (PF.to_owned(), 2));
    assert_eq!(machine.both_ways("0000:01:00.1").netdev, host("eth0"));
}

#[test]
fn representors_are_no_ports() {
    let mut machine = Machine::new();
    let pf = machine.pf(PF);
    machine.vf(&pf, 0, "0000:01:10.0", "");
    machine.vf(&pf, 1, "0000:01:10.2", "");
    let of = |name| [("phys_port_name", name), ("phys_switch_id", "e41d2d")];
    let links = vec![
        pf.link(2, "nic0", &of("p0")),
        pf.link(3, "rep1", &of("pf0vf1")),
        pf.link(4, "rep0", &of("c1pf0vf0")),
        pf.link(5, "sf", &of("pf0sf1")),
    ];
    machine.facts.links = links;
    machine.facts.eswitch.insert(machine.facts.links[0].parent.clone().unwrap(), Eswitch::Switchdev);
    let inventory = machine.inventory();
    assert_eq!(inventory.ports.len(), 1, "{inventory:?}");
    let port = &inventory.ports[0];
    assert_eq!((port.netdev.as_str(), port.key.port, port.eswitch), ("nic0", 0, Eswitch::Switchdev));
    assert_eq!(port.switch_id.as_deref(), Some("e41d2d"));
    for (pci, name) in [("0000:01:10.0", "rep0"), ("0000:01:10.2", "rep1")] {
        assert_eq!(machine.both_ways(pci).representor, Some(name.parse().unwrap()));
    }
}

#[test]
fn what_is_not_told_is_none() {
    let mut machine = Machine::new();
    let pf = machine.pf(PF);
    pf.set("numa_node", "-1");
    for file in ["sriov_totalvfs", "sriov_numvfs", "vendor"] {
        pf.remove(file);
    }
    let link = Link { up: false, carrier: false, ..pf.link(2, "nic0", &[]) };
    let gone = Link { name: "gone".into(), parent: Some(Default::default()), ..Link::default() };
    machine.facts.links = vec![gone, link];
    let inventory = machine.inventory();
    assert_eq!(inventory.ports.len(), 1);
    let port = &inventory.ports[0];
    assert_eq!((port.numa, port.speed_mbps, port.id), (None, None, None));
    assert_eq!((port.total_vfs, port.num_vfs, port.up, port.carrier), (0, 0, false, false));
}

#[test]
fn subfunctions_and_virtual_links_are_no_ports() {
    let mut machine = Machine::new();
    let pf = machine.pf(PF);
    let path = pf.path.join("mlx5_core.sf.2");
    let subfunction = machine.device_at(path, "auxiliary", "mlx5_core.sf.2", "mlx5_core.sf", &[]);
    let links = vec![subfunction.link(2, "sf0", &[]), Link { name: "veth0".into(), ..Link::default() }];
    machine.facts.links = links;
    assert_eq!(machine.inventory().ports, []);
}

#[test]
fn why_a_vf_cannot_be_read() {
    let machine = Machine::new();
    let pf = machine.pf(PF);
    let vf = machine.vf(&pf, 0, "0000:01:10.0", "igbvf");
    let why = |pci: &str| read_vf(&machine.sysfs(), pci.parse().unwrap()).unwrap_err();
    assert!(matches!(why("0000:09:00.0"), Error::Missing { .. }));
    assert_eq!(why(PF).to_string(), "PCI device 0000:01:00.0: it is not a VF: it has no physfn");
    assert_eq!(
        why("0000:01:10.0").to_string(),
        "PCI device 0000:01:10.0: its PF 0000:01:00.0 has no link in this namespace"
    );
    pf.link(2, "nic0", &[]);
    pf.remove("virtfn0");
    assert_eq!(
        why("0000:01:10.0").to_string(),
        "PCI device 0000:01:10.0: its PF 0000:01:00.0 has no virtfn that leads to it"
    );
    drop(vf);
}

#[test]
fn what_is_in_no_namespace_is_not_found() {
    let machine = Machine::new();
    let pf = machine.pf(PF);
    machine.vf(&pf, 0, "0000:01:10.0", "igbvf");
    let nowhere = Places { named: vec!["/nowhere".into()], proc: "/nowhere".into() };
    let vfs = ["0000:01:10.0".parse().unwrap(), "0000:09:00.0".parse().unwrap()];
    assert!(locate(&machine.sysfs(), &nowhere, &vfs, &["/nowhere/netns".into()]).unwrap().is_empty());
}
