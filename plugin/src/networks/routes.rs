//! `default-route`: the pod's default route by a further network. The daemon has left out that of eth0.

use nix::errno::Errno;
use offramp_core::cni::CniError;
use offramp_core::cni::result::Route;
use offramp_core::ids::IfName;
use offramp_core::net::Family;
use offramp_kernel::netlink::Socket;
use offramp_kernel::{Netns, link, route};
use std::net::IpAddr;

/// Sets it. There is nothing to undo: it goes with its interface.
pub fn set_default(netns: &Netns, ifname: &IfName, gateways: &[IpAddr]) -> Result<(), CniError> {
    if gateways.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::open_in(netns)?;
    let index = link::index_in(&socket, ifname)?;
    let one = |gateway: &IpAddr| {
        let default = Route::via(Family::of(*gateway).default_route(), Some(*gateway));
        // Its IPAM may have set the same one.
        route::add_pod_route(ifname.as_str(), index, &default, Some(*gateway), false)
            .accept(&[Errno::EEXIST as i32])
    };
    Ok(socket.batch(gateways.iter().map(one).collect())?)
}
