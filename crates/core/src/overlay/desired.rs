//! From peers to what the kernel should have.

use super::device::Device;
use super::state::MAIN_TABLE;
use super::{Desired, Dev, Mode, Node, Path, Reached, Route, Settings, Underlay, Why, tunnel_mac};
use crate::ids::MacAddr;
use crate::net::Family;
use crate::peer::Peer;
use ipnetwork::IpNetwork;
use std::borrow::Borrow;
use std::net::IpAddr;

/// What the kernel should have, so that pods and the node reach the peers' pods. The peers were checked against
/// each other ([`crate::peer::accept`]), so that what is computed for some of them is part of what is for all; should
/// two still claim the same, the earlier one has it.
pub fn desired<P: Borrow<Peer>>(
    settings: &Settings,
    node: &Node,
    underlay: &Underlay,
    peers: &[P],
) -> Desired {
    let builder = Builder::new(settings, node, underlay);
    let mut desired = Desired { device: builder.device.clone(), ..Desired::default() };
    for peer in peers.iter().map(Borrow::borrow) {
        for needs in peer.pod_cidrs.iter().filter_map(|pod_cidr| builder.way(peer, *pod_cidr).ok()) {
            needs.enter(&mut desired);
        }
    }
    desired
}

/// How each podCIDR of a peer is reached, and why so; nothing where that is somebody else's affair.
pub fn paths(settings: &Settings, node: &Node, underlay: &Underlay, peer: &Peer) -> Vec<Reached> {
    if settings.mode == Mode::None {
        return Vec::new();
    }
    let builder = Builder::new(settings, node, underlay);
    let reached = |pod_cidr| match builder.way(peer, pod_cidr) {
        Ok(way) => Reached { pod_cidr, path: way.path, why: Some(way.why) },
        Err(reason) => Reached { pod_cidr, path: Path::Unreachable { reason }, why: None },
    };
    peer.pod_cidrs.iter().map(|pod_cidr| reached(*pod_cidr)).collect()
}

/// The VXLAN device; none if nothing is tunnelled, or this node has no address to tunnel from.
fn device(settings: &Settings, node: &Node, underlay: &Underlay) -> Option<Device> {
    let local = underlay.address(underlay.family(settings)).filter(|_| settings.mode.tunnels())?;
    Some(Device {
        name: settings.device.clone(),
        vni: settings.vni,
        port: settings.port,
        local,
        uplink: underlay.index,
        mac: node.mac.unwrap_or_else(|| tunnel_mac(&node.name)),
        mtu: underlay.tunnel_mtu(settings),
    })
}

struct Builder<'a> {
    settings: &'a Settings,
    node: &'a Node,
    underlay: &'a Underlay,
    device: Option<Device>,
}

/// The path to one podCIDR, and what it needs.
struct Way {
    path: Path,
    why: Why,
    route: Route,
    /// By the tunnel: the MAC of the next hop.
    mac: Option<MacAddr>,
}

impl Way {
    fn enter(self, desired: &mut Desired) {
        let Self { path, route, mac, .. } = self;
        let is_taken = |mac| {
            let other = desired.fdb.get(mac);
            matches!((other, &path), (Some(has), Path::Vxlan { endpoint }) if has != endpoint)
        };
        if desired.routes.contains_key(&route.dst) || mac.as_ref().is_some_and(is_taken) {
            return;
        }
        if let (Some(mac), Some(hop), Path::Vxlan { endpoint }) = (mac, route.next_hop, path) {
            desired.neighbours.insert(hop, mac);
            desired.fdb.insert(mac, endpoint);
        }
        desired.routes.insert(route.dst, route);
    }
}

impl<'a> Builder<'a> {
    fn new(settings: &'a Settings, node: &'a Node, underlay: &'a Underlay) -> Self {
        Self { settings, node, underlay, device: device(settings, node, underlay) }
    }

    /// Chooses the path to one podCIDR; the error says why there is none.
    fn way(&self, peer: &Peer, pod_cidr: IpNetwork) -> Result<Way, String> {
        let family = Family::of(pod_cidr.ip());
        let direct = || self.direct_endpoint(peer, family);
        match self.settings.mode {
            Mode::None => Err("mode none: it is somebody else's affair".into()),
            Mode::Vxlan => self.tunnel(peer, pod_cidr, Why::Mode),
            Mode::Auto => match direct() {
                Some(endpoint) => Ok(self.direct(pod_cidr, endpoint)),
                None if self.is_near(peer) => self.tunnel(peer, pod_cidr, Why::OtherFamily(family)),
                None => self.tunnel(peer, pod_cidr, Why::Beyond),
            },
            Mode::Direct => {
                let endpoint = direct().ok_or_else(|| self.not_on_link(peer, pod_cidr))?;
                Ok(self.direct(pod_cidr, endpoint))
            }
        }
    }

    fn is_near(&self, peer: &Peer) -> bool {
        peer.endpoints.iter().any(|ip| self.underlay.on_link(*ip))
    }

    /// The peer's address that routes of `family` can lead to. IPv4 may have an IPv6 next hop (RFC 5549), but
    /// not the other way round.
    fn direct_endpoint(&self, peer: &Peer, family: Family) -> Option<IpAddr> {
        let near = |f: Family| {
            peer.endpoints.iter().copied().find(|ip| Family::of(*ip) == f && self.underlay.on_link(*ip))
        };
        near(family).or_else(|| near(Family::V6))
    }

    fn not_on_link(&self, peer: &Peer, pod_cidr: IpNetwork) -> String {
        let family = Family::of(pod_cidr.ip());
        format!(
            "mode direct: none of its endpoints ({}) is in a subnet of {} that {family} pods can be routed by",
            list(&peer.endpoints),
            self.underlay.name,
        )
    }

    fn direct(&self, pod_cidr: IpNetwork, endpoint: IpAddr) -> Way {
        let route = self.route(pod_cidr, Dev::Uplink, endpoint, self.underlay.mtu);
        Way { path: Path::Direct { endpoint }, why: Why::OnLink, route, mac: None }
    }

    /// A route to a next hop that is neighbour to the peer's tunnel MAC, which the forwarding database sends to
    /// the peer: no packet ever has to ask for an address.
    fn tunnel(&self, peer: &Peer, pod_cidr: IpNetwork, why: Why) -> Result<Way, String> {
        let family = self.underlay.family(self.settings);
        let device = self.device.as_ref();
        let own = device.ok_or_else(|| {
            format!("this node has no {family} address on {} to tunnel from", self.underlay.name)
        })?;
        let endpoint =
            peer.endpoints.iter().copied().find(|ip| Family::of(*ip) == family).ok_or_else(|| {
                format!(
                    "the tunnel is over {family}, and it has no such endpoint ({})",
                    list(&peer.endpoints)
                )
            })?;
        let mac = peer.tunnel_mac();
        if own.mac == mac {
            return Err(format!("its tunnel MAC {mac} is this node's"));
        }
        let next_hop = next_hop(pod_cidr, mac);
        let mut route = self.route(pod_cidr, Dev::Tunnel, next_hop, self.underlay.tunnel_mtu(self.settings));
        route.onlink = next_hop.is_ipv4();
        Ok(Way { path: Path::Vxlan { endpoint }, why, route, mac: Some(mac) })
    }

    fn route(&self, dst: IpNetwork, dev: Dev, next_hop: IpAddr, path_mtu: u32) -> Route {
        let family = Family::of(dst.ip());
        Route {
            dst,
            dev,
            next_hop: Some(next_hop),
            onlink: false,
            source: self.node.gateways.iter().copied().find(|ip| Family::of(*ip) == family),
            mtu: Some(path_mtu).filter(|mtu| self.node.pod_mtu.is_some_and(|pods| *mtu < pods.get())),
            metric: Route::usual_metric(family),
            table: MAIN_TABLE,
        }
    }
}

/// An address that stands for the peer's end of the tunnel; nobody has to have it. For IPv6 a link-local one: of
/// others the kernel demands that no route leads to them by another link (ip6_route_check_nh_onlink,
/// net/ipv6/route.c), and a node may have one to all pods. For IPv4 the podCIDR's own network address.
fn next_hop(pod_cidr: IpNetwork, mac: MacAddr) -> IpAddr {
    match pod_cidr {
        IpNetwork::V4(net) => net.network().into(),
        IpNetwork::V6(_) => mac.link_local().into(),
    }
}

fn list(ips: &[IpAddr]) -> String {
    ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}
