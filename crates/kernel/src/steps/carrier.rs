//! Waiting until the first packet will pass. An ADD that returns at its last acknowledgement loses the first
//! packet in one of four cases, for a second: the carrier of a new veth reaches queues and bridge port by link watch,
//! which runs behind. RTM_GETLINK makes it run (linkwatch_sync_dev, net/core/link_watch.c, Linux 6.9);
//! on older kernels it is waited for.

use crate::executor::Executor;
use crate::link::{self, Link};
use crate::{Result, addr, wait};
use offramp_core::step::AwaitCarrier;

/// Both ends (a VF has one) have carrier and are operational, the port forwards, and the pod takes in packets to its addresses.
pub(crate) fn wait(executor: &mut Executor, want: &AwaitCarrier) -> Result<()> {
    let what = || match &want.host {
        Some(host) => format!("carrier of {host} and {}", want.pod),
        None => format!("carrier of {}", want.pod),
    };
    wait::until(what, || {
        let pod = link::require(&mut executor.pod("await-carrier")?.socket, &want.pod)?;
        let host = want.host.as_ref().map(|host| link::require(&mut executor.host, host)).transpose()?;
        Ok(ready(&pod) && host.is_none_or(|h| ready(&h)))
    })?;
    addr::settle(&mut executor.pod("await-carrier")?.socket, want.pod.as_str(), &want.ips)
}

fn ready(link: &Link) -> bool {
    // A representor's driver may tell nothing of its link: then its state is unknown, which the kernel takes for up, and so
    // does the bridge before it forwards (netif_oper_up, include/linux/netdevice.h).
    let operational = link.operational || link.switch_id.is_some() && link.forwarding == Some(true);
    link.carrier && operational && link.forwarding.unwrap_or(true)
}
