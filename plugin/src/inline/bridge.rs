//! A pair with an end on a bridge, as the configuration wants it.

use crate::context::Context;
use offramp_core::cni::CniError;
use offramp_core::cni::bridge::BridgeConf;
use offramp_core::cni::result::{Ip, Route};
use offramp_core::ids::{AttachmentId, MacAddr};
use offramp_core::net::Family;
use offramp_core::pair::{Chosen, PairWish, choose};
use offramp_core::plan::host_ifname;
use offramp_core::spec::{Address, BridgeSpec, EnsureBridge, PortSpec, Spec};
use offramp_kernel::netlink::Socket;
use offramp_kernel::{Netns, netkit, random};
use std::net::IpAddr;

/// What the runtime asks for.
pub(super) fn wished_mac(cx: &Context) -> Option<MacAddr> {
    cx.conf.runtime.mac.or(cx.call.args.mac)
}

/// All of the spec but the addresses. A delegated plugin gives them when the link is there, so the MAC is a random one.
pub fn spec(cx: &Context, id: &AttachmentId, netns: &Netns, bridge: &BridgeConf) -> Result<Spec, CniError> {
    let runtime = &cx.conf.runtime;
    let mac = match wished_mac(cx) {
        Some(mac) => mac,
        None => MacAddr::local(random::bits64()?),
    };
    let ensure = EnsureBridge {
        name: bridge.bridge.clone(),
        mac: Some(MacAddr::local(random::bits64()?)),
        mtu: bridge.mtu,
        vlan_filtering: bridge.vlan_filtering(),
        promisc: bridge.promisc,
    };
    Ok(Spec {
        ifname: id.ifname.clone(),
        mac,
        sandbox: netns.path().display().to_string(),
        host_ifname: host_ifname(id),
        host_mac: MacAddr::local(random::bits64()?),
        pair: pair(bridge.path)?,
        mtu: bridge.mtu,
        bridge: BridgeSpec {
            name: bridge.bridge.clone(),
            ensure: Some(ensure),
            is_gateway: bridge.is_gateway,
            force_address: bridge.force_address,
            // What cannot be read keeps no pod from starting: the daemon makes it anew, and the pod known.
            inform: cx
                .store
                .informed(&bridge.bridge)
                .ok()
                .flatten()
                .map_or_else(Vec::new, |i| i.ports_for(mac)),
        },
        port: PortSpec {
            // With br_netfilter, a pod reaches itself by the node's port only so.
            hairpin: bridge.hairpin || !runtime.host_ports.is_empty(),
            isolated: bridge.port_isolation,
            vlan: bridge.vlan,
            trunk: bridge.vlan_trunk.clone(),
            keep_default_vlan: bridge.preserve_default_vlan,
        },
        addresses: Vec::new(),
        routes: Vec::new(),
        dns: runtime.dns.clone().unwrap_or_else(|| cx.conf.dns.clone()),
        enable_dad: bridge.enable_dad,
        leave_down: bridge.disable_container_interface,
        bandwidth: runtime.bandwidth,
        host_ports: runtime.host_ports.clone(),
        masquerade: bridge.ip_masq,
        mac_spoof_check: bridge.mac_spoof_check,
    })
}

/// What connects the pod with the bridge: by the configuration, and by what the kernel says.
fn pair(wish: PairWish) -> Result<Chosen, CniError> {
    let lacking = if wish.wants_netkit() { netkit::lacking(&mut Socket::open()?)? } else { None };
    choose(wish, lacking.as_deref())
}

/// The gateway of an address that a delegated plugin gave.
pub fn gateway(bridge: &BridgeConf, ip: &Ip) -> Option<IpAddr> {
    ip.gateway.or_else(|| bridge.is_gateway.then(|| first_of(ip)).flatten())
}

/// The first usable address of the subnet: the gateway where the IPAM plugin names none.
fn first_of(ip: &Ip) -> Option<IpAddr> {
    let first = offramp_core::net::to_bits(ip.address.network()).checked_add(1)?;
    Some(offramp_core::net::from_bits(Family::of(ip.address.ip()), first))
}

/// `isDefaultGateway`: a default route for each family that has a gateway and no default route yet.
pub fn with_default_routes(mut routes: Vec<Route>, bridge: &BridgeConf, addresses: &[Address]) -> Vec<Route> {
    if bridge.is_default_gateway {
        for family in Family::ALL {
            let gateway =
                addresses.iter().filter(|a| Family::of(a.ip.ip()) == family).find_map(|a| a.gateway);
            let default = family.default_route();
            if gateway.is_some() && !routes.iter().any(|r| r.dst == default) {
                routes.push(Route::via(default, gateway));
            }
        }
    }
    routes
}
