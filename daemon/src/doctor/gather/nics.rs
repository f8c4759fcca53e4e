//! NICs, VFs, embedded switches.

use super::text;
use crate::config::Config;
use crate::eswitch::{Eswitch, offload, synced};
use offramp_core::doctor::{Filter, Look, Nics, Representor};
use offramp_core::nic::{Inventory, PciAddr, VfNetdev};
use offramp_core::record::{Record, State};
use offramp_core::steer::SharedQueues;
use offramp_core::vf::{Claim, VfState};
use offramp_kernel::netlink::Socket;
use offramp_kernel::steering::{self, Device};
use offramp_kernel::sysfs::{Sysfs, read};
use offramp_kernel::{link, vf};
use offramp_ledger::Store;
use std::collections::BTreeMap;
use std::path::Path;

/// Ports, VFs, claims, and the state of VFs that nobody has.
pub fn nics(store: &Store, sysfs: &Path) -> Look<Nics> {
    let inventory = read(&Sysfs::at(sysfs), &[]).map_err(text)?;
    let claims = store.claims().list().map_err(text)?.claims;
    let queue_claims = store.queue_claims().list().map_err(text)?.claims;
    let free = free(&store.host(), &inventory, &claims);
    Ok(Nics { inventory, claims, queue_claims, free })
}

fn free(host: &vf::Host<'_>, inventory: &Inventory, claims: &[Claim]) -> BTreeMap<PciAddr, Look<VfState>> {
    let is_free = |pci: PciAddr| !claims.iter().any(|c| c.vf.pci == pci);
    let here =
        inventory.vfs().filter(|(_, vf)| is_free(vf.pci) && !matches!(vf.netdev, VfNetdev::Elsewhere { .. }));
    here.map(|(port, vf)| (vf.pci, vf::state(host, &port.vf_ref(vf)).map_err(text))).collect()
}

/// Queues to which packets are led, and which get others', too.
pub fn shared_queues(nics: Result<&Nics, &String>, records: &[Record]) -> Look<Vec<SharedQueues>> {
    let mut all = Vec::new();
    for record in records.iter().filter(|record| record.state == State::Ready) {
        let Some(led) = record.plan.steering() else { continue };
        let Some(port) = nics.map_err(Clone::clone)?.inventory.port(&led.port) else { continue };
        let mixed = Device::open(&port.netdev).and_then(|mut device| steering::mixed(&mut device, led));
        let (holder, nic) = (record.attachment.clone(), port.netdev.clone());
        all.push(SharedQueues { holder, nic, queues: mixed.map_err(text)? });
    }
    all.retain(|shared| !shared.queues.is_empty());
    Ok(all)
}

/// PFs that do not know all that is behind their bridges.
pub fn filters(config: &Config, sysfs: &Path, records: &[Record]) -> Look<Vec<Filter>> {
    let mut eswitch = Eswitch::new(sysfs).map_err(text)?;
    eswitch.missing(&synced(config), &config.bridge.name, records).map_err(text)
}

/// Ports of embedded switches in switchdev mode, whose bridge the switch may not have taken over.
pub fn representors(config: &Config) -> Look<Vec<Representor>> {
    let look = || {
        let socket = &mut Socket::open()?;
        let links = link::list(socket)?;
        offload::look(config, socket, &links)
    };
    let ports = look().map_err(text)?.into_iter();
    Ok(ports.map(|port| Representor { problem: port.problem(), port: port.port.to_string() }).collect())
}
