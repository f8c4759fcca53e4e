//! Features of netdevs (Documentation/networking/netdev-features.rst). Their names are the kernel's; only what we say of
//! them goes by parts of names, so that those of later kernels find their place too.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One feature, as `ethtool -k` tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Feature {
    /// It is at work.
    pub on: bool,
    /// Nobody can change it on this device: the device has it always, or not at all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fixed: bool,
    /// Somebody wants it, whether the device can have it now or not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wanted: bool,
}

impl fmt::Display for Feature {
    /// `on`, `off [fixed]`, `off [requested on]`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |on| if on { "on" } else { "off" };
        f.write_str(word(self.on))?;
        match self {
            Self { fixed: true, .. } => f.write_str(" [fixed]"),
            Self { on, wanted, .. } if on != wanted => write!(f, " [requested {}]", word(*wanted)),
            _ => Ok(()),
        }
    }
}

/// The features of a netdev by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Features(pub BTreeMap<String, Feature>);

impl Features {
    /// Whether any of these is at work; none if the device has none of them and can have none.
    pub fn any(&self, names: &[&str]) -> Option<bool> {
        let all = names.iter().filter_map(|name| self.0.get(*name));
        all.filter(|f| f.on || !f.fixed).map(|f| f.on).reduce(|some, on| some || on)
    }

    /// Of one feature.
    pub fn get(&self, name: &str) -> Option<Feature> {
        self.0.get(name).copied()
    }

    /// Those of a group.
    pub fn of(&self, group: Group) -> impl Iterator<Item = (&str, Feature)> {
        let of_group = move |(name, _): &(&String, &Feature)| Group::of(name) == group;
        self.0.iter().filter(of_group).map(|(name, feature)| (name.as_str(), *feature))
    }
}

/// What features are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Packets within packets.
    Tunnels,
    /// Cutting large packets up.
    Segmentation,
    /// Computing checksums.
    Checksum,
    /// Joining, filtering and spreading what comes.
    Receive,
    /// VLAN tags.
    Vlan,
    /// Encryption.
    Crypto,
    /// Forwarding within the NIC.
    Forwarding,
    /// All else.
    Other,
}

impl Group {
    /// In the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Tunnels,
        Self::Segmentation,
        Self::Checksum,
        Self::Receive,
        Self::Vlan,
        Self::Crypto,
        Self::Forwarding,
        Self::Other,
    ];

    /// By a feature's name: the first group of which it has a word.
    pub fn of(name: &str) -> Self {
        const WORDS: [(Group, &[&str]); 7] = [
            (Group::Tunnels, &["tnl", "tunnel", "gre", "ipxip", "sit"]),
            (Group::Crypto, &["esp", "tls", "macsec", "psp"]),
            (Group::Segmentation, &["segmentation", "gso"]),
            (Group::Checksum, &["checksum", "csum", "crc"]),
            (Group::Vlan, &["vlan"]),
            (Group::Forwarding, &["tc", "fwd", "hsr"]),
            (Group::Receive, &["rx", "ntuple"]),
        ];
        let has = |word: &&str| name.split(['-', '_']).any(|part| part == *word);
        WORDS.iter().find(|(_, words)| words.iter().any(&has)).map_or(Self::Other, |(group, _)| *group)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tunnels => "Tunnels",
            Self::Segmentation => "Segmentation",
            Self::Checksum => "Checksum",
            Self::Receive => "Receive",
            Self::Vlan => "VLAN",
            Self::Crypto => "Encryption",
            Self::Forwarding => "Forwarding in the NIC",
            Self::Other => "Other",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_reads_as_ethtool_writes_it() {
        let shown = |on, fixed, wanted| Feature { on, fixed, wanted }.to_string();
        assert_eq!(shown(true, false, true), "on");
        assert_eq!(shown(false, false, false), "off");
        assert_eq!(shown(false, true, true), "off [fixed]");
        assert_eq!(shown(false, false, true), "off [requested on]");
        assert_eq!(shown(true, false, false), "on [requested off]");
    }

    #[test]
    fn features_find_their_group_by_their_words() {
        for (name, group) in [
            ("tx-udp_tnl-csum-segmentation", Group::Tunnels),
            ("rx-udp_tunnel-port-offload", Group::Tunnels),
            ("tx-gre-segmentation", Group::Tunnels),
            ("tx-tcp6-segmentation", Group::Segmentation),
            ("tx-gso-partial", Group::Segmentation),
            ("tx-esp-segmentation", Group::Crypto),
            ("tls-hw-rx-offload", Group::Crypto),
            ("tx-checksum-ip-generic", Group::Checksum),
            ("rx-checksum", Group::Checksum),
            ("rx-gro-hw", Group::Receive),
            ("rx-ntuple-filter", Group::Receive),
            ("rx-vlan-filter", Group::Vlan),
            ("hw-tc-offload", Group::Forwarding),
            ("highdma", Group::Other),
            ("tx-of-the-year-2040", Group::Other),
        ] {
            assert_eq!(Group::of(name), group, "{name}");
        }
    }

    #[test]
    fn what_a_device_cannot_have_is_none() {
        let feature = |on, fixed| Feature { on, fixed, wanted: on };
        let features =
            [("a", feature(true, true)), ("b", feature(false, false)), ("c", feature(false, true))];
        let features = Features(features.map(|(name, f)| (name.to_owned(), f)).into());
        let any = |names: &[&str]| features.any(names);
        assert_eq!((any(&["a", "c"]), any(&["b", "c"]), any(&["c", "d"])), (Some(true), Some(false), None));
    }
}
