//! Which VFs are meant. The criteria are those of sriov-network-device-plugin ("Device selectors").

use crate::ids::{IfName, Invalid};
use crate::nic::{PciAddr, Port, Vf};
use std::str::FromStr;

/// All kinds of criteria that are given must fit; several values of one kind are alternatives; an empty list is no
/// criterion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Netdevs of PFs: `ens1f0`, or `ens1f0#0,2-7` for these VFs of it.
    pub pf_names: Vec<Numbered<IfName>>,
    /// PCI addresses of PFs, likewise.
    pub root_devices: Vec<Numbered<PciAddr>>,
    /// PCI vendors of VFs.
    pub vendors: Vec<u16>,
    /// PCI devices of VFs.
    pub devices: Vec<u16>,
    /// Drivers that VFs are bound to while they are free.
    pub drivers: Vec<String>,
    /// PCI addresses of VFs.
    pub pci_addresses: Vec<PciAddr>,
    /// NUMA nodes of PFs.
    pub numa: Vec<u32>,
}

impl Selector {
    /// No criterion at all: it would select every VF.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a VF is meant. `driver` is the one it has while it is free.
    pub fn selects(&self, port: &Port, vf: &Vf, driver: Option<&str>) -> bool {
        let Self { pf_names, root_devices, vendors, devices, drivers, pci_addresses, numa } = self;
        any(pf_names, |n| n.of == port.netdev && n.has(vf.index))
            && any(root_devices, |n| n.of.to_string() == port.key.device && n.has(vf.index))
            && any(vendors, |v| vf.id.is_some_and(|id| id.vendor == *v))
            && any(devices, |d| vf.id.is_some_and(|id| id.device == *d))
            && any(drivers, |d| driver == Some(d.as_str()))
            && any(pci_addresses, |pci| *pci == vf.pci)
            && any(numa, |node| port.numa == Some(*node))
    }
}

/// An empty list fits all.
pub(super) fn any<T>(alternatives: &[T], fits: impl Fn(&T) -> bool) -> bool {
    alternatives.is_empty() || alternatives.iter().any(fits)
}

/// Something of a PF, with the VFs, or of a NIC, with the queues, that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered<T> {
    /// What names it.
    pub of: T,
    /// Which of them; none: all.
    pub numbers: Option<Indexes>,
}

impl<T> Numbered<T> {
    /// Whether a number is meant.
    pub fn has(&self, index: u16) -> bool {
        self.numbers.as_ref().is_none_or(|numbers| numbers.contains(index))
    }
}

impl<T: FromStr<Err = Invalid>> FromStr for Numbered<T> {
    type Err = Invalid;
    /// `NAME` or `NAME#0,2-7`.
    fn from_str(s: &str) -> Result<Self, Invalid> {
        match s.split_once('#') {
            Some((of, numbers)) => Ok(Self { of: of.parse()?, numbers: Some(numbers.parse()?) }),
            None => Ok(Self { of: s.parse()?, numbers: None }),
        }
    }
}

/// Numbers of VFs or queues: ranges, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexes(Vec<(u16, u16)>);

impl Indexes {
    /// Whether a number is among them.
    pub fn contains(&self, index: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&index))
    }

    /// A number that both have.
    pub fn common(&self, other: &Self) -> Option<u16> {
        let starts = self.0.iter().chain(&other.0).map(|(first, _)| *first);
        starts.filter(|n| self.contains(*n) && other.contains(*n)).min()
    }
}

impl FromStr for Indexes {
    type Err = Invalid;
    /// `0,2-7`
    fn from_str(s: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("range", s, "it has the form 0,2-7");
        let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first <= last { Ok((first, last)) } else { Err(wrong()) }
        };
        s.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}
