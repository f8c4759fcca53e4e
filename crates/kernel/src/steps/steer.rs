//! Packets for a pod led to queues of its own.

use crate::executor::Executor;
use crate::netlink::Socket;
use crate::steering::{self, Device};
use crate::{Error, Result, link, sysfs};
use offramp_core::ids::IfName;
use offramp_core::nic::PortKey;
use offramp_core::steer::SteerQueues;

/// Makes the context and the rules.
pub(crate) fn steer(executor: &mut Executor, want: &SteerQueues) -> Result<()> {
    let nic = link::require(&mut executor.host, &want.nic)?;
    if nic.parent.as_ref().is_none_or(|parent| parent.device != want.port.device) {
        let what = format!("link {}", want.nic);
        return Err(Error::Unfit { what, why: format!("it is not of {} any more", want.port) });
    }
    steering::apply(&mut Device::open(&want.nic)?, want).map(drop)
}

/// Removes them; with a NIC that is gone they are gone too.
pub(crate) fn unsteer(executor: &mut Executor, want: &SteerQueues) -> Result<()> {
    match netdev_of(&mut executor.host, want)? {
        Some(nic) => {
            steering::clear(&mut Device::open(&nic)?, &SteerQueues { nic: nic.clone(), ..want.clone() })
        }
        None => Ok(()),
    }
}

/// The port's netdev, which may be called otherwise by now.
fn netdev_of(host: &mut Socket, want: &SteerQueues) -> Result<Option<IfName>> {
    let is_on =
        |link: &link::Link, port: &PortKey| link.parent.as_ref().is_some_and(|p| p.device == port.device);
    if link::find(host, &want.nic)?.is_some_and(|link| is_on(&link, &want.port)) {
        return Ok(Some(want.nic.clone()));
    }
    let nics = sysfs::assemble(&sysfs::Sysfs::default(), &sysfs::Facts::gather()?);
    Ok(nics.port(&want.port).map(|port| port.netdev.clone()))
}
