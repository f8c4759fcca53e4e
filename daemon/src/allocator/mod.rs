//! Who holds which address and which host port of this node, in memory: an index over the records, which alone
//! are durable. Every change is made together with the record's, under one lock ([`crate::node::Node`]).

use crate::status::{AttachmentCount, RangeStatus};
use crate::traffic::Metering;
use ipnetwork::IpNetwork;
use offramp_core::cni::CniError;
use offramp_core::firewall::HostPortRule;
use offramp_core::ids::AttachmentId;
use offramp_core::ipam::{PickError, Range, pick_all};
use offramp_core::plan::Path;
use offramp_core::record::{Record, State};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What one attachment holds.
#[derive(Debug, Clone)]
struct Holding {
    ips: Vec<IpAddr>,
    ports: Vec<HostPortRule>,
    path: Path,
    state: State,
    metering: Arc<Metering>,
}

/// The index.
#[derive(Debug, Default)]
pub struct Allocator {
    sets: Vec<Vec<Range>>,
    last: Vec<Option<IpAddr>>,
    holders: HashMap<IpAddr, AttachmentId>,
    holdings: HashMap<AttachmentId, Holding>,
    short: Vec<IpNetwork>,
}

impl Allocator {
    /// Nothing is held; one address is given of each set.
    pub fn new(sets: Vec<Vec<Range>>) -> Self {
        Self { last: vec![None; sets.len()], sets, ..Self::default() }
    }

    /// From now on addresses are given of these. Who has an address of another set keeps it.
    pub fn set_ranges(&mut self, sets: Vec<Vec<Range>>) {
        // The last ones still rest longest, where they are in a set.
        let last = |set: &Vec<Range>| {
            self.last.iter().flatten().copied().find(|ip| set.iter().any(|range| range.offers(*ip)))
        };
        self.last = sets.iter().map(last).collect();
        self.sets = sets;
    }

    /// How many addresses are held that are of no range.
    pub fn outside(&self) -> usize {
        let inside = |ip: &IpAddr| self.sets.iter().flatten().any(|range| range.subnet.contains(*ip));
        self.holders.keys().filter(|ip| !inside(ip)).count()
    }

    /// Picks an address of each set for `wanted` or at random, without holding it yet.
    pub fn pick(&self, wanted: &[IpAddr]) -> Result<Vec<(IpAddr, Range)>, CniError> {
        if self.sets.is_empty() {
            return Err(CniError::try_again("this node has no podCIDR yet")
                .with_details("the Kubernetes API has not told it since this node started"));
        }
        let last = |set: usize| self.last.get(set).copied().flatten();
        pick_all(&self.sets, wanted, last, |ip| self.holders.contains_key(&ip)).map_err(|e| match &e {
            PickError::Taken(ip) => CniError::try_again(e.to_string()).with_details(self.holder_of(*ip)),
            PickError::Exhausted(_) => CniError::try_again(e.to_string())
                .with_details("pods that end free addresses; a larger podCIDR has more"),
            PickError::NotOffered(_) => CniError::config(e.to_string()),
        })
    }

    fn holder_of(&self, ip: IpAddr) -> String {
        self.holders.get(&ip).map_or_else(String::new, |id| format!("{id} holds it"))
    }

    /// Code 11 if another attachment has a port that is asked for.
    pub fn check_ports(&self, id: &AttachmentId, ports: &[HostPortRule]) -> Result<(), CniError> {
        for (holder, holding) in self.holdings.iter().filter(|(holder, _)| *holder != id) {
            let clash = |p: &&HostPortRule| holding.ports.iter().any(|q| p.conflicts_with(q));
            if let Some(port) = ports.iter().find(clash) {
                let (protocol, number) = (port.protocol.as_str(), port.host_port);
                return Err(CniError::try_again(format!("hostPort {protocol}/{number} is held by {holder}")));
            }
        }
        Ok(())
    }

    /// Takes what the record says into the index, in place of what it said before.
    pub fn hold(&mut self, record: &Record) {
        let id = &record.attachment;
        // It knows where counters stood before the plan was executed.
        let known = self.metering(id).filter(|metering| metering.is_of(record));
        self.forget(id);
        let mut ips = Vec::new();
        for ip in record.ips() {
            self.holders.entry(ip).or_insert_with(|| id.clone());
            ips.push(ip);
        }
        let plan = &record.plan;
        let holding = Holding {
            ips,
            ports: plan.firewall.host_ports.clone(),
            path: plan.path,
            state: record.state,
            metering: known.unwrap_or_else(|| Arc::new(Metering::of(record))),
        };
        self.holdings.insert(id.clone(), holding);
    }

    /// These addresses were given last: they rest longest.
    pub fn given(&mut self, record: &Record) {
        for ip in record.ips() {
            if let Some(set) = self.sets.iter().position(|s| s.iter().any(|r| r.offers(ip))) {
                self.last[set] = Some(ip);
            }
        }
    }

    /// Ranges that have begun to run short since the last question.
    pub fn newly_short(&mut self) -> Vec<RangeStatus> {
        let short: Vec<RangeStatus> = self.ranges().into_iter().filter(RangeStatus::is_short).collect();
        let known = std::mem::replace(&mut self.short, short.iter().map(|r| r.subnet).collect());
        short.into_iter().filter(|r| !known.contains(&r.subnet)).collect()
    }

    /// The attachment is made; says how, or none if it holds nothing.
    pub fn ready(&mut self, id: &AttachmentId) -> Option<Path> {
        let holding = self.holdings.get_mut(id)?;
        holding.state = State::Ready;
        Some(holding.path)
    }

    /// The attachment holds nothing any more; what another one holds stays.
    pub fn forget(&mut self, id: &AttachmentId) {
        let Some(holding) = self.holdings.remove(id) else { return };
        for ip in holding.ips {
            if self.holders.get(&ip) == Some(id) {
                self.holders.remove(&ip);
            }
        }
    }

    /// Everybody who holds something.
    pub fn ids(&self) -> Vec<AttachmentId> {
        self.holdings.keys().cloned().collect()
    }

    /// Where the counters of an attachment's interfaces are.
    pub fn metering(&self, id: &AttachmentId) -> Option<Arc<Metering>> {
        self.holdings.get(id).map(|holding| holding.metering.clone())
    }

    /// Where the counters of all interfaces are.
    pub fn meterings(&self) -> Vec<Arc<Metering>> {
        self.holdings.values().map(|holding| holding.metering.clone()).collect()
    }

    /// How full each range is.
    pub fn ranges(&self) -> Vec<RangeStatus> {
        let status = |range: &Range| RangeStatus {
            subnet: range.subnet,
            used: self.holders.keys().filter(|ip| range.offers(**ip)).count() as u64,
            capacity: u64::try_from(range.capacity()).unwrap_or(u64::MAX),
        };
        self.sets.iter().flatten().map(status).collect()
    }

    /// How many attachments there are of each kind.
    pub fn counts(&self) -> Vec<AttachmentCount> {
        let mut counts: Vec<AttachmentCount> = Vec::new();
        for Holding { path, state, .. } in self.holdings.values() {
            match counts.iter_mut().find(|c| c.path == *path && c.state == *state) {
                Some(count) => count.count += 1,
                None => counts.push(AttachmentCount { path: *path, state: *state, count: 1 }),
            }
        }
        counts.sort_by_key(|c| c.state.as_str());
        counts
    }
}

#[cfg(test)]
mod tests;
