//! Queues of a NIC for the pod's end of a netkit pair.

use crate::executor::Executor;
use crate::queues::{Queues, Source, nsid_of};
use crate::{Error, Netns, Result, link};
use offramp_core::step::LeaseQueues;

/// The pod's first queue is its own; those that are leased follow, in the order of the plan.
const FIRST_LEASED: u32 = 1;

/// Asks from within the pod's namespace, where the link is.
pub(crate) fn lease(executor: &mut Executor, want: &LeaseQueues) -> Result<()> {
    let nic = link::require(&mut executor.host, &want.nic)?;
    if nic.parent.as_ref().is_none_or(|parent| parent.device != want.port.device) {
        let what = format!("link {}", want.nic);
        return Err(Error::Unfit { what, why: format!("it is not of {} any more", want.port) });
    }
    let home = Netns::current()?;
    let pod = executor.pod("lease-queues")?;
    let netns = nsid_of(&mut pod.socket, &home)?;
    let link = link::index_in(&pod.socket, &want.link)?;
    let mut queues = pod.netns.inside(Queues::open)?;
    for (expected, queue) in (FIRST_LEASED..).zip(&want.queues) {
        let source = Source { nic: want.nic.as_str(), ifindex: nic.index, netns, queue: *queue };
        let got = queues.lease(link, source)?;
        crate::crash::point("queue.leased");
        if got != expected {
            let what = format!("queue {queue} of {}", want.nic);
            return Err(Error::Unfit { what, why: format!("it is the pod's queue {got}, not {expected}") });
        }
    }
    Ok(())
}
