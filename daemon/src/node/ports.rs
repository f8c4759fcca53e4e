//! The bridge's ports. When somebody deletes the bridge, the kernel leaves the pods' links without one.

use super::Node;
use offramp_core::cni::CniError;
use offramp_core::ids::{AttachmentId, IfName, MacAddr};
use offramp_core::record::{Mode, Record, State};
use offramp_core::step::{PlugRepresentor, Step};
use offramp_kernel::Executor;
use offramp_kernel::link::{self, Link};
use offramp_kernel::netlink::Socket;
use offramp_kernel::vf::{self, Host, VfPort};
use offramp_ledger::detach::joined;
use std::time::Duration;

/// A link that should be a port of a bridge.
enum Port<'a> {
    /// The host end of a pair, known by its name and MAC.
    Pair { link: &'a IfName, mac: MacAddr, bridge: &'a IfName },
    /// Known by its VF, whatever it is called.
    Representor(&'a PlugRepresentor),
}

impl Port<'_> {
    /// By what it is named to people, and its bridge.
    fn names(&self) -> (&IfName, &IfName) {
        match self {
            Self::Pair { link, bridge, .. } => (link, bridge),
            Self::Representor(plug) => (&plug.representor, &plug.bridge),
        }
    }

    /// Whether it is not as it should be. Where the bridge is gone nothing can be done; nor without a pair, but whoever
    /// plugs a representor in tells what hinders it.
    fn is_loose(&self, host: &Host<'_>, links: &[Link]) -> bool {
        let (_, bridge) = self.names();
        let Some(bridge) = links.iter().find(|l| l.name == bridge.as_str()) else { return false };
        match self {
            Self::Pair { link, mac, .. } => {
                let found = links.iter().find(|l| l.name == link.as_str() && l.has_mac(*mac));
                found.is_some_and(|l| l.controller != Some(bridge.index) || !l.up)
            }
            Self::Representor(plug) => !vf::is_plugged(host, bridge.index, plug).unwrap_or(false),
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
        let host = self.store.host();
        let (mut plugged, mut errors) = (0, Vec::new());
        for record in &records {
            if ports(record).any(|port| port.is_loose(&host, &links)) {
                match self.plug(&record.attachment) {
                    Ok(done) => plugged += u64::from(done),
                    Err(e) => errors.push(e.context(&record.attachment)),
                }
            }
            let unchecked = unchecked(record, &host).map(CniError::kernel);
            errors.extend(unchecked.map(|e| e.context(&record.attachment)));
        }
        joined(errors).map_or(Ok(plugged), Err)
    }

    /// Plugs one in, unless somebody is at work on it. What the node knew of the pods' MACs went with the bridge;
    /// until the new one's link-local address is settled, the node cannot ask for them by IPv6
    /// (`ndisc_send_ns`, net/ipv6/ndisc.c).
    fn plug(&self, id: &AttachmentId) -> Result<bool, CniError> {
        let Ok(_lock) = self.store.lock(id, Duration::ZERO) else { return Ok(false) };
        let Some(record) = self.store.read(id)? else { return Ok(false) };
        if ports(&record).next().is_none() {
            return Ok(false);
        }
        let mut executor = Executor::new(None)?.with_sysctl(self.sysctl()).with_vfs(self.store.host());
        let on_the_bridge = |step: &&Step| {
            matches!(step, Step::AttachPort(_) | Step::Neighbours(_) | Step::PlugRepresentor(_))
        };
        // One that cannot be helped is not in the others' way.
        let failed = record.plan.steps.iter().filter(on_the_bridge).filter_map(|s| executor.apply(s).err());
        if let Some(error) = joined(failed.map(Into::into).collect()) {
            return Err(error);
        }
        for port in ports(&record) {
            let (link, bridge) = port.names();
            tracing::info!(attachment = %id, %link, %bridge, "plugged in again");
        }
        Ok(true)
    }
}

/// What comes from a representor is checked by the name that it had when its pod was attached.
fn unchecked(record: &Record, host: &Host<'_>) -> Option<String> {
    let check = record.plan.firewall.spoof_check.as_ref()?;
    let plugged = |port: Port<'_>| match port {
        Port::Representor(plug) if plug.representor == check.link => VfPort::of(host, &plug.vf).ok(),
        _ => None,
    };
    match ports(record).find_map(plugged)? {
        VfPort::Switchdev(now) if now.name != check.link => Some(format!(
            "representor {} is called {} now: MACs of what comes from there are not checked until it has its name back",
            check.link, now.name
        )),
        _ => None,
    }
}

/// How the links of a pod that is attached, and by this daemon, should be plugged in.
fn ports(record: &Record) -> impl Iterator<Item = Port<'_>> {
    let ready = record.state == State::Ready && record.mode == Mode::Node;
    let host = record.plan.host_link();
    let steps = record.plan.steps.iter().filter(move |_| ready);
    steps.filter_map(move |step| match step {
        Step::AttachPort(attach) => {
            let mac = host.filter(|(name, _)| **name == attach.link).and_then(|(_, mac)| mac)?;
            Some(Port::Pair { link: &attach.link, mac, bridge: &attach.bridge })
        }
        Step::PlugRepresentor(plug) => Some(Port::Representor(plug)),
        _ => None,
    })
}
