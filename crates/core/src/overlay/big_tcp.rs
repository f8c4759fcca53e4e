//! Packets of more than 64 KiB inside the host (BIG TCP): how large, and why not. A packet that is larger than what a device
//! that it leaves by takes is cut to the MTU by the CPU, which costs more than was saved: it is all devices of a path, or none.

use super::decisions::Link;
use crate::net::Family;
use crate::offload::{Answer, Sizes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Where nothing was done for larger ones (`GSO_LEGACY_MAX_SIZE`, include/linux/netdevice.h).
pub const USUAL: u32 = 65_536;

/// As large as they are made, in bytes: more brings little, and takes memory in large pieces.
pub const SIZE: u32 = 192 << 10;

/// What packets pass on their way to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Carrier {
    /// A route.
    Routed,
    /// A route, and a tunnel.
    Vxlan {
        /// The family of the outer packets.
        outer: Family,
    },
}

impl Carrier {
    /// All.
    pub const ALL: [Self; 3] =
        [Self::Routed, Self::Vxlan { outer: Family::V4 }, Self::Vxlan { outer: Family::V6 }];
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Routed => f.write_str("routed"),
            Self::Vxlan { outer } => write!(f, "through VXLAN over {outer}"),
        }
    }
}

/// What this kernel was shown to carry, by way and family of pods.
pub type Shown = BTreeMap<(Carrier, Family), Answer>;

/// All that there are.
pub fn ways() -> impl Iterator<Item = (Carrier, Family)> {
    Carrier::ALL.into_iter().flat_map(|carrier| Family::ALL.map(|family| (carrier, family)))
}

/// How large packets of each family may be, in bytes, or why they stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Of IPv4.
    pub v4: Result<u32, String>,
    /// Of IPv6.
    pub v6: Result<u32, String>,
}

impl Allowed {
    /// Neither, for this reason.
    pub fn neither(why: &str) -> Self {
        Self { v4: Err(why.to_owned()), v6: Err(why.to_owned()) }
    }

    /// Of a family.
    pub fn of(&self, family: Family) -> &Result<u32, String> {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// Whether any is.
    pub fn any(&self) -> bool {
        self.v4.is_ok() || self.v6.is_ok()
    }

    /// What a device has to be set to: for what it sends, and if it `joins` what it receives, for that. Only what is otherwise
    /// than it should be and only upwards: larger ones are somebody's choice. None: nothing.
    pub fn raise(&self, now: &Sizes, joins: bool) -> Option<Sizes> {
        let raise = |allowed: &Result<u32, String>, now: Option<u32>| {
            let (wanted, now) = (*allowed.as_ref().ok()?, now?);
            (now < wanted).then_some(wanted)
        };
        let raised = Sizes {
            gso_max_size: raise(&self.v6, now.gso_max_size),
            gso_ipv4_max_size: raise(&self.v4, now.gso_ipv4_max_size),
            gro_max_size: raise(&self.v6, now.gro_max_size).filter(|_| joins),
            gro_ipv4_max_size: raise(&self.v4, now.gro_ipv4_max_size).filter(|_| joins),
            ..Sizes::default()
        };
        (raised != Sizes::default()).then_some(raised)
    }
}

/// What pods may send. `path` has all devices of the node that their packets leave by.
pub fn allowed(path: &[Link], tunnel: Option<Family>, shown: &Shown) -> Allowed {
    // A pod has one size for all that it sends: to peers by the tunnel, and to all others.
    let carriers: Vec<Carrier> =
        [Carrier::Routed].into_iter().chain(tunnel.map(|outer| Carrier::Vxlan { outer })).collect();
    let of = |family: Family| {
        for carrier in &carriers {
            match shown.get(&(*carrier, family)) {
                Some(Answer::There) => {}
                Some(Answer::Missing { why }) => {
                    return Err(format!("this kernel does not carry larger ones {carrier}: {why}"));
                }
                Some(Answer::Unknown { why }) => {
                    return Err(format!(
                        "whether this kernel carries larger ones {carrier} is not known: {why}"
                    ));
                }
                None => return Err("whether this kernel carries larger ones is being tried".into()),
            }
        }
        let most = |link: &Link| link.device.sizes.tso_max_size.unwrap_or(USUAL);
        let Some(least) = path.iter().min_by_key(|link| most(link)) else {
            return Err("the uplink was not looked at yet".into());
        };
        match most(least).min(SIZE) {
            size if size > USUAL => Ok(size),
            _ => Err(format!("{} cannot have more", least.name)),
        }
    };
    let own = Allowed { v4: of(Family::V4), v6: of(Family::V6) };
    // Below a tunnel it is the outer packets' size that counts (`netif_get_gso_max_size`, include/linux/netdevice.h).
    let Some((outer, Err(why))) = tunnel.map(|outer| (outer, own.of(outer).clone())) else { return own };
    let cut = |family: Result<u32, String>| {
        family.and_then(|_| Err(format!("the tunnel's packets are {outer}, which stay as they are: {why}")))
    };
    Allowed { v4: cut(own.v4), v6: cut(own.v6) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::IfName;
    use crate::offload::Device;

    fn device(most: u32) -> Device {
        Device { sizes: Sizes { tso_max_size: Some(most), ..Sizes::default() }, ..Device::default() }
    }

    /// By these devices, on a kernel that carries all but `missing`.
    fn decide(sizes: &[u32], tunnel: Option<Family>, missing: &[(Carrier, Family)]) -> Allowed {
        let names: Vec<IfName> = (0..sizes.len()).map(|n| format!("dev{n}").parse().unwrap()).collect();
        let devices: Vec<Device> = sizes.iter().map(|most| device(*most)).collect();
        let path: Vec<Link> =
            names.iter().zip(&devices).map(|(name, device)| Link { name, device }).collect();
        let answer = |way| match missing.contains(&way) {
            true => Answer::Missing { why: "lost".into() },
            false => Answer::There,
        };
        allowed(&path, tunnel, &ways().map(|way| (way, answer(way))).collect())
    }

    #[test]
    fn the_least_device_of_the_path_decides() {
        assert_eq!(decide(&[524_280, 100_000, 262_144], None, &[]).v4, Ok(100_000));
        assert_eq!(decide(&[524_280], None, &[]).v6, Ok(SIZE));
        assert_eq!(decide(&[524_280, USUAL], None, &[]).v6, Err("dev1 cannot have more".into()));
        assert!(decide(&[], None, &[]).v4.is_err());
    }

    #[test]
    fn what_the_kernel_loses_on_any_way_that_is_used_is_not_sent() {
        let (v4, v6) = (Family::V4, Family::V6);
        let lost = [(Carrier::Vxlan { outer: v4 }, v4), (Carrier::Routed, v6)];
        let direct = decide(&[524_280], None, &lost);
        assert_eq!(direct.v4, Ok(SIZE));
        assert_eq!(direct.v6, Err("this kernel does not carry larger ones routed: lost".into()));
        let told = "this kernel does not carry larger ones through VXLAN over IPv4: lost";
        assert_eq!(decide(&[524_280], Some(v4), &lost).v4, Err(told.into()));
        assert_eq!(decide(&[524_280], Some(v6), &lost[..1]).v4, Ok(SIZE), "another tunnel");
        let outer = decide(&[524_280], Some(v6), &lost);
        let told = "the tunnel's packets are IPv6, which stay as they are: this kernel does not carry larger ones routed: lost";
        assert_eq!(outer.v4, Err(told.into()), "the uplink would cut them up");
        assert_eq!(outer.v6, direct.v6);
        assert!(!allowed(&[], None, &Shown::default()).any(), "what was not tried is not done");
    }

    #[test]
    fn sizes_are_raised_only() {
        let usual = Some(USUAL);
        let now = Sizes {
            gso_max_size: usual,
            gso_ipv4_max_size: usual,
            gro_max_size: usual,
            gro_ipv4_max_size: usual,
            ..Sizes::default()
        };
        let both = Allowed { v4: Ok(SIZE), v6: Ok(100_000) };
        let sends = Sizes { gso_max_size: Some(100_000), gso_ipv4_max_size: Some(SIZE), ..Sizes::default() };
        assert_eq!(both.raise(&now, false), Some(sends));
        let joins = Sizes { gro_max_size: Some(100_000), gro_ipv4_max_size: Some(SIZE), ..sends };
        assert_eq!(both.raise(&now, true), Some(joins));
        assert_eq!(both.raise(&joins, true), None);
        let larger = Sizes { gso_max_size: Some(300_000), ..joins };
        assert_eq!(both.raise(&larger, true), None, "somebody's choice");
        assert_eq!(Allowed::neither("off").raise(&now, true), None);
        let old = Sizes { gso_max_size: usual, ..Sizes::default() };
        assert_eq!(both.raise(&old, true), Some(Sizes { gso_max_size: Some(100_000), ..Sizes::default() }));
    }
}
