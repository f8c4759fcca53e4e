//! From peers to what the kernel should have.

use super::device::Device;
use super::state::MAIN_TABLE;
use super::{Desired, Dev, Mode, Node, Path, PeerPath, Route, Settings, Underlay, tunnel_mac};
use crate::ids::MacAddr;
use crate::net::Family;
use crate::peer::Peer;
use ipnetwork::IpNetwork;
use std::net::IpAddr;

/// What the kernel should have, so that pods and the node reach the peers' pods. The peers were checked against
/// each other ([`crate::peer::accept`]); should two still claim the same, the earlier one has it.
pub fn desired(settings: &Settings, node: &Node, underlay: &Underlay, peers: &[Peer]) -> Desired {
    let mut desired = Desired { device: device(settings, node, underlay), ..Desired::default() };
    if settings.mode == Mode::None {
        return desired;
    }
    let builder = Builder { settings, node, underlay };
    for peer in peers {
        for pod_cidr in &peer.pod_cidrs {
            let path = builder.path(&mut desired, peer, *pod_cidr);
            desired.paths.push(PeerPath { peer: peer.name.clone(), pod_cidr: *pod_cidr, path });
        }
    }
    desired
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
}

impl Builder<'_> {
    /// Chooses the path to one podCIDR and enters what it needs.
    fn path(&self, desired: &mut Desired, peer: &Peer, pod_cidr: IpNetwork) -> Path {
        let direct = self.direct_endpoint(peer, Family::of(pod_cidr.ip()));
        let result = match (self.settings.mode, direct) {
            (Mode::Auto | Mode::Direct, Some(endpoint)) => self.direct(desired, pod_cidr, endpoint),
            (Mode::Auto | Mode::Vxlan, _) => self.tunnel(desired, peer, pod_cidr),
            (Mode::Direct | Mode::None, _) => Err(self.not_on_link(peer, pod_cidr)),
        };
        result.unwrap_or_else(|reason| Path::Unreachable { reason })
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

    fn direct(&self, desired: &mut Desired, pod_cidr: IpNetwork, endpoint: IpAddr) -> Result<Path, String> {
        let route = self.route(pod_cidr, Dev::Uplink, endpoint, self.underlay.mtu);
        enter(desired, route)?;
        Ok(Path::Direct { endpoint })
    }

    /// A route to a next hop that is neighbour to the peer's tunnel MAC, which the forwarding database sends to
    /// the peer: no packet ever has to ask for an address.
    fn tunnel(&self, desired: &mut Desired, peer: &Peer, pod_cidr: IpNetwork) -> Result<Path, String> {
        let family = self.underlay.family(self.settings);
        if desired.device.is_none() {
            return Err(format!(
                "this node has no {family} address on {} to tunnel from",
                self.underlay.name
            ));
        }
        let endpoint =
            peer.endpoints.iter().copied().find(|ip| Family::of(*ip) == family).ok_or_else(|| {
                format!(
                    "the tunnel is over {family}, and it has no such endpoint ({})",
                    list(&peer.endpoints)
                )
            })?;
        let mac = peer.mac.unwrap_or_else(|| tunnel_mac(&peer.name));
        self.claim_mac(desired, mac, endpoint)?;
        let next_hop = next_hop(pod_cidr, mac);
        let mut route = self.route(pod_cidr, Dev::Tunnel, next_hop, self.underlay.tunnel_mtu(self.settings));
        route.onlink = next_hop.is_ipv4();
        enter(desired, route)?;
        desired.neighbours.insert(next_hop, mac);
        desired.fdb.insert(mac, endpoint);
        Ok(Path::Vxlan { endpoint })
    }

    fn claim_mac(&self, desired: &Desired, mac: MacAddr, endpoint: IpAddr) -> Result<(), String> {
        match desired.fdb.get(&mac) {
            Some(other) if *other != endpoint => {
                Err(format!("its tunnel MAC {mac} is that of the peer at {other}"))
            }
            _ if desired.device.as_ref().is_some_and(|own| own.mac == mac) => {
                Err(format!("its tunnel MAC {mac} is this node's"))
            }
            _ => Ok(()),
        }
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

fn enter(desired: &mut Desired, route: Route) -> Result<(), String> {
    if desired.routes.contains_key(&route.dst) {
        return Err(format!("an earlier peer has podCIDR {} too", route.dst));
    }
    desired.routes.insert(route.dst, route);
    Ok(())
}

fn list(ips: &[IpAddr]) -> String {
    ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}
