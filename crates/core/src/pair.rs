//! What connects a pod with the node where no device is lent to it: a pair of veths, or of netkit devices where the
//! kernel has them.

use crate::cni::CniError;
use crate::plan::Path;
use std::str::FromStr;

/// The group (`IFLA_GROUP`) of host ends that the node routes by, by which nftables knows them: what comes from there is
/// checked to bear the pod's own address.
pub const ROUTED_GROUP: u32 = 214;

/// What is asked for, network-wide or by one configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PairWish {
    /// veth: every kernel has it.
    #[default]
    Veth,
    /// netkit where it can be made, else veth.
    Netkit,
    /// netkit, or no pod.
    NetkitRequired,
    /// netkit in L3 mode, without a bridge, where it can be made, else veth.
    NetkitL3,
    /// netkit in L3 mode, or no pod.
    NetkitL3Required,
}

impl PairWish {
    /// As in configurations.
    pub const NAMES: [(&str, Self); 5] = [
        ("veth", Self::Veth),
        ("netkit", Self::Netkit),
        ("netkit-required", Self::NetkitRequired),
        ("netkit-l3", Self::NetkitL3),
        ("netkit-l3-required", Self::NetkitL3Required),
    ];

    /// Whether it must be known if netkit can be made.
    pub fn wants_netkit(self) -> bool {
        self != Self::Veth
    }

    /// Whether pods are routed to, without a bridge.
    pub fn is_routed(self) -> bool {
        matches!(self, Self::NetkitL3 | Self::NetkitL3Required)
    }
}

impl std::fmt::Display for PairWish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = Self::NAMES.iter().find(|(_, wish)| wish == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for PairWish {
    type Err = CniError;

    fn from_str(text: &str) -> Result<Self, CniError> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, wish)| *wish).ok_or_else(|| {
            let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
            CniError::config(format!("{text:?} is not allowed; allowed: {}", names.join(", ")))
        })
    }
}

/// A kind of pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pair {
    /// veth.
    #[default]
    Veth,
    /// netkit in L2 mode: as a port of a bridge it has frames.
    Netkit {
        /// See [`crate::step::CreateNetkit::rx_queues`].
        rx_queues: u32,
    },
    /// netkit in L3 mode: no port of a bridge, the node routes what it carries.
    NetkitL3,
}

impl Pair {
    /// How an interface is called that is made of it.
    pub fn path(self) -> Path {
        match self {
            Self::Veth => Path::Veth,
            Self::Netkit { .. } => Path::Netkit,
            Self::NetkitL3 => Path::NetkitL3,
        }
    }
}

/// A kind of pair that was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// What is made.
    pub pair: Pair,
    /// Why, where it was not a matter of course.
    pub why: Option<String>,
}

impl Chosen {
    /// A plan's reason, and why it is this pair.
    pub fn explain(&self, reason: &str) -> String {
        match &self.why {
            Some(why) => format!("{reason}; {why}"),
            None => reason.to_owned(),
        }
    }
}

/// What a node has for its pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    /// What is configured.
    pub wish: PairWish,
    /// Why netkit cannot be made; none: it can, or nobody wants it.
    pub no_netkit: Option<String>,
}

impl Pairs {
    /// See [`choose`].
    pub fn choose(&self) -> Result<Chosen, CniError> {
        choose(self.wish, self.no_netkit.as_deref())
    }
}

/// Chooses. `lacking` is why netkit cannot be made; none: it can. Error 100 if it must be netkit.
pub fn choose(wish: PairWish, lacking: Option<&str>) -> Result<Chosen, CniError> {
    let netkit = if wish.is_routed() { Pair::NetkitL3 } else { Pair::Netkit { rx_queues: 1 } };
    match (wish, lacking) {
        (PairWish::Veth, _) => Ok(Chosen::default()),
        (_, None) => Ok(Chosen { pair: netkit, why: Some(format!("path {wish} is configured")) }),
        (PairWish::Netkit | PairWish::NetkitL3, Some(lacking)) => {
            Ok(Chosen { pair: Pair::Veth, why: Some(format!("path {wish} is configured, but {lacking}")) })
        }
        (PairWish::NetkitRequired | PairWish::NetkitL3Required, Some(lacking)) => {
            Err(CniError::kernel(format!("path {wish} is configured, but {lacking}"))
                .with_details(format!("path {} falls back to veth", netkit.path())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Option<&str> = Some("this kernel has no netkit");

    #[test]
    fn netkit_falls_back_with_a_reason_unless_it_is_required() {
        let veth = choose(PairWish::Veth, NONE).unwrap();
        assert_eq!((veth.pair, veth.explain("a reason")), (Pair::Veth, "a reason".into()));
        let fallback = choose(PairWish::Netkit, NONE).unwrap();
        let told = "a reason; path netkit is configured, but this kernel has no netkit";
        assert_eq!((fallback.pair, fallback.explain("a reason")), (Pair::Veth, told.into()));
        let refused = choose(PairWish::NetkitRequired, NONE).unwrap_err();
        assert_eq!(refused.code, crate::cni::error::codes::KERNEL);
        assert_eq!(refused.msg, "path netkit-required is configured, but this kernel has no netkit");
        let refused = choose(PairWish::NetkitL3Required, NONE).unwrap_err();
        assert_eq!(refused.details, "path netkit-l3 falls back to veth");
        assert_eq!(choose(PairWish::NetkitL3, NONE).unwrap().pair, Pair::Veth);
        for wish in [PairWish::Netkit, PairWish::NetkitRequired] {
            assert_eq!(choose(wish, None).unwrap().pair, Pair::Netkit { rx_queues: 1 });
        }
        for wish in [PairWish::NetkitL3, PairWish::NetkitL3Required] {
            assert_eq!(choose(wish, None).unwrap().pair, Pair::NetkitL3);
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, wish) in PairWish::NAMES {
            assert_eq!((name.parse::<PairWish>().unwrap(), wish.to_string()), (wish, name.to_owned()));
        }
        let refused = "ipvlan".parse::<PairWish>().unwrap_err();
        let allowed = "veth, netkit, netkit-required, netkit-l3, netkit-l3-required";
        assert_eq!(refused.msg, format!("\"ipvlan\" is not allowed; allowed: {allowed}"));
    }
}
