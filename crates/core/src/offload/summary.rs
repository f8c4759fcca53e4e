//! The offloads that people ask for, of the hundred that the kernel names.

use super::{Answer, Device, Rss};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a netdev can do in the CPU's stead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offload {
    /// Checksums of what is sent, over IPv4 and IPv6.
    TxChecksum,
    /// Checksums of what is received.
    RxChecksum,
    /// Large TCP packets are cut up.
    Tso,
    /// Those within UDP tunnels too, VXLAN's.
    TunnelTso,
    /// Large UDP packets are cut up.
    UdpGso,
    /// TCP packets are joined.
    HwGro,
    /// What comes is spread over queues.
    Rss,
    /// Flows are steered to queues by rules.
    Ntuple,
    /// Rules of traffic control are the NIC's work.
    Tc,
    /// Ports of tunnels are told to the NIC.
    TunnelPorts,
    /// Packets of more than 64 KiB.
    BigTcp,
    /// Programs run in the driver.
    Xdp,
    /// Sockets get packets without a copy.
    AfXdpZeroCopy,
    /// Its queues can be leased to pods.
    QueueLease,
}

/// A summary: those that are at work (true), and those that could be (false); others the device does not have.
pub type Summary = BTreeMap<Offload, bool>;

/// What a packet can have where nothing was done for larger ones (`GSO_LEGACY_MAX_SIZE`, include/linux/netdevice.h).
const LEGACY_MAX_SIZE: u32 = 65_536;

impl Offload {
    /// In the order in which they are shown.
    pub const ALL: [Self; 14] = [
        Self::TxChecksum,
        Self::RxChecksum,
        Self::Tso,
        Self::TunnelTso,
        Self::UdpGso,
        Self::HwGro,
        Self::Rss,
        Self::Ntuple,
        Self::Tc,
        Self::TunnelPorts,
        Self::BigTcp,
        Self::Xdp,
        Self::AfXdpZeroCopy,
        Self::QueueLease,
    ];

    /// Its name, which is also the label's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TxChecksum => "tx-checksum",
            Self::RxChecksum => "rx-checksum",
            Self::Tso => "tso",
            Self::TunnelTso => "tunnel-tso",
            Self::UdpGso => "udp-gso",
            Self::HwGro => "hw-gro",
            Self::Rss => "rss",
            Self::Ntuple => "ntuple",
            Self::Tc => "tc",
            Self::TunnelPorts => "tunnel-ports",
            Self::BigTcp => "big-tcp",
            Self::Xdp => "xdp",
            Self::AfXdpZeroCopy => "af-xdp-zero-copy",
            Self::QueueLease => "queue-lease",
        }
    }

    /// Whether a device has it at work; none: it does not have it.
    pub fn of(self, device: &Device) -> Option<bool> {
        let any = |names: &[&str]| device.features.any(names);
        let xdp = |feature: &str| {
            let has = |f: &String| f == feature;
            device.xdp.as_ref().filter(|xdp| xdp.features.iter().any(has)).map(|_| true)
        };
        match self {
            Self::TxChecksum => match (any(&["tx-checksum-ipv4"]), any(&["tx-checksum-ipv6"])) {
                // One family alone is half of it.
                (Some(v4), Some(v6)) => Some(v4 && v6),
                _ => any(&["tx-checksum-ip-generic"]),
            },
            Self::RxChecksum => any(&["rx-checksum"]),
            Self::Tso => any(&["tx-tcp-segmentation"]),
            Self::TunnelTso => any(&["tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"]),
            Self::UdpGso => any(&["tx-udp-segmentation"]),
            Self::HwGro => any(&["rx-gro-hw"]),
            Self::Rss => {
                let (now, most) = device.channels.map_or((1, 1), |channels| channels.receiving());
                // A table may name queues that are not there at the moment.
                let spread = |rss: &Rss| now > 1 && rss.queues.len() > 1;
                device.rss.as_ref().filter(|_| most > 1).map(spread)
            }
            Self::Ntuple => any(&["rx-ntuple-filter"]),
            Self::Tc => any(&["hw-tc-offload"]),
            Self::TunnelPorts => {
                let tables = &device.tunnel_ports;
                (!tables.is_empty()).then(|| tables.iter().any(|table| !table.ports.is_empty()))
            }
            Self::BigTcp => {
                let sizes = &device.sizes;
                let is_big = |size: Option<u32>| size.is_some_and(|size| size > LEGACY_MAX_SIZE);
                is_big(sizes.tso_max_size)
                    .then(|| is_big(sizes.gso_max_size) || is_big(sizes.gso_ipv4_max_size))
            }
            Self::Xdp => xdp("basic"),
            Self::AfXdpZeroCopy => xdp("xsk-zerocopy"),
            Self::QueueLease => (device.leases == Some(Answer::There)).then_some(true),
        }
    }
}

impl fmt::Display for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Device {
    /// What of it people ask for.
    pub fn summary(&self) -> Summary {
        Offload::ALL.into_iter().filter_map(|offload| Some((offload, offload.of(self)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::{Channels, Feature, Sizes, TunnelTable, Xdp};

    fn device(features: &[(&str, bool, bool)]) -> Device {
        let feature = |(name, on, fixed): &(&str, bool, bool)| {
            ((*name).to_owned(), Feature { on: *on, fixed: *fixed, wanted: *on })
        };
        let mut device = Device::default();
        device.features.0 = features.iter().map(feature).collect();
        device
    }

    fn summary(device: &Device) -> Vec<(&'static str, bool)> {
        device.summary().into_iter().map(|(offload, on)| (offload.as_str(), on)).collect()
    }

    #[test]
    fn checksums_of_both_families_are_one() {
        let of = |features: &[_]| summary(&device(features));
        let (v4, v6) = (("tx-checksum-ipv4", true, false), ("tx-checksum-ipv6", false, false));
        assert_eq!(of(&[v4, v6]), [("tx-checksum", false)]);
        assert_eq!(of(&[v4, ("tx-checksum-ipv6", true, true)]), [("tx-checksum", true)]);
        let none = [("tx-checksum-ipv4", false, true), ("tx-checksum-ipv6", false, true)];
        assert_eq!(of(&[none[0], none[1], ("tx-checksum-ip-generic", true, false)]), [("tx-checksum", true)]);
        assert_eq!(of(&none), []);
    }

    #[test]
    fn what_is_no_feature_counts_too() {
        let mut nic = device(&[("hw-tc-offload", false, false), ("rx-gro-hw", false, true)]);
        nic.rss = Some(Rss { queues: vec![0], ..Rss::default() });
        assert_eq!(summary(&nic), [("tc", false)], "one queue is all that it can have");
        nic.rss = Some(Rss { queues: vec![0, 1], ..Rss::default() });
        nic.channels = Some(Channels { combined: 1, max_combined: 4, ..Channels::default() });
        nic.tunnel_ports = vec![TunnelTable::default()];
        nic.sizes = Sizes { tso_max_size: Some(524_280), gso_max_size: Some(65_536), ..Sizes::default() };
        nic.xdp = Some(Xdp { features: vec!["basic".into()], ..Xdp::default() });
        let rest = [("tunnel-ports", false), ("big-tcp", false), ("xdp", true)];
        assert_eq!(summary(&nic), [&[("rss", false), ("tc", false)], rest.as_slice()].concat());
    }

    #[test]
    fn names_are_those_of_json() {
        for offload in Offload::ALL {
            assert_eq!(serde_json::to_value(offload).unwrap(), offload.as_str());
        }
    }
}
