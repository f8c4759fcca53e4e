//! The bridge's ports. When somebody deletes the bridge, the kernel leaves the pods' links without one.

use super::Node;
use offramp_core::cni::CniError;
use offramp_core::ids::AttachmentId;
use offramp_core::record::{Mode, Record, State};
use offramp_core::step::{AttachPort, CreateVeth, Step};
use offramp_kernel::netlink::Socket;
use offramp_kernel::{Executor, link};
use std::time::Duration;

impl Node {
    /// Makes the pods' links ports of the bridge again; says how many were not.
    pub fn reconcile_ports(&self) -> Result<u64, CniError> {
        let mut socket = Socket::open()?;
        let Some(bridge) = link::find(&mut socket, &self.config.bridge.name)? else { return Ok(0) };
        let links = link::list(&mut socket)?;
        let loose = |record: &Record| {
            port(record).is_some_and(|(veth, _)| {
                let found = links.iter().find(|l| l.name == veth.host.as_str() && l.has_mac(veth.host_mac));
                found.is_some_and(|l| l.controller != Some(bridge.index))
            })
        };
        let mut plugged = 0;
        for record in self.store.list()?.records.iter().filter(|r| loose(r)) {
            plugged += u64::from(self.plug(&record.attachment)?);
        }
        Ok(plugged)
    }

    /// Plugs one in, unless somebody is at work on it. What the node knew of the pods' MACs went with the bridge;
    /// until the new one's link-local address is settled, the node cannot ask for them by IPv6
    /// (`ndisc_send_ns`, net/ipv6/ndisc.c).
    fn plug(&self, id: &AttachmentId) -> Result<bool, CniError> {
        let Ok(_lock) = self.store.lock(id, Duration::ZERO) else { return Ok(false) };
        let Some(record) = self.store.read(id)? else { return Ok(false) };
        let Some((_, attach)) = port(&record) else { return Ok(false) };
        let mut executor = Executor::new(None)?.with_sysctl(self.sysctl());
        let on_the_bridge = |step: &&Step| matches!(step, Step::AttachPort(_) | Step::Neighbours(_));
        for step in record.plan.steps.iter().filter(on_the_bridge) {
            executor.apply(step)?;
        }
        tracing::info!(attachment = %id, link = %attach.link, bridge = %attach.bridge, "plugged in again");
        Ok(true)
    }
}

/// How a pod that is attached, and by this daemon, should be plugged in.
fn port(record: &Record) -> Option<(&CreateVeth, &AttachPort)> {
    if record.state != State::Ready || record.mode != Mode::Node {
        return None;
    }
    let steps = || record.plan.steps.iter();
    let veth = steps().find_map(|s| if let Step::CreateVeth(veth) = s { Some(veth) } else { None })?;
    let attach = steps().find_map(|s| if let Step::AttachPort(attach) = s { Some(attach) } else { None })?;
    Some((veth, attach))
}
