//! Receive queues of a NIC to which a pod's packets are led: which rules and which RSS context that takes, and which of
//! those on a NIC are a pod's.

use crate::ids::{AttachmentId, IfName};
use crate::net::Family;
use crate::nic::PortKey;
use crate::offload::FlowTo;
use crate::queue::QueueRef;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The RSS context that every NIC has, for all packets that no rule leads elsewhere.
pub const MAIN: u32 = 0;

/// What of the packets to an address a rule leads. NICs disagree on whether a rule of IP has TCP and UDP in it (i40e's has
/// not), so that each has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packets {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// The rest of IP. A pod can do without: what no rule leads comes as it did.
    Rest,
}

impl Packets {
    /// In the order in which rules are made.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Rest];
}

/// The packets that a rule leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lead {
    /// To this address.
    pub ip: IpAddr,
    /// These of them.
    pub packets: Packets,
}

impl std::fmt::Display for Lead {
    /// `TCP to 10.244.1.5`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let packets = match self.packets {
            Packets::Tcp => "TCP",
            Packets::Udp => "UDP",
            Packets::Rest => "IP other than TCP and UDP",
        };
        write!(f, "{packets} to {}", self.ip)
    }
}

/// The packets that a NIC's rules can lead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Takes(BTreeSet<(Family, Packets)>);

impl Takes {
    /// Notes one.
    pub fn insert(&mut self, family: Family, packets: Packets) {
        self.0.insert((family, packets));
    }

    /// TCP or UDP of one of these families that it cannot lead.
    pub fn lacks(&self, families: impl IntoIterator<Item = Family>) -> Option<(Family, Packets)> {
        let needed = |family| [Packets::Tcp, Packets::Udp].map(|packets| (family, packets));
        families.into_iter().flat_map(needed).find(|pair| !self.0.contains(pair))
    }

    /// All rules for these addresses, by address.
    pub fn leads(&self, ips: impl IntoIterator<Item = IpAddr>) -> Vec<Lead> {
        let of = |ip| Packets::ALL.map(|packets| Lead { ip, packets });
        let leads = ips.into_iter().flat_map(of);
        leads.filter(|lead| self.0.contains(&(Family::of(lead.ip), lead.packets))).collect()
    }
}

/// See [`crate::step::Step::SteerQueues`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteerQueues {
    /// The NIC's port.
    pub port: PortKey,
    /// The port's netdev.
    pub nic: IfName,
    /// The queues' numbers there, rising. An RSS context has these and no others.
    pub queues: Vec<u32>,
    /// What rules lead to that context.
    pub leads: Vec<Lead>,
}

/// A rule of a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteerRule {
    /// What `ethtool -N DEV delete` knows it by.
    pub id: u32,
    /// Where it leads.
    pub to: FlowTo,
    /// What it leads; none: nothing that we would have asked for.
    pub lead: Option<Lead>,
}

/// A NIC's rules and RSS contexts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steering {
    /// Rules.
    pub rules: Vec<SteerRule>,
    /// The queues of the contexts' tables, also of context 0, which all packets have that no rule leads elsewhere.
    pub tables: BTreeMap<u32, BTreeSet<u32>>,
}

/// What of a NIC's is an attachment's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// Contexts that have its queues and no others; one is enough. Rising.
    pub contexts: Vec<u32>,
    /// Rules: what they lead, to which context, and what the NIC knows them by.
    pub rules: Vec<(Lead, u32, u32)>,
    /// Contexts to which rules lead that are somebody else's.
    pub shared: BTreeSet<u32>,
}

impl Own {
    /// What is not led to a context.
    pub fn missing(&self, leads: &[Lead], context: u32) -> Vec<Lead> {
        let led = |lead: &Lead| self.rules.iter().any(|(l, to, _)| l == lead && *to == context);
        leads.iter().copied().filter(|lead| !led(lead)).collect()
    }

    /// Rules that lead elsewhere than to a context, or lead what another leads there already.
    pub fn surplus(&self, context: u32) -> Vec<u32> {
        let mut seen = BTreeSet::new();
        let keep = |(lead, to, _): &&(Lead, u32, u32)| *to != context || !seen.insert(*lead);
        self.rules.iter().filter(keep).map(|(_, _, id)| *id).collect()
    }
}

impl SteerQueues {
    /// The queues.
    pub fn refs(&self) -> impl Iterator<Item = QueueRef> + '_ {
        let queue = |queue| QueueRef { port: self.port.clone(), nic: self.nic.clone(), queue };
        self.queues.iter().copied().map(queue)
    }

    /// What on the NIC is this attachment's: nobody else has its queues, or its addresses. A rule that leads the same to
    /// other queues is an operator's; one to a context that is gone (Linux 6.12 lets that happen) leads nowhere.
    pub fn own(&self, on: &Steering) -> Own {
        let queues: BTreeSet<u32> = self.queues.iter().copied().collect();
        let has_these = |(id, table): &(&u32, &BTreeSet<u32>)| **id != MAIN && **table == queues;
        let contexts: Vec<u32> = on.tables.iter().filter(has_these).map(|(id, _)| *id).collect();
        let is_its = |id: &u32| contexts.contains(id) || !on.tables.contains_key(id);
        let (mut rules, mut shared) = (Vec::new(), BTreeSet::new());
        for rule in &on.rules {
            let FlowTo::Context { id, plus } = rule.to else { continue };
            match rule.lead.filter(|lead| self.leads.contains(lead)) {
                Some(lead) if plus == 0 && is_its(&id) => rules.push((lead, id, rule.id)),
                _ => drop(shared.insert(id)),
            }
        }
        Own { contexts, rules, shared }
    }
}

/// Queues to which an attachment's packets are led, and over which their NIC spreads everybody's, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SharedQueues {
    /// The attachment.
    pub holder: AttachmentId,
    /// The port's netdev.
    pub nic: IfName,
    /// The queues' numbers there, rising.
    pub queues: Vec<u32>,
}

impl std::fmt::Display for SharedQueues {
    /// `c1@eth0: its queues are not its own: ens1f0 spreads the node's packets over [4, 5], too`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { holder, nic, queues } = self;
        write!(
            f,
            "{holder}: its queues are not its own: {nic} spreads the node's packets over {queues:?}, too"
        )
    }
}

#[cfg(test)]
#[path = "steer_tests.rs"]
mod tests;
