//! The node's way to a pod whose eth0 is a VF: a route and a permanent neighbour on the VF's port, and proxy entries
//! by which the node answers for the pod on the bridge, since the pods there take it for a neighbour of theirs.

use crate::executor::Executor;
use crate::link::{self, index_of};
use crate::{Result, neigh, route};
use offramp_core::step::HostRoute;
use offramp_core::vf::ROUTE_PROTOCOL;

/// The neighbour first: a packet that takes the route finds it.
pub(crate) fn add(executor: &mut Executor, want: &HostRoute) -> Result<()> {
    let link = link::require(&mut executor.host, &want.link)?.index;
    let bridge = link::require(&mut executor.host, &want.bridge)?.index;
    let (name, on) = (want.link.as_str(), want.bridge.as_str());
    let mut requests = Vec::new();
    for ip in &want.ips {
        requests.push(neigh::set_permanent(name, link, *ip, want.mac));
        requests.push(route::to_host(name, link, *ip, ROUTE_PROTOCOL));
        // What the node learned of an earlier holder on the bridge is wrong now.
        requests.push(neigh::remove(on, bridge, *ip));
        requests.push(neigh::answer_for(on, bridge, *ip));
    }
    executor.host.batch(requests)
}

/// Only where the neighbour is still this VF: else the address has a newer holder.
pub(crate) fn remove(executor: &mut Executor, want: &HostRoute) -> Result<()> {
    let (link, bridge) = (index_of(&want.link)?, index_of(&want.bridge)?);
    let (name, on) = (want.link.as_str(), want.bridge.as_str());
    for ip in want.ips.iter().copied() {
        let mac = match link {
            Some(link) => neigh::mac_of(&mut executor.host, name, link, ip)?,
            None => None, // the kernel took route and neighbour along with the link
        };
        // An entry without one is of nobody.
        if mac.is_some_and(|mac| !mac.is_empty() && mac != want.mac.octets()) {
            continue;
        }
        let mut requests = Vec::new();
        if let Some(link) = link {
            requests.push(route::remove_to_host(name, link, ip, ROUTE_PROTOCOL));
            requests.push(neigh::remove(name, link, ip));
        }
        requests.extend(bridge.map(|bridge| neigh::answer_no_more(on, bridge, ip)));
        executor.host.batch(requests)?;
    }
    Ok(())
}
