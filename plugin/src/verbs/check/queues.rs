//! What the kernel and the claims hold of queues.

use super::failed;
use offramp_core::cni::CniError;
use offramp_core::queue::QueueRef;
use offramp_core::record::Record;
use offramp_core::steer::SteerQueues;
use offramp_core::step::LeaseQueues;
use offramp_kernel::link;
use offramp_kernel::netlink::Socket;
use offramp_kernel::queues::Queues;
use offramp_kernel::steering::{self, Device};
use offramp_ledger::Store;

/// The queues are this attachment's, and leased. Which link has the lease, the kernel tells by a number only.
pub(super) fn leased(
    store: &Store,
    record: &Record,
    host: &mut Socket,
    lease: &LeaseQueues,
) -> Result<(), CniError> {
    let nic = link::find(host, &lease.nic)?;
    let nic = nic.ok_or_else(|| failed(record, format!("link {} is gone", lease.nic)))?;
    let queues = if nic.up { Queues::open()?.of_link(nic.index)? } else { Vec::new() };
    for queue in lease.refs() {
        claimed(store, record, &queue)?;
        // A NIC that is down tells of no queue.
        if nic.up && !queues.iter().any(|q| q.id == queue.queue && q.leased) {
            return Err(failed(record, format!("{queue} is not leased")));
        }
    }
    Ok(())
}

/// The queues are this attachment's, and its packets are led there.
pub(super) fn steered(store: &Store, record: &Record, steer: &SteerQueues) -> Result<(), CniError> {
    steer.refs().try_for_each(|queue| claimed(store, record, &queue))?;
    let missing = steering::missing(&mut Device::open(&steer.nic)?, steer)?;
    match missing.first() {
        None => Ok(()),
        Some(lead) => {
            Err(failed(record, format!("no flow rule of {} leads {lead} to its queues", steer.nic)))
        }
    }
}

fn claimed(store: &Store, record: &Record, queue: &QueueRef) -> Result<(), CniError> {
    match store.queue_claims().read(queue)? {
        Some(claim) if claim.holder == record.attachment && !claim.in_quarantine() => Ok(()),
        Some(claim) => Err(failed(record, claim)),
        None => Err(failed(record, format!("{queue} is claimed by nobody"))),
    }
}
