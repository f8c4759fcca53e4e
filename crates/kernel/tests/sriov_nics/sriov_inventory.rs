//! The inventory is what `ip` and sysfs say.

use crate::lab::*;
use offramp_core::nic::{Eswitch, VfNetdev};
use offramp_kernel::sysfs::{Monitor, Places, Sysfs, locate, read_vf};

#[test]
fn the_port_is_what_ip_and_sysfs_say() {
    let _lab = enter();
    let (port, ip) = (port(PF), json("ip -j link show nic0"));
    let sysfs = |file: &str| sh(&format!("cat /sys/class/net/nic0/{file}")).trim().to_owned();
    assert_eq!(port.key.device, sh("basename $(readlink -f /sys/class/net/nic0/device)").trim());
    assert_eq!((port.key.port, port.driver.as_str()), (0, "igb"));
    assert_eq!(port.id.unwrap().to_string(), "8086:10c9");
    assert_eq!(port.mac.unwrap().to_string(), ip[0]["address"].as_str().unwrap());
    assert_eq!(
        (u64::from(port.ifindex), u64::from(port.mtu)),
        (ip[0]["ifindex"].as_u64().unwrap(), ip[0]["mtu"].as_u64().unwrap())
    );
    assert_eq!(port.speed_mbps.unwrap().to_string(), sysfs("speed"));
    assert_eq!(port.total_vfs.to_string(), sysfs("device/sriov_totalvfs"));
    assert_eq!(port.num_vfs.to_string(), sysfs("device/sriov_numvfs"));
    // One node only, so its number tells nothing.
    assert_eq!((sysfs("device/numa_node").as_str(), port.numa), ("-1", None));
    assert_eq!((port.up, port.carrier, port.eswitch, port.controller), (true, true, Eswitch::Legacy, None));
}

#[test]
fn vfs_are_what_sysfs_says() {
    let _lab = enter();
    let port = port(PF);
    assert_eq!(port.vfs.len(), 4);
    for (index, vf) in port.vfs.iter().enumerate() {
        let folder = format!("/sys/class/net/nic0/device/virtfn{index}");
        assert_eq!(usize::from(vf.index), index);
        assert_eq!(vf.pci.to_string(), sh(&format!("basename $(readlink -f {folder})")).trim());
        let name = sh(&format!("ls {folder}/net")).trim().parse().unwrap();
        assert_eq!(vf.netdev, VfNetdev::Host { name });
        assert_eq!(
            (vf.driver.as_deref(), vf.id.unwrap().to_string()),
            (Some("igbvf"), "8086:10ca".to_owned())
        );
        let group = sh(&format!("basename $(readlink -f {folder}/iommu_group) || :"));
        assert_eq!(vf.iommu_group, group.trim().parse().ok(), "{group}");
        let (named, alone) = read_vf(&Sysfs::default(), vf.pci).unwrap();
        assert_eq!((&alone, &named.port, usize::from(named.index)), (vf, &port.key, index));
        assert_eq!(named.to_string(), format!("VF {index} of nic0 ({})", vf.pci));
    }
}

#[test]
fn a_netdev_is_found_wherever_it_is() {
    let _lab = enter();
    let (first, second) = (pci(0), pci(1));
    let name = |index: usize| vf(index).netdev.on_host().unwrap().to_string();
    // One in a named namespace, one in a process's, under the names that they would have in pods.
    sh(&format!("ip netns add pod; ip link set {} netns pod name eth0", name(0)));
    let mut process =
        std::process::Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
    let theirs = format!("/proc/{}/ns/net", process.id());
    eventually("unshare", || sh(&format!("readlink {theirs}")) != sh("readlink /proc/self/ns/net"));
    sh(&format!("ip link set {} netns {} name net1", name(1), process.id()));

    let at = |netns: &str, name: &str| VfNetdev::Elsewhere {
        netns: Some(netns.into()),
        name: Some(name.parse().unwrap()),
    };
    assert_eq!(vf(0).netdev, at("/run/netns/pod", "eth0"));
    assert_eq!(vf(1).netdev, at(&theirs, "net1"));
    // Alone it is not looked for.
    let (_, alone) = read_vf(&Sysfs::default(), first).unwrap();
    assert_eq!(alone.netdev, VfNetdev::Elsewhere { netns: None, name: None });
    // A hint is enough.
    let nowhere = Places { named: Vec::new(), proc: "/nowhere".into() };
    let look =
        |hints: &[std::path::PathBuf]| locate(&Sysfs::default(), &nowhere, &[first, second], hints).unwrap();
    assert!(look(&[]).is_empty());
    let found = look(&["/run/netns/gone".into(), "/run/netns/pod".into(), theirs.into()]);
    assert_eq!((found[&first].link.name.as_str(), found[&second].link.name.as_str()), ("eth0", "net1"));
    // It holds the namespaces open.
    drop(found);

    process.kill().unwrap();
    process.wait().unwrap();
    sh("ip netns del pod");
    eventually("both are back", || [0, 1].iter().all(|index| vf(*index).netdev.on_host().is_some()));
}

#[test]
fn a_vf_of_userspace_or_of_nobody_has_no_netdev() {
    let _lab = enter();
    let (group, pci) = (vf(2).iommu_group, pci(2));
    let device = format!("/sys/bus/pci/devices/{pci}");
    sh(&format!("echo {pci} > {device}/driver/unbind"));
    assert_eq!((vf(2).driver, vf(2).netdev), (None, VfNetdev::None));
    sh(&format!(
        "modprobe vfio-pci; echo vfio-pci > {device}/driver_override; echo {pci} > /sys/bus/pci/drivers_probe"
    ));
    let bound = vf(2);
    assert_eq!((bound.driver.as_deref(), bound.netdev), (Some("vfio-pci"), VfNetdev::None));
    assert!(group.is_some() && bound.iommu_group == group, "run it by hack/vm --iommu: {group:?}");
    sh(&format!(
        "echo {pci} > {device}/driver/unbind; echo > {device}/driver_override; echo {pci} > /sys/bus/pci/drivers_probe"
    ));
    assert!(vf(2).netdev.on_host().is_some());
}

#[test]
fn changes_by_hand_are_heard_and_show() {
    let _lab = enter();
    let mut monitor = Monitor::open().unwrap();
    let file = "/sys/class/net/nic0/device/sriov_numvfs";
    let mut heard = |what: &str, holds: &dyn Fn() -> bool| {
        eventually(what, || monitor.wait(LONG) && monitor.drain().unwrap());
        eventually(what, holds);
        monitor.drain().unwrap();
    };
    sh("ip link set nic0 down");
    heard("PF down", &|| !port(PF).up && !port(PF).carrier);
    sh("ip link set nic0 up");
    heard("PF up", &|| port(PF).up && port(PF).carrier);
    sh(&format!("echo 0 > {file}; echo 2 > {file}"));
    heard("two VFs", &|| (port(PF).num_vfs, port(PF).vfs.len()) == (2, 2));
    let device = port(PF).key.device;
    sh(&format!("echo 1 > /sys/bus/pci/devices/{device}/remove"));
    heard("PF gone", &|| inventory().ports.iter().all(|p| p.key.device != device));
    sh("echo 1 > /sys/bus/pci/rescan");
    heard("PF back", &|| inventory().ports.iter().any(|p| p.key.device == device));
    let name = inventory().ports.iter().find(|p| p.key.device == device).unwrap().netdev.clone();
    sh(&format!("ip link set {name} name nic0; ip link set nic0 up"));
    heard("its name", &|| port(PF).carrier);

    // Events of the new VFs' netdevs come late.
    while monitor.wait(std::time::Duration::from_secs(1)) {
        monitor.drain().unwrap();
    }
    // A pod's veth makes events too, which are none of ours.
    sh("ip link add veth0 type veth peer name veth1; ip link set veth0 up; ip link del veth0");
    assert!(!monitor.drain().unwrap());
}
