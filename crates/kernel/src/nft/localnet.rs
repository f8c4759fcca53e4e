//! Ports of the node by way of 127.0.0.1.

use crate::Result;
use crate::sysctl::Sysctl;
use offramp_core::ids::IfName;

/// Lets packets from 127.0.0.0/8 leave by `link`, so that a hostPort can be reached from the node as 127.0.0.1. In the
/// calling thread's network namespace. Only where the table `inet offramp` is: its `loopback_guard` keeps pods from
/// reaching the node's loopback by the same way (CVE-2020-8558).
///
/// There is nothing like it for IPv6: `::1` reaches nobody but the node itself (RFC 4291, 2.5.3; the kernel's
/// `ip6_route_output` knows no exception), so a hostPort at `[::1]` is refused.
///
/// Says whether it was otherwise.
///
/// # Errors
/// [`crate::Error::Refused`]
pub fn enable_route_localnet(sysctl: &Sysctl, link: &IfName) -> Result<bool> {
    sysctl.set(&format!("ipv4/conf/{link}/route_localnet"), "1")
}
