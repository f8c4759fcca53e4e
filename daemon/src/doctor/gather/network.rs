//! Links, the ways to other nodes, settings, rules.

use super::{has_peers, text};
use crate::config::{Config, Source};
use crate::overlay::{choice, settings};
use ipnetwork::IpNetwork;
use offramp_core::doctor::{Link, Look, Overlay, Return, Returns, Rules, Told, Vxlan, legacy_listing};
use offramp_core::net::{Family, from_bits, network_of, to_bits};
use offramp_core::overlay::{Dev, Underlay};
use offramp_core::record::{Mode, Record};
use offramp_core::step::Step;
use offramp_kernel::netlink::Socket;
use offramp_kernel::overlay::{Links, find_underlay, read_tables, vxlan_devices};
use offramp_kernel::sysctl::Sysctl;
use offramp_kernel::{Result, addr, legacy, link, nft, route};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// All links of the calling thread's namespace; addresses of bridges only.
pub fn links() -> Look<Vec<Link>> {
    let look = || -> Result<Vec<Link>> {
        let socket = &mut Socket::open()?;
        let mut all = Vec::new();
        for link in link::list(socket)? {
            let is_bridge = link.kind.as_deref() == Some("bridge");
            all.push(Link {
                addresses: if is_bridge { addr::list(socket, link.index)? } else { Vec::new() },
                name: link.name,
                kind: link.kind,
                group: link.group,
                mtu: link.mtu,
                up: link.up,
                carrier: link.carrier,
            });
        }
        Ok(all)
    };
    look().map_err(text)
}

/// The overlay, as it is and as it is configured.
pub fn overlay(config: &Config, told: Option<&Told>) -> Look<Overlay> {
    let settings = settings(&config.overlay).map_err(text)?;
    let socket = &mut Socket::open().map_err(text)?;
    let underlay = match find_underlay(socket, &choice(&config.node)) {
        Ok(underlay) => Ok(Some(underlay)),
        Err(e) if has_peers(config) => Err(text(e)),
        Err(_) => Ok(None),
    };
    let found = underlay.as_ref().ok().and_then(Option::as_ref);
    let has_local = |u: &Underlay| u.address(u.family(&settings)).is_some();
    let vxlans = vxlan_devices(socket).map_err(text)?;
    let tunnel =
        vxlans.iter().find(|(name, _)| *name == settings.device.as_str()).map(|(_, found)| found.index);
    let tables = read_tables(socket, &Links { tunnel, uplink: found.map(|u| u.index) }).map_err(text)?;
    let vxlan = |(name, found): (String, offramp_core::overlay::device::Found)| Vxlan {
        name,
        vni: found.vni,
        port: found.port,
        local: found.local,
        mtu: found.mtu,
        up: found.up,
        external: found.external,
    };
    Ok(Overlay {
        tunnels: settings.mode.tunnels() && found.is_some_and(has_local),
        device: settings.device.to_string(),
        vni: settings.vni.get(),
        port: settings.port,
        vxlans: vxlans.into_iter().map(vxlan).collect(),
        tables,
        pod_networks: pod_networks(config, told, socket),
        underlay,
    })
}

/// By the configuration, else by the daemon, else by what the bridge was given.
fn pod_networks(config: &Config, told: Option<&Told>, socket: &mut Socket) -> Vec<IpNetwork> {
    if let Source::Standalone(source) = &config.source {
        return source.ranges.iter().map(|r| r.subnet).collect();
    }
    if let Some(told) = told {
        return told.ranges.iter().map(|r| r.subnet).collect();
    }
    let bridge = link::find(socket, &config.bridge.name).ok().flatten();
    let addresses = bridge.and_then(|bridge| addr::list(socket, bridge.index).ok()).unwrap_or_default();
    let of_pods = |net: &IpNetwork| !matches!(net.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    addresses.into_iter().filter(of_pods).map(network_of).collect()
}

/// The links that all pods' packets pass.
pub fn concerned(config: Option<&Config>, overlay: Option<&Overlay>) -> Vec<String> {
    let mut all: Vec<String> = config.iter().map(|c| c.bridge.name.to_string()).collect();
    if let Some(overlay) = overlay {
        all.push(overlay.device.clone());
        all.extend(overlay.underlay.iter().flatten().map(|u| u.name.clone()));
    }
    all
}

/// The settings of these links, and those for all.
pub fn sysctls(root: &Path, links: &[String]) -> Look<BTreeMap<String, String>> {
    let mut keys =
        vec!["ipv4/ip_forward".into(), "ipv6/conf/all/forwarding".into(), "ipv4/conf/all/rp_filter".into()];
    for link in links {
        keys.extend(["forwarding", "rp_filter"].map(|key| format!("ipv4/conf/{link}/{key}")));
    }
    let sysctl = Sysctl::at(root);
    let mut all = BTreeMap::new();
    for key in keys {
        if let Some(value) = sysctl.get(&key).map_err(text)? {
            all.insert(key, value);
        }
    }
    if all.is_empty() { Err(format!("{} has none of the settings", root.display())) } else { Ok(all) }
}

/// Each is a question to the kernel.
const LOOKED_UP: usize = 4096;

/// Who sends, from which address, and the link at which that comes in.
type Sender = (String, IpAddr, String);

/// Where packets come in that are known to come, and by which link the kernel would answer them.
pub fn returns(overlay: Option<&Overlay>, records: &[Record]) -> Look<Returns> {
    let mut known = of_pods(records);
    known.extend(overlay.iter().flat_map(|overlay| of_peers(overlay)));
    known.retain(|(_, ip, _)| ip.is_ipv4());
    let left_out = known.len().saturating_sub(LOOKED_UP);
    known.truncate(LOOKED_UP);
    Ok(Returns { looked_up: look_up(known).map_err(text)?, left_out })
}

/// Those whose bridge the daemon has made a router, or whose link is routed. The bridge of another network may be one of
/// layer 2 only: the node answers nobody there, and has no route.
fn of_pods(records: &[Record]) -> Vec<Sender> {
    let of_daemon = records.iter().filter(|r| r.mode == Mode::Node);
    let comes_in = |r: &Record| {
        let (host, _) = r.plan.host_link()?;
        r.plan.steps.iter().find_map(|step| match step {
            Step::AttachPort(port) if port.link == *host => Some(port.bridge.to_string()),
            Step::AttachRouted(routed) if routed.link == *host => Some(routed.link.to_string()),
            _ => None,
        })
    };
    let pods = of_daemon.filter_map(|r| Some((r, comes_in(r)?)));
    pods.flat_map(|(record, comes_in)| {
        let who = record.pod.as_ref().map_or_else(|| record.attachment.to_string(), ToString::to_string);
        record.ips().map(move |ip| (who.clone(), ip, comes_in.clone()))
    })
    .collect()
}

fn of_peers(overlay: &Overlay) -> Vec<Sender> {
    let uplink = overlay.underlay.as_ref().ok().and_then(Option::as_ref).map(|u| &u.name);
    let mut known: Vec<Sender> = Vec::new();
    for (entry, uplink) in overlay.tables.fdb.iter().zip(uplink.into_iter().cycle()) {
        known.extend(entry.endpoint.map(|ip| ("a peer's end of the tunnel".into(), ip, uplink.to_string())));
    }
    for route in &overlay.tables.routes {
        let comes_in = match route.dev {
            Dev::Tunnel => Some(overlay.device.clone()),
            Dev::Uplink => uplink.map(ToString::to_string),
            Dev::Other(_) => None,
        };
        let first = from_bits(Family::of(route.dst.ip()), to_bits(route.dst.network()).saturating_add(2));
        known.extend(comes_in.map(|link| (format!("pods of {}", route.dst), first, link)));
    }
    known
}

fn look_up(known: Vec<Sender>) -> Result<Vec<Return>> {
    let socket = &mut Socket::open()?;
    let names: BTreeMap<u32, String> = link::list(socket)?.into_iter().map(|l| (l.index, l.name)).collect();
    let mut all = Vec::new();
    for (who, from, comes_in) in known {
        let leaves = route::link_to(socket, from)?.and_then(|index| names.get(&index).cloned());
        all.push(Return { who, from, comes_in, leaves });
    }
    Ok(all)
}

/// All netfilter rules, those of iptables-legacy too.
pub fn rules() -> Look<Rules> {
    let listing = nft::ruleset().map_err(text)?;
    let nft = serde_json::from_slice(&listing).map_err(|e| format!("read nft's listing: {e}"))?;
    let tables = legacy::tables().map_err(text)?;
    let names = tables.iter().map(|table| format!("{} ({})", table.name, table.family));
    Ok(Rules { nft, legacy: names.collect(), legacy_rules: legacy_listing(&tables) })
}
