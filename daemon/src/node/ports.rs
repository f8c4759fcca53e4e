//! The bridge's ports. When somebody deletes the bridge, the kernel leaves the pods' links without one.

use super::Node;
use offramp_core::cni::CniError;
use offramp_core::ids::{AttachmentId, IfName, MacAddr};
use offramp_core::record::{Mode, Record, State};
use offramp_core::step::{ConfigureVf, Step};
use offramp_core::vf::VfRef;
use offramp_kernel::Executor;
use offramp_kernel::link::{self, Link};
use offramp_kernel::netlink::Socket;
use offramp_ledger::detach::joined;
use std::time::Duration;

/// A link that should be a port of a bridge.
struct Port<'a> {
    link: &'a IfName,
    /// By which a veth pair's host end is known; a representor is nobody else's.
    mac: Option<MacAddr>,
    bridge: &'a IfName,
    up: bool,
}

impl Port<'_> {
    /// Whether it is there and no port. Where the bridge is gone nothing can be done.
    fn is_loose(&self, links: &[Link]) -> bool {
        let bridge = links.iter().find(|l| l.name == self.bridge.as_str());
        let is_link = |l: &&Link| l.name == self.link.as_str() && self.mac.is_none_or(|mac| l.has_mac(mac));
        match (bridge, links.iter().find(is_link)) {
            (Some(bridge), Some(link)) => link.controller != Some(bridge.index) || link.up != self.up,
            _ => false,
        }
    }
}

impl Node {
    /// Makes the pods' links ports of their bridges again; says how many were not.
    pub fn reconcile_ports(&self) -> Result<u64, CniError> {
        let records = self.store.list()?.records;
        if !records.iter().any(|record| ports(record).next().is_some()) {
            return Ok(0);
        }
        let links = link::list(&mut Socket::open()?)?;
        let (mut plugged, mut errors) = (0, Vec::new());
        for record in records.iter().filter(|r| ports(r).any(|port| port.is_loose(&links))) {
            match self.plug(&record.attachment) {
                Ok(done) => plugged += u64::from(done),
                Err(e) => errors.push(e.context(&record.attachment)),
            }
        }
        joined(errors).map_or(Ok(plugged), Err)
    }

    /// Plugs one in, unless somebody is at work on it. What the node knew of the pods' MACs went with the bridge;
    /// until the new one's link-local address is settled, the node cannot ask for them by IPv6
    /// (`ndisc_send_ns`, net/ipv6/ndisc.c). So did the VLAN of a representor.
    fn plug(&self, id: &AttachmentId) -> Result<bool, CniError> {
        let Ok(_lock) = self.store.lock(id, Duration::ZERO) else { return Ok(false) };
        let Some(record) = self.store.read(id)? else { return Ok(false) };
        let steps = &record.plan.steps;
        let plugged = |vf: &VfRef| steps.iter().any(|s| matches!(s, Step::PlugRepresentor(p) if p.vf == *vf));
        let on_the_bridge = |step: &&Step| match step {
            Step::AttachPort(_) | Step::Neighbours(_) | Step::PlugRepresentor(_) => true,
            Step::ConfigureVf(ConfigureVf { vf, .. }) => plugged(vf),
            _ => false,
        };
        if ports(&record).next().is_none() {
            return Ok(false);
        }
        let mut executor = Executor::new(None)?.with_sysctl(self.sysctl());
        for step in steps.iter().filter(on_the_bridge) {
            executor.apply(step)?;
        }
        for port in ports(&record) {
            tracing::info!(attachment = %id, link = %port.link, bridge = %port.bridge, "plugged in again");
        }
        Ok(true)
    }
}

/// How the links of a pod that is attached, and by this daemon, should be plugged in.
fn ports(record: &Record) -> impl Iterator<Item = Port<'_>> {
    let ready = record.state == State::Ready && record.mode == Mode::Node;
    let host = record.plan.host_link();
    let steps = record.plan.steps.iter().filter(move |_| ready);
    steps.filter_map(move |step| match step {
        Step::AttachPort(attach) => {
            let mac = host.filter(|(name, _)| **name == attach.link).map(|(_, mac)| mac)?;
            Some(Port { link: &attach.link, mac: Some(mac), bridge: &attach.bridge, up: true })
        }
        Step::PlugRepresentor(plug) => {
            Some(Port { link: &plug.representor, mac: None, bridge: &plug.bridge, up: plug.up })
        }
        _ => None,
    })
}
