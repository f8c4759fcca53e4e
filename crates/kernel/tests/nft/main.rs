#![allow(clippy::unwrap_used, reason = "a test: its panic is its report")]
//! The tables with real traffic, in namespaces of their own: see `hack/lab`.

mod frame;
mod lab;
mod state;
mod traffic;

use offramp_core::firewall::{HostPortRule, Rules};
use offramp_core::spec::Protocol;

/// `HOST_PORT` of the node, at `host_ip` or all addresses, leads to `to:80`.
fn host_port(protocol: Protocol, host_ip: Option<&str>, host_port: u16, to: &str) -> HostPortRule {
    let subnet = if to.contains(':') { "fd20::/64" } else { "10.20.0.0/24" };
    HostPortRule {
        protocol,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port,
        to: to.parse().unwrap(),
        to_port: 80,
        subnet: subnet.parse().unwrap(),
    }
}

/// Port 8080 of the node leads to pod a, in both families over TCP and UDP.
fn pod_a() -> Rules {
    let ports = ["10.20.0.11", "fd20::11"]
        .into_iter()
        .flat_map(|to| [Protocol::Tcp, Protocol::Udp].map(|p| host_port(p, None, 8080, to)));
    Rules { host_ports: ports.collect(), ..Rules::default() }
}
