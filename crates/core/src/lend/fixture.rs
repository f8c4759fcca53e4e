//! Pools, ports and claims for tests.

use super::{Hold, Holding, LendRequest, Lessor, Taken, Want};
use crate::nic::{Eswitch, Inventory, PciAddr, PciId, Port, PortKey, Vf, VfNetdev};
use crate::pool::{Policy, Pool, QueueKind, QueuePool, Selector};
use crate::vf::{VfMode, VfSettings};
use std::collections::BTreeMap;

pub const NETDEV_DRIVER: &str = "igbvf";

pub fn pci(bus: u8, index: u16) -> PciAddr {
    format!("0000:{bus:02x}:10.{index:x}").parse().unwrap()
}

/// `nicBUS` on bus BUS, with VFs that are free.
pub fn port(bus: u8, numa: Option<u32>, vfs: u16) -> Port {
    let vf = |index| Vf {
        index,
        pci: pci(bus, index),
        id: Some(PciId { vendor: 0x8086, device: 0x10ca }),
        driver: Some(NETDEV_DRIVER.into()),
        netdev: VfNetdev::Host { name: format!("nic{bus}v{index}").parse().unwrap() },
        iommu_group: Some(u32::from(index)),
        representor: None,
    };
    Port {
        key: PortKey { device: format!("0000:{bus:02x}:00.0"), port: 0 },
        netdev: format!("nic{bus}").parse().unwrap(),
        ifindex: u32::from(bus),
        mac: None,
        driver: "igb".into(),
        id: Some(PciId { vendor: 0x8086, device: 0x10c9 }),
        speed_mbps: Some(1000),
        numa,
        up: true,
        carrier: true,
        mtu: 1500,
        controller: None,
        total_vfs: 7,
        num_vfs: vfs,
        eswitch: Eswitch::Legacy,
        switch_id: None,
        vfs: (0..vfs).map(vf).collect(),
    }
}

/// A pool for all namespaces.
pub fn pool(name: &str, pf_names: &[&str]) -> Pool {
    let selector =
        Selector { pf_names: pf_names.iter().map(|n| n.parse().unwrap()).collect(), ..Selector::default() };
    Pool {
        name: name.parse().unwrap(),
        selectors: vec![selector],
        mode: VfMode::Netdev,
        resource: None,
        cdi: false,
        defaults: VfSettings::default(),
        bridge: None,
        policy: Policy { namespaces: vec!["*".parse().unwrap()], eth0: true, ..Policy::default() },
    }
}

pub fn want(ifname: &str, pool: Option<&str>) -> Want {
    Want {
        ifname: ifname.parse().unwrap(),
        eth0: false,
        pool: pool.map(|p| p.parse().unwrap()),
        device: None,
        settings: VfSettings::default(),
        egress: None,
    }
}

pub fn request(wants: Vec<Want>) -> LendRequest {
    LendRequest { namespace: Some("team-a".into()), wants }
}

pub fn holding(hold: Hold) -> Holding {
    Holding { holder: "other@net1".into(), hold, driver: Some(NETDEV_DRIVER.into()) }
}

pub fn lent_out(addresses: impl IntoIterator<Item = PciAddr>) -> Taken {
    let mut taken = Taken::default();
    addresses.into_iter().for_each(|pci| taken.insert(pci, holding(Hold::Lent)));
    taken
}

pub fn inventory(ports: Vec<Port>) -> Inventory {
    Inventory { ports }
}

/// `nicN` with so many receive queues, which can be leased.
pub fn lessor(n: u8, queues: u32) -> Lessor {
    Lessor {
        port: PortKey { device: format!("0000:{n:02x}:00.0"), port: 0 },
        nic: format!("nic{n}").parse().unwrap(),
        kind: QueueKind::Lease,
        numa: None,
        queues,
        fault: None,
        in_use: BTreeMap::new(),
    }
}

/// For the namespace of [`request`], among others.
pub fn queue_pool(name: &str, nics: &[&str], max_queues: u32) -> QueuePool {
    QueuePool {
        name: name.parse().unwrap(),
        kind: QueueKind::Lease,
        nics: nics.iter().map(|n| n.parse().unwrap()).collect(),
        namespaces: vec!["team-*".parse().unwrap()],
        max_queues,
        rules: Default::default(),
    }
}
