//! The node's way to a pod that is not on its bridge: a route, where the link has MACs a permanent neighbour, and proxy
//! entries by which the node answers for the pod on the bridge, since the pods there take it for a neighbour of theirs.

use crate::executor::Executor;
use crate::link::{self, index_of};
use crate::{Error, Result, neigh, route};
use offramp_core::ids::IfName;
use offramp_core::step::HostRoute;
use offramp_core::vf::ROUTE_PROTOCOL;
use std::net::IpAddr;

/// The neighbour first: a packet that takes the route finds it.
pub(crate) fn add(executor: &mut Executor, want: &HostRoute) -> Result<()> {
    let link = link::require(&mut executor.host, &want.link)?.index;
    let bridge = link::require(&mut executor.host, &want.bridge)?.index;
    let (name, on) = (want.link.as_str(), want.bridge.as_str());
    // The pair's end is ours alone, and of nodes that turn IPv6 off for new links by net.ipv6.conf.default it has none.
    if want.mac.is_none() && want.ips.iter().any(IpAddr::is_ipv6) {
        executor.sysctl.set(&format!("ipv6/conf/{name}/disable_ipv6"), "0")?;
    }
    let mut requests = Vec::new();
    for ip in &want.ips {
        leave_foreign(executor, *ip)?;
        requests.extend(want.mac.map(|mac| neigh::set_permanent(name, link, *ip, mac)));
        requests.push(route::to_host(name, link, *ip, ROUTE_PROTOCOL));
        // What the node learned of an earlier holder on the bridge is wrong now.
        requests.push(neigh::remove(on, bridge, *ip));
        requests.push(neigh::answer_for(on, bridge, *ip));
    }
    executor.host.batch(requests)
}

/// A route takes the place of an earlier one to the same address, whosever that is: only our own may go.
fn leave_foreign(executor: &mut Executor, ip: IpAddr) -> Result<()> {
    match route::host_route(&mut executor.host, ip)? {
        Some(protocol) if protocol != ROUTE_PROTOCOL => {
            let why = format!(
                "it is not Offramp's, but of protocol {protocol}, and leads elsewhere than to the pod"
            );
            Err(Error::Unfit { what: format!("the node's route to {ip}"), why })
        }
        _ => Ok(()),
    }
}

/// Only where the way still leads to this pod: else the address has a newer holder.
pub(crate) fn remove(executor: &mut Executor, want: &HostRoute) -> Result<()> {
    let (link, bridge) = (index_of(&want.link)?, index_of(&want.bridge)?);
    for ip in want.ips.iter().copied() {
        // Without the link the kernel has taken its route and neighbour along.
        if let Some(link) = link
            && !remove_way(executor, want, link, ip)?
        {
            continue;
        }
        if let Some(bridge) = bridge {
            answer_no_more(executor, &want.bridge, bridge, ip)?;
        }
    }
    Ok(())
}

/// Whether it was the pod's.
fn remove_way(executor: &mut Executor, want: &HostRoute, link: u32, ip: IpAddr) -> Result<bool> {
    let name = want.link.as_str();
    let mut requests = vec![route::remove_to_host(name, link, ip, ROUTE_PROTOCOL)];
    if let Some(wanted) = want.mac {
        let mac = neigh::mac_of(&mut executor.host, name, link, ip)?;
        // An entry without one is of nobody.
        if mac.is_some_and(|mac| !mac.is_empty() && mac != wanted.octets()) {
            return Ok(false);
        }
        requests.push(neigh::remove(name, link, ip));
    }
    executor.host.batch(requests).map(|()| true)
}

/// Unless there is a newer holder by now, to whom another route leads.
fn answer_no_more(executor: &mut Executor, on: &IfName, bridge: u32, ip: IpAddr) -> Result<()> {
    if route::host_route(&mut executor.host, ip)? == Some(ROUTE_PROTOCOL) {
        return Ok(());
    }
    executor.host.batch(vec![neigh::answer_no_more(on.as_str(), bridge, ip)])
}
