//! The PFs' filters, and what of them is ours.

use super::report::Report;
use nix::errno::Errno;
use offramp_core::cni::CniError;
use offramp_core::eswitch::{Added, Change, Filter, Outcome, Wanted, settle};
use offramp_core::ids::{IfName, MacAddr};
use offramp_kernel::link::Link;
use offramp_kernel::netlink::Socket;
use offramp_kernel::{Error, crash, fdb};
use offramp_ledger::Store;
use std::collections::{BTreeMap, BTreeSet};

type Macs = BTreeMap<IfName, BTreeSet<MacAddr>>;

/// All PFs' filters.
pub struct Filters<'a> {
    pub socket: &'a mut Socket,
    pub store: &'a Store,
    pub links: &'a [Link],
}

/// What came of all.
#[derive(Default)]
pub struct Settlement {
    /// What others have put into the filters.
    pub foreign: Macs,
    /// By PF.
    pub reports: BTreeMap<IfName, Report>,
    /// What could not be done, but for want of room.
    pub errors: Vec<Error>,
    /// What we had added and was gone.
    pub repairs: u64,
}

impl Filters<'_> {
    /// Makes each PF know what is `wanted` of it, and forget what we had added and is not. `recorded` is what ADDs added.
    pub fn settle(
        &mut self,
        wanted: &BTreeMap<IfName, Vec<Wanted>>,
        recorded: &Macs,
    ) -> Result<Settlement, CniError> {
        let mut settlement = Settlement::default();
        let added = self.store.added_ports()?;
        let ports: BTreeSet<&IfName> = wanted.keys().chain(recorded.keys()).chain(&added).collect();
        for port in ports {
            // With a NIC go its entries.
            let Some(index) = self.links.iter().find(|l| l.name == port.as_str()).map(|l| l.index) else {
                self.store.forget_added(port)?;
                continue;
            };
            let present = match fdb::filter(self.socket, port.as_str(), index) {
                Ok(present) => present,
                Err(e) => {
                    settlement.errors.push(e);
                    continue;
                }
            };
            let wanted = wanted.get(port).map_or(&[][..], Vec::as_slice);
            let recorded = recorded.get(port).cloned().unwrap_or_default();
            self.settle_one(port, index, wanted, present, recorded, &mut settlement)?;
        }
        Ok(settlement)
    }

    fn settle_one(
        &mut self,
        port: &IfName,
        index: u32,
        wanted: &[Wanted],
        present: BTreeSet<MacAddr>,
        recorded: BTreeSet<MacAddr>,
        settlement: &mut Settlement,
    ) -> Result<(), CniError> {
        // Of a file that cannot be read nothing is known to be ours.
        let before = self.store.added(port).ok().flatten().unwrap_or_default().macs;
        let missing = || wanted.iter().map(|w| w.mac).filter(|mac| !present.contains(mac));
        settlement.repairs += missing().filter(|mac| before.contains(mac)).count() as u64;
        let intended: BTreeSet<MacAddr> = missing().chain(before.iter().copied()).collect();
        if intended != before {
            self.store.set_added(port, &Added { macs: intended.clone() })?;
        }
        crash::point("eswitch.intended");
        let filter = Filter { ours: &intended | &recorded, present };
        let settled = settle(wanted, &filter, |change| self.apply(port, index, change));
        let added: BTreeSet<MacAddr> = &settled.ours & &intended;
        crash::point("eswitch.settled");
        if added.is_empty() {
            self.store.forget_added(port)?;
        } else if added != intended {
            self.store.set_added(port, &Added { macs: added })?;
        }
        settlement.foreign.insert(port.clone(), &filter.present - &filter.ours);
        if !wanted.is_empty() {
            settlement.reports.insert(port.clone(), Report::new(wanted.len(), &settled));
        }
        settlement.errors.extend(settled.errors);
        Ok(())
    }

    fn apply(&mut self, port: &IfName, index: u32, change: Change) -> Outcome<Error> {
        let request = match change {
            // An ADD was quicker.
            Change::Add(mac) => fdb::add(port.as_str(), index, mac).accept(&[Errno::EEXIST as i32]),
            Change::Remove(mac) => fdb::remove(port.as_str(), index, mac),
        };
        match self.socket.batch(vec![request]) {
            Ok(()) => Outcome::Done,
            Err(e) if e.errno().is_some_and(is_full) => Outcome::Full(e),
            Err(e) => Outcome::Refused(e),
        }
    }
}

fn is_full(errno: i32) -> bool {
    [Errno::ENOMEM as i32, Errno::ENOSPC as i32].contains(&errno)
}
