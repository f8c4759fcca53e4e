//! Keeps the embedded switches of PFs informed of what is behind the bridges that they are ports of: without that, a NIC
//! drops what a VF sends there. Tells whether those in switchdev mode, which know it from the bridge, really do.
//! Level-triggered, like the other loops.

mod filter;
mod inspect;
pub mod offload;
mod report;
mod uplinks;

pub use offload::PortOffload;
pub use report::Report;

use crate::config::{Config, EmbeddedSwitch};
use crate::node::Node;
use filter::Filters;
use offramp_core::cni::CniError;
use offramp_core::eswitch::{Bridge, Informed, Pod, Port, desired};
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::record::{Record, State};
use offramp_core::step::{KnowMac, Step};
use offramp_kernel::link::{self, Link};
use offramp_kernel::netlink::Socket;
use offramp_kernel::{Result, fdb};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Sockets, and where the NICs are looked up.
pub struct Eswitch {
    socket: Socket,
    monitor: fdb::Monitor,
    class_net: PathBuf,
}

impl Eswitch {
    /// In the calling thread's namespace, whose sysfs is there.
    pub fn new(sysfs: &Path) -> Result<Self> {
        let monitor = fdb::Monitor::open()?;
        Ok(Self { socket: Socket::open()?, monitor, class_net: sysfs.join("class/net") })
    }

    /// Has something to be read when something happened.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }

    /// Reads all events; whether one is of concern. One that cannot be read may be.
    pub fn drain(&mut self) -> bool {
        self.monitor.drain().unwrap_or(true)
    }

    /// Makes every PF know what it should; says how much of what it knew before was gone.
    pub fn reconcile(&mut self, node: &Node) -> std::result::Result<u64, CniError> {
        // The records first: who is attached meanwhile is told of by an event, and so is who is detached.
        let records = node.store.list()?.records;
        let links = link::list(&mut self.socket)?;
        let bridges = self.bridges(&synced(&node.config), &links)?;
        self.monitor.follow(interest(&synced(&node.config), &links, &bridges));
        let wanted = desired(&bridges, &pods(&records, &node.config.bridge.name));
        let mut filters = Filters { socket: &mut self.socket, store: &node.store, links: &links };
        let outcome = filters.settle(&wanted, &recorded(&records))?;
        inform(node, &bridges, &outcome.foreign)?;
        report::publish(node, outcome.reports);
        offload::publish(node, &mut self.socket, &links)?;
        match outcome.errors.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(outcome.repairs),
        }
    }

    /// The bridges of these names that have PFs behind them.
    fn bridges(&mut self, names: &BTreeSet<IfName>, links: &[Link]) -> Result<Vec<Bridge>> {
        let mut bridges = Vec::new();
        for link in links.iter().filter(|l| l.kind.as_deref() == Some("bridge")) {
            let Some(name) = names.iter().find(|n| n.as_str() == link.name) else { continue };
            let uplinks = uplinks::of_bridge(&self.class_net, link.index, links);
            if !uplinks.is_empty() {
                let learned = fdb::learned(&mut self.socket, &link.name, link.index)?;
                bridges.push(Bridge { name: name.clone(), mac: uplinks::mac(link), uplinks, learned });
            }
        }
        Ok(bridges)
    }
}

/// The bridges that may have PFs behind them: ours, and those that the operator names.
pub fn synced(config: &Config) -> BTreeSet<IfName> {
    let EmbeddedSwitch { sync, bridges } = &config.embedded_switch;
    let all = bridges.iter().chain([&config.bridge.name]);
    if *sync { all.cloned().collect() } else { BTreeSet::new() }
}

fn interest(names: &BTreeSet<IfName>, links: &[Link], bridges: &[Bridge]) -> fdb::Interest {
    let of = |name: &IfName| links.iter().find(|l| l.name == name.as_str());
    let uplinks = || bridges.iter().flat_map(|b| &b.uplinks);
    fdb::Interest {
        bridges: names
            .iter()
            .map(|n| (n.to_string(), of(n).map_or_else(Vec::new, |l| l.mac.clone())))
            .collect(),
        informed: bridges.iter().filter_map(|b| Some(of(&b.name)?.index)).collect(),
        ports: uplinks().filter_map(|u| Some(of(&u.pf)?.index)).chain(uplinks().map(|u| u.port)).collect(),
    }
}

/// Our pods that are ports of bridges: by pairs of links, or on `ours` by VFs' representors. Another bridge's VFs it learns.
fn pods(records: &[Record], ours: &IfName) -> Vec<Pod> {
    let pod = |record: &Record| {
        let (bridge, mac) = paired(record).or_else(|| Some((ours, represented(record, ours)?)))?;
        let attachment = &record.attachment;
        let name = record
            .pod
            .as_ref()
            .map_or_else(|| attachment.to_string(), |p| format!("{p} {}", attachment.ifname));
        Some(Pod { bridge: bridge.clone(), mac, created: record.created, name })
    };
    records.iter().filter(|r| r.state != State::Deleting).filter_map(pod).collect()
}

fn paired(record: &Record) -> Option<(&IfName, MacAddr)> {
    let steps = || record.plan.steps.iter();
    let bridge = steps().find_map(|s| if let Step::AttachPort(p) = s { Some(&p.bridge) } else { None })?;
    let mac = steps().find_map(Step::pair)?.pod_mac;
    Some((bridge, mac))
}

/// The address of the VF whose representor is a port of this bridge.
fn represented(record: &Record, bridge: &IfName) -> Option<MacAddr> {
    let steps = || record.plan.steps.iter();
    let plugged = |s: &Step| match s {
        Step::PlugRepresentor(p) if p.bridge == *bridge => Some(p.vf.pci),
        _ => None,
    };
    let vf = steps().find_map(plugged)?;
    steps().find_map(|s| match s {
        Step::MoveVf(moved) if moved.vf.pci == vf => Some(moved.mac),
        _ => None,
    })
}

/// What ADDs have put into the filters.
fn recorded(records: &[Record]) -> BTreeMap<IfName, BTreeSet<MacAddr>> {
    let mut all: BTreeMap<IfName, BTreeSet<MacAddr>> = BTreeMap::new();
    for step in records.iter().flat_map(|r| &r.plan.steps) {
        if let Step::KnowMac(KnowMac { port, mac }) = step {
            all.entry(port.clone()).or_default().insert(*mac);
        }
    }
    all
}

/// Says to those who attach pods whom to inform.
fn inform(
    node: &Node,
    bridges: &[Bridge],
    foreign: &BTreeMap<IfName, BTreeSet<MacAddr>>,
) -> offramp_ledger::Result<()> {
    for bridge in bridges {
        let pfs: BTreeSet<&IfName> = bridge.uplinks.iter().map(|u| &u.pf).collect();
        let port = |name: &IfName| Port {
            name: name.clone(),
            foreign: foreign.get(name).cloned().unwrap_or_default(),
        };
        let informed = Informed { ports: pfs.into_iter().map(port).collect() };
        if node.store.informed(&bridge.name).ok().flatten().as_ref() != Some(&informed) {
            node.store.set_informed(&bridge.name, &informed)?;
        }
    }
    let gone = |name: &IfName| !bridges.iter().any(|b| b.name == *name);
    node.store.informed_bridges()?.iter().filter(|n| gone(n)).try_for_each(|n| node.store.forget_informed(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{self, with_plugged};

    #[test]
    fn pods_are_known_by_pairs_and_by_representors_on_our_bridge() {
        let ours: IfName = "offramp0".parse().unwrap();
        let deleting = Record { state: State::Deleting, ..with_plugged() };
        let records = [fixture::record(), with_plugged(), deleting, fixture::with_vfs()];
        let pods = pods(&records, &ours);
        let told: Vec<_> = pods.iter().map(|p| (p.bridge.as_str(), p.mac, p.name.as_str())).collect();
        let expected = [
            ("offramp0", MacAddr::local(2), "default/web-0 eth0"),
            ("offramp0", MacAddr::local(3), "telco/dpu-0 eth0"),
        ];
        assert_eq!(told, expected);
        let kept: BTreeSet<MacAddr> = pods.iter().map(|p| p.mac).collect();
        let known = recorded(&[with_plugged()]);
        assert!(!known.is_empty() && known.values().all(|macs| macs.is_subset(&kept)), "{known:?}");
    }
}
