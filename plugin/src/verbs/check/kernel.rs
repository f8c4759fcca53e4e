//! What the kernel holds of an attachment.

use super::failed;
use offramp_core::cni::CniError;
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::net::network_of;
use offramp_core::pair::ROUTED_GROUP;
use offramp_core::record::{Mode, Record};
use offramp_core::step::{
    AttachPort, AttachRouted, BindTo, BindVf, ConfigurePod, ConfigureVf, CreateNetkit, CreateNetkitL3,
    CreatePair, Gateway, HostRoute, PlugRepresentor, Shape, Step,
};
use offramp_core::vf::{LinkState, PfSide, ROUTE_PROTOCOL, VfSettings};
use offramp_kernel::link::{self, Link};
use offramp_kernel::netlink::Socket;
use offramp_kernel::nft::{self, NftError};
use offramp_kernel::route::{self, Way};
use offramp_kernel::vf::{self, Host};
use offramp_kernel::{Netns, addr, neigh};
use offramp_ledger::Store;
use std::time::Duration;

const FIREWALL_PATIENCE: Duration = Duration::from_secs(20);

/// Links, addresses, routes and limits.
pub fn steps(store: &Store, record: &Record, netns: &Netns) -> Result<(), CniError> {
    let (mut host, mut pod) = (Socket::open()?, Socket::open_in(netns)?);
    for step in &record.plan.steps {
        match step {
            Step::CreateVeth(ends) => pair(record, &mut host, &mut pod, ends, "veth")?,
            Step::CreateNetkit(CreateNetkit { pair: ends, .. }) => {
                pair(record, &mut host, &mut pod, ends, "netkit")?;
            }
            Step::CreateNetkitL3(ends) => routed_pair(record, &mut host, &mut pod, ends)?,
            Step::AttachPort(p) => port(record, &mut host, p)?,
            Step::AttachRouted(r) => routed(record, &mut host, r)?,
            Step::Shape(s) => limits(record, &mut host, s)?,
            Step::ConfigurePod(p) => addresses_and_routes(record, &mut pod, p)?,
            // In node mode the bridge is the daemon's, which repairs it.
            Step::Gateway(g) if record.mode == Mode::Inline => gateways(record, &mut host, g)?,
            Step::MoveVf(m) => own_link(record, &mut pod, &m.name, m.mac).map(drop)?,
            Step::HostRoute(r) => way_to_pod(record, &mut host, r)?,
            Step::LeaseQueues(l) => super::queues::leased(store, record, &mut host, l)?,
            Step::SteerQueues(s) => super::queues::steered(store, record, s)?,
            Step::PlugRepresentor(p) => representor(record, &mut host, p)?,
            Step::ConfigureVf(v) => vf(store, record, v)?,
            Step::BindVf(b) => driver(record, b)?,
            // A filter that is full has no room for it, which the daemon reports.
            Step::KnowMac(_)
            | Step::Gateway(_)
            | Step::EnsureBridge(_)
            | Step::Neighbours(_)
            | Step::AwaitCarrier(_)
            | Step::Announce(_) => {}
        }
    }
    Ok(())
}

/// nftables.
pub fn rules(store: &Store, record: &Record) -> Result<(), CniError> {
    if record.plan.firewall.is_empty() {
        return Ok(());
    }
    // While a table is replaced, the kernel for a moment has its new sets of intervals without their elements, as nobody
    // can tell who looks (nf_tables_commit: the generation changes before nft_set_commit_update).
    let lock = store.lock_firewall(FIREWALL_PATIENCE)?;
    match nft::Tables::locked_by(&lock).missing(&record.plan.firewall) {
        Ok(None) => Ok(()),
        Ok(Some(element)) => Err(failed(record, format!("nftables does not hold {element}"))),
        Err(e @ NftError::PortTaken { .. }) => Err(failed(record, e)),
        Err(e) => Err(e.into()),
    }
}

fn pair(
    record: &Record,
    host: &mut Socket,
    pod: &mut Socket,
    ends: &CreatePair,
    kind: &str,
) -> Result<(), CniError> {
    let outside = own_link(record, host, &ends.host, ends.host_mac)?;
    let inside = own_link(record, pod, &ends.pod, ends.pod_mac)?;
    [outside, inside].into_iter().try_for_each(|link| is_kind(record, link, kind))
}

/// It has no MACs.
fn routed_pair(
    record: &Record,
    host: &mut Socket,
    pod: &mut Socket,
    ends: &CreateNetkitL3,
) -> Result<(), CniError> {
    for (socket, name) in [(host, &ends.host), (pod, &ends.pod)] {
        let found = link::find(socket, name)?;
        let link = found.ok_or_else(|| failed(record, format!("link {name} is gone")))?;
        is_kind(record, link, "netkit")?;
    }
    Ok(())
}

fn is_kind(record: &Record, link: Link, kind: &str) -> Result<(), CniError> {
    if link.kind.as_deref() == Some(kind) {
        return Ok(());
    }
    let is = link.kind.unwrap_or_else(|| "physical".into());
    Err(failed(record, format!("link {} is {is}, not {kind}", link.name)))
}

/// Up, and the node checks what comes from there.
fn routed(record: &Record, host: &mut Socket, r: &AttachRouted) -> Result<(), CniError> {
    let link = link::require(host, &r.link)?;
    if !link.up {
        return Err(failed(record, format!("link {} is down", r.link)));
    }
    if !link.is_routed() {
        return Err(failed(
            record,
            format!(
                "link {} is in group {}, not {ROUTED_GROUP}: the node does not check the sources of what comes from there",
                r.link, link.group
            ),
        ));
    }
    if !nft::sources_are_checked()? {
        return Err(failed(
            record,
            format!("the node does not check the sources of what comes from {}", r.link),
        ));
    }
    Ok(())
}

/// The node finds the pod, and answers for it on the bridge.
fn way_to_pod(record: &Record, host: &mut Socket, r: &HostRoute) -> Result<(), CniError> {
    let gone = |name: &IfName| failed(record, format!("link {name} is gone"));
    let link = link::find(host, &r.link)?.ok_or_else(|| gone(&r.link))?.index;
    let bridge = link::find(host, &r.bridge)?.ok_or_else(|| gone(&r.bridge))?.index;
    let routes = route::hosts_of(host, ROUTE_PROTOCOL)?;
    let answers = neigh::answered_for(host)?;
    for ip in &r.ips {
        let mac = match r.mac {
            Some(_) => neigh::mac_of(host, r.link.as_str(), link, *ip)?,
            None => None,
        };
        let missing = if !routes.contains(&(*ip, link)) {
            format!("the node has no route to {ip} on {}", r.link)
        } else if let Some(wanted) = r.mac.filter(|wanted| mac.as_deref() != Some(&wanted.octets())) {
            format!("the node does not have neighbour {ip} with MAC {wanted} on {}", r.link)
        } else if !answers.contains(&(*ip, bridge)) {
            format!("the node has no proxy entry for {ip} on {}", r.bridge)
        } else {
            continue;
        };
        return Err(failed(record, missing));
    }
    Ok(())
}

/// The VF is this attachment's, and set as it wanted it.
fn vf(store: &Store, record: &Record, wanted: &ConfigureVf) -> Result<(), CniError> {
    let vf = &wanted.vf;
    match store.claims().read(vf.pci)? {
        Some(claim) if claim.holder == record.attachment && !claim.in_quarantine() => {}
        Some(claim) => return Err(failed(record, claim)),
        None => return Err(failed(record, format!("{vf} is claimed by nobody"))),
    }
    let port = vf::VfPort::of(&Host::default(), vf)?;
    let now = port.read(&mut Socket::open()?, vf)?;
    match differing(&wanted.settings, &now, matches!(port, vf::VfPort::Switchdev(_))) {
        Some(what) => Err(failed(record, format!("{what} of {vf} is not what was asked for"))),
        None => Ok(()),
    }
}

/// The first setting that is not as wanted. A representor is up or not, which tells `auto` and `enable` not apart.
fn differing(settings: &VfSettings, now: &PfSide, switchdev: bool) -> Option<&'static str> {
    let VfSettings { vlan, trust, spoofchk, link_state, min_tx_rate, max_tx_rate, mac, .. } = settings;
    let known = |state: LinkState| match state {
        LinkState::Enable if switchdev => LinkState::Auto,
        state => state,
    };
    let differs = [
        ("mac", mac.is_some() && *mac != now.mac),
        ("vlan", vlan.is_some() && *vlan != now.vlan),
        ("trust", trust.is_some() && *trust != now.trust),
        ("spoofchk", spoofchk.is_some() && *spoofchk != now.spoofchk),
        ("link_state", link_state.is_some() && link_state.map(known) != now.link_state),
        ("min_tx_rate", min_tx_rate.is_some() && *min_tx_rate != now.min_tx_rate),
        ("max_tx_rate", max_tx_rate.is_some() && *max_tx_rate != now.max_tx_rate),
    ];
    differs.iter().find(|(_, differs)| *differs).map(|(what, _)| *what)
}

/// The driver that a VF for userspace must have.
fn driver(record: &Record, bound: &BindVf) -> Result<(), CniError> {
    let driver = Host::default().driver(bound.vf.pci)?;
    match bound.to {
        BindTo::VfioPci if driver.as_deref() != Some("vfio-pci") => {
            Err(failed(record, format!("{} is not bound to vfio-pci", bound.vf)))
        }
        BindTo::VfioPci | BindTo::SameAnew => Ok(()),
    }
}

/// A link that ADD made.
fn own_link(record: &Record, socket: &mut Socket, name: &IfName, mac: MacAddr) -> Result<Link, CniError> {
    match link::find(socket, name)? {
        None => Err(failed(record, format!("link {name} is gone"))),
        Some(l) if !l.has_mac(mac) => Err(failed(record, format!("link {name} does not have MAC {mac}"))),
        Some(l) => Ok(l),
    }
}

fn bridge(record: &Record, host: &mut Socket, name: &IfName) -> Result<Link, CniError> {
    link::find(host, name)?.ok_or_else(|| failed(record, format!("bridge {name} is gone")))
}

fn port(record: &Record, host: &mut Socket, p: &AttachPort) -> Result<(), CniError> {
    let bridge = bridge(record, host, &p.bridge)?;
    let plugged = |l: &Link| l.controller == Some(bridge.index) && l.up;
    if link::find(host, &p.link)?.is_some_and(|l| plugged(&l)) {
        return Ok(());
    }
    Err(failed(record, format!("link {} is not up as a port of bridge {}", p.link, p.bridge)))
}

fn representor(record: &Record, host: &mut Socket, p: &PlugRepresentor) -> Result<(), CniError> {
    let bridge = bridge(record, host, &p.bridge)?;
    if vf::is_plugged(&Host::default(), bridge.index, p)? {
        return Ok(());
    }
    let state = if p.up { "up" } else { "down" };
    let vlan = p.vlan.map(|tag| format!(", {tag}")).unwrap_or_default();
    let what = format!("the representor of {} is not {state} as a port of bridge {}{vlan}", p.vf, p.bridge);
    Err(failed(record, what))
}

fn limits(record: &Record, host: &mut Socket, s: &Shape) -> Result<(), CniError> {
    let limited = |l: Link, direction: &str| match l.qdisc.as_str() {
        "tbf" => Ok(()),
        other => {
            Err(failed(record, format!("link {}, with qdisc {other:?}, does not limit {direction}", l.name)))
        }
    };
    if s.bandwidth.ingress.is_some() {
        limited(link::require(host, &s.link)?, "ingress")?;
    }
    if s.bandwidth.egress.is_some() {
        limited(own_link(record, host, &s.ifb, s.ifb_mac)?, "egress")?;
    }
    Ok(())
}

fn gateways(record: &Record, host: &mut Socket, g: &Gateway) -> Result<(), CniError> {
    let bridge = bridge(record, host, &g.bridge)?;
    let has = addr::list(host, bridge.index)?;
    // Another network may have put it there first, with a prefix of its own.
    match g.addresses.iter().find(|a| !has.iter().any(|h| h.ip() == a.ip())) {
        Some(a) => Err(failed(record, format!("bridge {} does not have gateway address {a}", g.bridge))),
        None => Ok(()),
    }
}

fn addresses_and_routes(record: &Record, pod: &mut Socket, p: &ConfigurePod) -> Result<(), CniError> {
    let found = link::find(pod, &p.link)?.filter(|l| l.up);
    let link = found.ok_or_else(|| failed(record, format!("interface {} is not up", p.link)))?;
    let has = addr::list(pod, link.index)?;
    if let Some(a) = p.addresses.iter().find(|a| !has.contains(&a.ip)) {
        return Err(failed(record, format!("interface {} does not have address {}", p.link, a.ip)));
    }
    // With which MAC is the daemon's affair, which follows the uplink's.
    for hop in &p.neighbours {
        if neigh::mac_of(pod, p.link.as_str(), link.index, hop.ip)?.is_none_or(|mac| mac.is_empty()) {
            return Err(failed(record, format!("interface {} does not have neighbour {}", p.link, hop.ip)));
        }
    }
    if p.routes.is_empty() {
        return Ok(());
    }
    let has = route::list(pod, link.index)?;
    let mut wanted = p.routes.iter().map(|r| Way { dst: network_of(r.dst), gateway: p.next_hop(r) });
    match wanted.find(|way| !has.contains(way)) {
        Some(Way { dst, gateway }) => {
            let via = gateway.map(|g| format!(" via {g}")).unwrap_or_default();
            Err(failed(record, format!("interface {} does not have the route to {dst}{via}", p.link)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_is_enabled_is_up_in_switchdev_mode() {
        let differs = |want, now, switchdev| {
            let settings = VfSettings { link_state: Some(want), ..VfSettings::default() };
            let now = PfSide { link_state: Some(now), ..PfSide::default() };
            differing(&settings, &now, switchdev).is_some()
        };
        use LinkState::{Auto, Disable, Enable};
        let wrong = [(Enable, Auto), (Enable, Disable), (Auto, Disable), (Disable, Auto), (Auto, Auto)];
        assert_eq!(wrong.map(|(want, now)| differs(want, now, true)), [false, true, true, true, false]);
        assert_eq!(wrong.map(|(want, now)| differs(want, now, false)), [true, true, true, true, false]);
    }
}
