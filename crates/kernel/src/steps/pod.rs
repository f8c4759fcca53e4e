//! The pod's end: addresses, up, routes.

use crate::executor::Executor;
use crate::link::{self, numbered};
use crate::{Result, addr, neigh, route};
use ipnetwork::IpNetwork;
use nix::errno::Errno;
use offramp_core::step::ConfigurePod;
use std::net::IpAddr;

/// One batch: addresses before "up", so that the link is never up without them; routes after, since they need it up.
pub(crate) fn configure(executor: &mut Executor, want: &ConfigurePod) -> Result<()> {
    let socket = &mut executor.pod("configure-pod")?.socket;
    let index = link::index_in(socket, &want.link)?;
    let name = want.link.as_str();
    let mut requests = Vec::new();
    if !want.dad {
        requests.push(link::no_autoconf_v6(name, numbered(index)));
        if want.addresses.iter().any(|a| a.ip.is_ipv6()) {
            let link_local = offramp_core::net::WithPrefix::with_prefix(
                IpNetwork::from(IpAddr::from(want.mac.link_local())),
                64,
            );
            requests.push(addr::add(name, index, link_local, false).accept(&[Errno::EEXIST as i32]));
        }
    }
    requests.extend(want.addresses.iter().map(|a| addr::add(name, index, a.ip, want.dad)));
    requests.push(link::set_up(name, numbered(index), true));
    requests.extend(want.neighbours.iter().map(|n| neigh::set_permanent(name, index, n.ip, n.mac)));
    for r in &want.routes {
        let gateway = want.next_hop(r);
        let on_link = gateway.is_some_and(|g| !want.addresses.iter().any(|a| a.ip.contains(g)));
        requests.push(route::add_pod_route(name, index, r, gateway, on_link));
    }
    // Before it is up. Who has the kernel look for duplicates has it look for routers too.
    if !want.dad || !want.neighbours.is_empty() {
        believe_no_router(executor, want)?;
    }
    executor.pod("configure-pod")?.socket.batch(requests)
}

/// Any pod on a bridge can send router advertisements, and would be the others' default route (CVE-2020-10749). Where
/// all leaves by neighbours that were set, a redirect too would lead past the node: IPv6 has no sysctl against sending
/// redirects, so it is the receiver that must not believe them.
fn believe_no_router(executor: &mut Executor, want: &ConfigurePod) -> Result<()> {
    let (sysctl, link) = (executor.sysctl.clone(), &want.link);
    executor.pod("configure-pod")?.netns.inside(|| {
        sysctl.write(&format!("ipv6/conf/{link}/accept_ra"), "0")?;
        if want.neighbours.is_empty() {
            return Ok(());
        }
        sysctl.write(&format!("ipv6/conf/{link}/accept_redirects"), "0")?;
        sysctl.write(&format!("ipv4/conf/{link}/accept_redirects"), "0")
    })
}
