//! Why no VF is lent, nor queues: the only text that users see, so all of it in one readable line.

use super::queues::QueueWhy;
use crate::cni::CniError;
use crate::cni::error::codes;
use crate::ids::{IfName, PoolName, ResourceName};
use crate::nic::PciAddr;
use crate::pool::Forbidden;
use crate::wish::{OFFLOAD, Offload};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// All that was in the way, at least one.
    pub reasons: Vec<Reason>,
    /// It could be fulfilled if what is lent, in quarantine or without link became free.
    pub waiting_helps: bool,
}

/// One thing that was in the way. One of a VF is there once for each VF.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// Of which interface.
    pub ifname: IfName,
    /// In which pool; none: of the node.
    pub pool: Option<PoolName>,
    /// At which PF; none: of the whole pool.
    pub pf: Option<IfName>,
    /// What.
    pub why: Why,
}

/// What is in the way of an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The node has no pool.
    NoPools,
    /// No pool has this name.
    NoSuchPool(PoolName),
    /// The pool's policy does not have pods of this namespace.
    Namespace(Option<String>),
    /// The pool's policy does not allow VFs as eth0.
    NotForEth0,
    /// A VF of a vfio pool is no interface.
    VfioEth0,
    /// The pool's policy does not allow a setting.
    Forbidden(Forbidden),
    /// No VF of this node is in the pool.
    NoVfs,
    /// Several pools select the same VFs.
    Overlaps(Vec<PoolName>),
    /// No VF has this address.
    NoSuchDevice(PciAddr),
    /// The VF is in no pool.
    DeviceOfNoPool(PciAddr),
    /// The VF is in another pool.
    DeviceOfOtherPool(PciAddr),
    /// Kubelet lends it, and has not assigned it to the pod.
    NotAssigned(ResourceName),
    /// Kubelet lends it, and could not be asked for whom; why.
    AssignmentUnknown(String),
    /// Another attachment has it.
    Lent,
    /// It is being cleaned; what is in the way of that, may be empty.
    Quarantine(String),
    /// Somebody has it or is at work on it, no claim tells for whom; how that is known.
    Unclear(String),
    /// Its netdev is in another namespace, and not by Offramp's doing.
    Elsewhere,
    /// It has no netdev by this driver, or no driver.
    NoNetdev(Option<String>),
    /// Its driver does not have so many channels.
    NoChannels {
        /// How many are wanted.
        wanted: u32,
        /// In the driver's words.
        why: String,
    },
    /// vfio needs an IOMMU.
    NoIommuGroup,
    /// Its port is a bond's.
    Bond(IfName),
    /// The pod network cannot be reached by any VF.
    NoUplink(String),
    /// The port is not the one that the pod network is on.
    NotOnUplink,
    /// In switchdev mode, its representor is to be a bridge's port, and is not there.
    NoRepresentor,
    /// The port is down.
    PortDown,
    /// The port has no link.
    NoLink,
    /// So many are free and suit, and the pod's other interfaces need them.
    OtherInterfaces(usize),
    /// It is in the way of queues, not of a VF.
    Queues(QueueWhy),
    /// The pair that is configured cannot be made.
    NoPair {
        /// Why.
        why: String,
        /// What may help.
        hint: String,
    },
}

impl Why {
    /// The policy is in the way.
    fn is_policy(&self) -> bool {
        self.kind() == "policy"
    }

    /// One word, for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoPools | Self::NoSuchPool(_) | Self::NoVfs | Self::Overlaps(_) => "no-pool",
            Self::Namespace(_) | Self::NotForEth0 | Self::Forbidden(_) | Self::Bond(_) => "policy",
            Self::NoSuchDevice(_) | Self::DeviceOfNoPool(_) | Self::DeviceOfOtherPool(_) => "no-device",
            Self::NotAssigned(_) => "not-assigned",
            Self::AssignmentUnknown(_) => "kubelet-away",
            Self::Lent | Self::OtherInterfaces(_) => "lent",
            Self::Quarantine(_) => "quarantine",
            Self::Unclear(_) => "unclear",
            Self::Elsewhere
            | Self::NoNetdev(_)
            | Self::NoChannels { .. }
            | Self::NoIommuGroup
            | Self::VfioEth0
            | Self::NoRepresentor => "unfit",
            Self::NoUplink(_) | Self::NotOnUplink => "not-on-uplink",
            Self::PortDown | Self::NoLink => "no-link",
            Self::Queues(why) => why.kind(),
            Self::NoPair { .. } => "no-pair",
        }
    }

    /// Goes for the port's or pool's VFs, or the NIC's queues, one by one.
    fn counts(&self) -> bool {
        if let Self::Queues(why) = self {
            return why.counts();
        }
        matches!(
            self,
            Self::NotAssigned(_)
                | Self::AssignmentUnknown(_)
                | Self::Lent
                | Self::Quarantine(_)
                | Self::Unclear(_)
                | Self::Elsewhere
                | Self::NoNetdev(_)
                | Self::NoChannels { .. }
                | Self::NoIommuGroup
                | Self::Bond(_)
                | Self::NoUplink(_)
                | Self::NotOnUplink
                | Self::NoRepresentor
                | Self::PortDown
                | Self::NoLink
        )
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pools: &[PoolName]| pools.iter().map(PoolName::as_str).collect::<Vec<_>>().join(" and ");
        match self {
            Self::NoPools => f.write_str("this node has no pool to take it from"),
            Self::NoSuchPool(name) => write!(f, "this node has no pool {name}"),
            Self::Namespace(Some(ns)) => write!(f, "its policy does not let namespace {ns} use it"),
            Self::Namespace(None) => {
                f.write_str("its policy does not let a container without a namespace use it")
            }
            Self::NotForEth0 => f.write_str("its policy does not allow VFs as eth0"),
            Self::VfioEth0 => f.write_str("its VFs are for userspace (mode vfio) and cannot be eth0"),
            Self::Forbidden(forbidden) => forbidden.fmt(f),
            Self::NoVfs => f.write_str("it has no VFs on this node"),
            Self::Overlaps(pools) => write!(f, "the pools {} select the same VFs", names(pools)),
            Self::NoSuchDevice(pci) => write!(f, "this node has no VF {pci}"),
            Self::DeviceOfNoPool(pci) => write!(f, "VF {pci} is in no pool"),
            Self::DeviceOfOtherPool(pci) => write!(f, "VF {pci} is not in the pool that was asked for"),
            Self::NotAssigned(resource) => write!(
                f,
                "not assigned to the pod by kubelet: one of its containers, an init container not counted, must request {resource}"
            ),
            Self::AssignmentUnknown(why) => write!(f, "lent by kubelet, which could not be asked: {why}"),
            Self::Lent => f.write_str("lent"),
            Self::Quarantine(why) if why.is_empty() => f.write_str("in quarantine"),
            Self::Quarantine(why) => write!(f, "in quarantine ({why})"),
            Self::Unclear(why) => write!(f, "somebody's ({why})"),
            Self::Elsewhere => f.write_str("with the netdev in a namespace that Offramp did not put it in"),
            Self::NoNetdev(Some(driver)) => write!(f, "without a netdev (driver {driver})"),
            Self::NoNetdev(None) => f.write_str("without a driver"),
            Self::NoChannels { wanted, why } => write!(f, "whose driver has no {wanted} channels ({why})"),
            Self::NoIommuGroup => f.write_str("without an IOMMU group, which vfio needs"),
            Self::Bond(bond) => {
                write!(f, "of a port of {bond}: its policy does not allow eth0 on a bond (policy.allowBond)")
            }
            Self::NoUplink(why) => write!(f, "off the pod network: {why}"),
            Self::NotOnUplink => f.write_str("of a port that the pod network is not on"),
            Self::NoRepresentor => f.write_str("without a representor"),
            Self::PortDown => f.write_str("of a port that is down"),
            Self::NoLink => f.write_str("of a port without link"),
            Self::OtherInterfaces(n) => {
                write!(f, "{n} free, but needed for the pod's other interfaces")
            }
            Self::Queues(why) => why.fmt(f),
            Self::NoPair { why, hint: _ } => f.write_str(why),
        }
    }
}

impl Refusal {
    /// 100 where no pair can be made, 11 where waiting may help, 107 where a policy is in the way, else 106.
    pub fn code(&self) -> u32 {
        if self.no_pair().is_some() {
            codes::KERNEL
        } else if self.waiting_helps {
            codes::TRY_AGAIN
        } else if self.reasons.iter().any(|r| r.why.is_policy()) {
            codes::FORBIDDEN
        } else {
            codes::NO_DEVICE
        }
    }

    /// The error of an ADD that asked for `offload` of `eth0`.
    pub fn into_error(self, offload: Offload, eth0: &IfName) -> CniError {
        let falls_back = offload == Offload::Required && self.interfaces().contains(eth0);
        let no_pair = self.no_pair().map(str::to_owned);
        let error = CniError::from(self);
        if let Some(hint) = no_pair {
            return error.with_details(hint);
        }
        if !falls_back {
            return error;
        }
        let hint = format!("annotation {OFFLOAD}: preferred falls back to veth");
        error.context(format!("offload of {eth0} is required")).with_details(hint)
    }

    /// What may help where no pair can be made.
    fn no_pair(&self) -> Option<&str> {
        self.reasons.iter().find_map(|r| match &r.why {
            Why::NoPair { hint, .. } => Some(hint.as_str()),
            _ => None,
        })
    }

    /// The kinds of the reasons ([`Why::kind`]).
    pub fn kinds(&self) -> BTreeSet<&'static str> {
        self.reasons.iter().map(|r| r.why.kind()).collect()
    }

    /// With what was in the way of another path for the same interface.
    pub fn and(mut self, other: Self) -> Self {
        self.reasons.extend(other.reasons);
        self.waiting_helps |= other.waiting_helps;
        self
    }

    /// With what was in the way of another interface.
    pub fn beside(mut self, other: Self) -> Self {
        self.reasons.extend(other.reasons);
        self.waiting_helps &= other.waiting_helps;
        self
    }

    /// What could not be had for an interface, such as `VF` or `VF and no queues`.
    pub fn lacking(&self, ifname: &IfName) -> String {
        let what = |why: &Why| match why {
            Why::Queues(_) => "queues",
            Why::NoPair { .. } => "pair",
            _ => "VF",
        };
        let of = |r: &&Reason| r.ifname == *ifname;
        let lacking: BTreeSet<_> = self.reasons.iter().filter(of).map(|r| what(&r.why)).collect();
        let in_order = ["VF", "queues", "pair"].into_iter().filter(|what| lacking.contains(what));
        in_order.collect::<Vec<_>>().join(" and no ")
    }

    /// The interfaces that get nothing.
    pub fn interfaces(&self) -> BTreeSet<&IfName> {
        self.reasons.iter().map(|r| &r.ifname).collect()
    }

    /// The reasons of one interface, in one line.
    pub fn why(&self, ifname: &IfName) -> String {
        let mut places: BTreeMap<_, BTreeMap<&Why, usize>> = BTreeMap::new();
        for reason in self.reasons.iter().filter(|r| r.ifname == *ifname) {
            let place = (reason.pool.as_ref(), reason.pf.as_ref());
            *places.entry(place).or_default().entry(&reason.why).or_default() += 1;
        }
        let mut parts = Vec::with_capacity(places.len());
        for (place, whys) in places {
            let counted = |(why, n): (&Why, usize)| {
                if why.counts() { format!("{n} {why}") } else { why.to_string() }
            };
            let whys = whys.into_iter().map(counted).collect::<Vec<_>>().join(", ");
            parts.push(match place {
                (Some(pool), Some(pf)) => format!("pool {pool}, {pf}: {whys}"),
                (Some(pool), None) => format!("pool {pool}: {whys}"),
                (None, _) => whys,
            });
        }
        parts.join("; ")
    }
}

impl fmt::Display for Refusal {
    /// `no VF for net1: pool fast, ens1f0: 3 lent, 1 in quarantine; pool telco: ...`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, ifname) in self.interfaces().into_iter().enumerate() {
            let (and, what) = (if i == 0 { "" } else { "; " }, self.lacking(ifname));
            write!(f, "{and}no {what} for {ifname}: {}", self.why(ifname))?;
        }
        Ok(())
    }
}

impl From<Refusal> for CniError {
    fn from(refusal: Refusal) -> Self {
        CniError::new(refusal.code(), refusal.to_string())
    }
}

/// `4, 5 and 6`
pub(super) fn list(items: &[String]) -> String {
    match items {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => items.concat(),
    }
}
