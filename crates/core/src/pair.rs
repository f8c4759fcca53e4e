//! What connects a pod with a bridge where no device is lent to it: a pair of veths, or of netkit devices where the
//! kernel has them.

use crate::cni::CniError;
use crate::plan::Path;
use std::str::FromStr;

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
}

impl PairWish {
    /// As in configurations.
    pub const NAMES: [(&str, Self); 3] =
        [("veth", Self::Veth), ("netkit", Self::Netkit), ("netkit-required", Self::NetkitRequired)];

    /// Whether it must be known if netkit can be made.
    pub fn wants_netkit(self) -> bool {
        self != Self::Veth
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
            let why = match text {
                "netkit-l3" | "netkit-L3" => {
                    "; in L3 mode it cannot be a port of a bridge, and pods without one are not served"
                }
                _ => "",
            };
            CniError::config(format!("{text:?} is not allowed; allowed: {}{why}", names.join(", ")))
        })
    }
}

/// A kind of pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pair {
    /// veth.
    #[default]
    Veth,
    /// netkit, always in L2 mode: as a port of a bridge it has frames.
    Netkit {
        /// See [`crate::step::CreateNetkit::rx_queues`].
        rx_queues: u32,
    },
}

impl Pair {
    /// How an interface is called that is made of it.
    pub fn path(self) -> Path {
        match self {
            Self::Veth => Path::Veth,
            Self::Netkit { .. } => Path::Netkit,
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
    let netkit = Pair::Netkit { rx_queues: 1 };
    match (wish, lacking) {
        (PairWish::Veth, _) => Ok(Chosen::default()),
        (_, None) => Ok(Chosen { pair: netkit, why: Some(format!("path {wish} is configured")) }),
        (PairWish::Netkit, Some(lacking)) => {
            Ok(Chosen { pair: Pair::Veth, why: Some(format!("path {wish} is configured, but {lacking}")) })
        }
        (PairWish::NetkitRequired, Some(lacking)) => {
            Err(CniError::kernel(format!("path {wish} is configured, but {lacking}"))
                .with_details("path netkit falls back to veth"))
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
        for wish in [PairWish::Netkit, PairWish::NetkitRequired] {
            assert_eq!(choose(wish, None).unwrap().pair, Pair::Netkit { rx_queues: 1 });
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, wish) in PairWish::NAMES {
            assert_eq!((name.parse::<PairWish>().unwrap(), wish.to_string()), (wish, name.to_owned()));
        }
        let refused = "ipvlan".parse::<PairWish>().unwrap_err();
        assert_eq!(refused.msg, "\"ipvlan\" is not allowed; allowed: veth, netkit, netkit-required");
        assert!("netkit-l3".parse::<PairWish>().unwrap_err().msg.contains("cannot be a port of a bridge"));
    }
}
