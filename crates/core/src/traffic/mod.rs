//! Bytes that pods moved: where they are counted, and what the counters prove of the way that they took.

mod share;
mod totals;

pub use share::{Moved, Share, Way};
pub use totals::{Key, Label, Totals};

use crate::ids::{IfName, MacAddr};
use crate::plan::Path;
use crate::record::Record;
use crate::step::{BindTo, BindVf, Step};
use crate::vf::VfRef;
use serde::{Deserialize, Serialize};

/// Bytes as the pod sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Received by the pod.
    pub rx: u64,
    /// Sent by the pod.
    pub tx: u64,
}

impl Bytes {
    /// Both.
    pub fn sum(self) -> u64 {
        self.rx.saturating_add(self.tx)
    }

    /// As the other end of a pair sees them.
    pub fn from_the_other_end(self) -> Self {
        Self { rx: self.tx, tx: self.rx }
    }

    /// With these too.
    pub fn plus(self, more: Self) -> Self {
        Self { rx: self.rx.saturating_add(more.rx), tx: self.tx.saturating_add(more.tx) }
    }

    /// What was moved since a counter stood at `earlier`. One that is lower now has begun anew: what it shows is all
    /// that is known.
    pub fn since(self, earlier: Self) -> Self {
        let grown = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self { rx: grown(self.rx, earlier.rx), tx: grown(self.tx, earlier.tx) }
    }

    /// No more than these.
    pub fn at_most(self, limit: Self) -> Self {
        Self { rx: self.rx.min(limit.rx), tx: self.tx.min(limit.tx) }
    }
}

/// Who counts what an interface moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meter {
    /// The node's end of a pair: it receives what the pod sends, and the node's CPU moves all of it.
    HostEnd {
        /// Its name.
        link: IfName,
        /// By which it is known to be the attachment's; none: by its name.
        mac: Option<MacAddr>,
    },
    /// The VF's netdev in the pod, and the representor in front of it: that may know what took the CPU nevertheless.
    Netdev {
        /// The VF.
        vf: VfRef,
        /// In switchdev mode.
        representor: Option<IfName>,
    },
    /// The PF: the VF has no netdev.
    Function {
        /// The VF.
        vf: VfRef,
        /// In switchdev mode.
        representor: Option<IfName>,
    },
}

impl Metered {
    /// Whether the plan binds the VF's driver anew: its netdev, and with it the counter, is as new as the pod's.
    pub fn is_bound_anew(&self, record: &Record) -> bool {
        let same = |b: &BindVf| self.meter.vf().is_some_and(|vf| vf.pci == b.vf.pci);
        record
            .plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::BindVf(b) if b.to == BindTo::SameAnew && same(b)))
    }
}

impl Meter {
    /// The VF, if it is one.
    pub fn vf(&self) -> Option<&VfRef> {
        match self {
            Self::HostEnd { .. } => None,
            Self::Netdev { vf, .. } | Self::Function { vf, .. } => Some(vf),
        }
    }

    /// The VF's representor, if it has one.
    pub fn representor(&self) -> Option<&IfName> {
        match self {
            Self::HostEnd { .. } => None,
            Self::Netdev { representor, .. } | Self::Function { representor, .. } => representor.as_ref(),
        }
    }
}

/// An interface of a pod, and who counts what it moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metered {
    /// Its name in the pod.
    pub ifname: IfName,
    /// How it is made.
    pub path: Path,
    /// Who counts.
    pub meter: Meter,
    /// The VF leads to the node, which routes what it moves.
    pub routed: bool,
}

/// The interfaces that the attachment's plan makes. Those that other plugins make are not ours to judge.
pub fn metered(record: &Record) -> Vec<Metered> {
    let steps = &record.plan.steps;
    let representor = |vf: &VfRef| {
        steps.iter().find_map(|s| match s {
            Step::PlugRepresentor(p) if p.vf.pci == vf.pci => Some(p.representor.clone()),
            _ => None,
        })
    };
    let leases =
        |pod: &IfName| steps.iter().any(|s| matches!(s, Step::LeaseQueues(lease) if lease.link == *pod));
    let one = |step: &Step| match step {
        Step::CreateVeth(pair) => of_pair(&pair.pod, step, Path::Veth),
        Step::CreateNetkit(netkit) if leases(&netkit.pair.pod) => {
            of_pair(&netkit.pair.pod, step, Path::Queues)
        }
        Step::CreateNetkit(netkit) => of_pair(&netkit.pair.pod, step, Path::Netkit),
        Step::CreateNetkitL3(pair) => of_pair(&pair.pod, step, Path::NetkitL3),
        Step::MoveVf(m) => Some(Metered {
            ifname: m.name.clone(),
            path: Path::Vf,
            meter: Meter::Netdev { representor: representor(&m.vf), vf: m.vf.clone() },
            routed: steps.iter().any(|s| matches!(s, Step::HostRoute(route) if route.mac == Some(m.mac))),
        }),
        Step::BindVf(b) if b.to == BindTo::VfioPci => {
            let named = record.plan.interface_of(b.vf.pci).and_then(|i| i.name.parse().ok());
            Some(Metered {
                ifname: named.unwrap_or_else(|| record.attachment.ifname.clone()),
                path: Path::VfUserspace,
                meter: Meter::Function { representor: representor(&b.vf), vf: b.vf.clone() },
                routed: false,
            })
        }
        _ => None,
    };
    steps.iter().filter_map(one).collect()
}

fn of_pair(pod: &IfName, step: &Step, path: Path) -> Option<Metered> {
    let (link, mac) = step.host_link()?;
    let meter = Meter::HostEnd { link: link.clone(), mac };
    Some(Metered { ifname: pod.clone(), path, meter, routed: false })
}

#[cfg(test)]
mod tests;
