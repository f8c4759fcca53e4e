//! Inline mode: the configuration decides, the plugin plans.

use crate::context::{Context, now};
use offramp_core::cni::CniError;
use offramp_core::cni::bridge::BridgeConf;
use offramp_core::cni::config::ModeConf;
use offramp_core::cni::ipam::{Ipam, OwnIpam};
use offramp_core::cni::result::{CniResult, Dns, Route};
use offramp_core::firewall::Rules;
use offramp_core::ids::{AttachmentId, MacAddr};
use offramp_core::ipam::{Range, check_disjoint};
use offramp_core::net::Family;
use offramp_core::plan::{Plan, host_ifname, ifb_name, link_steps, plan};
use offramp_core::record::{FORMAT, IpamHold, Mode, NetnsRef, Record, State};
use offramp_core::spec::{Address, BridgeSpec, EnsureBridge, PortSpec, Spec};
use offramp_kernel::delete::Patience;
use offramp_kernel::{Executor, Netns, crash, nft, random};
use offramp_ledger::delegate::Delegate;
use offramp_ledger::detach::detach;
use std::net::IpAddr;
use std::time::Duration;

/// Attaches, or leaves nothing behind.
pub fn add(cx: &mut Context, id: &AttachmentId, netns: &Netns) -> Result<CniResult, CniError> {
    let ModeConf::Inline { bridge, ipam } = cx.conf.mode.clone() else {
        return Err(CniError::internal("inline mode without a bridge"));
    };
    let spec = spec(cx, id, netns, &bridge)?;
    let mut record = record(
        cx,
        id,
        netns,
        Plan { steps: link_steps(&spec, ifb_name(id)), firewall: Rules::default(), ..plan(id, &spec) },
    );
    let outcome = match &*ipam {
        Ipam::Delegate { plugin } => with_delegate(cx, &mut record, spec, netns, &bridge, plugin),
        Ipam::Own(own) => with_own_addresses(cx, &mut record, spec, netns, own, &bridge),
        Ipam::None => {
            let rules = plan_without_rules(&mut record, &spec);
            let written = cx.store.write(&record).map_err(Into::into);
            written.and_then(|()| wire(cx, &record, netns, 0)).map(|()| rules)
        }
    };
    let outcome = outcome.and_then(|rules| finish(cx, &mut record, rules));
    if let Err(e) = outcome {
        return Err(take_back(cx, &mut record, e));
    }
    Ok(record.plan.result)
}

/// Undoes a failed ADD. What could not be undone is told, and stays in the record for DEL.
fn take_back(cx: &Context, record: &mut Record, error: CniError) -> CniError {
    if !cx.store.path(&record.attachment).exists() {
        return error; // it failed before the first change
    }
    match detach(&cx.store, record, Patience::Ack) {
        Ok(()) => error,
        Err(undo) => {
            let details = format!(
                "{}{}and not all could be undone: {undo}",
                error.details,
                if error.details.is_empty() { "" } else { "; " }
            );
            error.with_details(details)
        }
    }
}

/// Addresses of our own: picked, written down, claimed, under one lock.
fn with_own_addresses(
    cx: &mut Context,
    record: &mut Record,
    mut spec: Spec,
    netns: &Netns,
    own: &OwnIpam,
    bridge: &BridgeConf,
) -> Result<Rules, CniError> {
    let sets = range_sets(cx, own)?;
    let addresses = cx.store.addresses(&cx.conf.name, own.data_dir.as_deref());
    let wanted: Vec<IpAddr> = wanted(cx, own).collect();
    let locked = addresses.lock()?;
    let picked = locked.pick(&sets, &wanted)?;
    let ips: Vec<IpAddr> = picked.iter().map(|(ip, _)| *ip).collect();
    // An address that was asked for may have been another node's: then switches must learn its new place, from the
    // announcement that a random MAC needs.
    if let (None, [], [first, ..]) = (wished_mac(cx), &*wanted, &*ips) {
        spec.mac = MacAddr::of_ip(*first);
    }
    spec.addresses =
        picked.iter().map(|(ip, r)| Address { ip: r.with_prefix(*ip), gateway: Some(r.gateway) }).collect();
    spec.routes = with_default_routes(own.routes.clone(), bridge, &spec.addresses);
    if spec.dns == Dns::default()
        && let Some(path) = &own.resolv_conf
    {
        spec.dns = resolv_conf(path)?;
    }
    record.ipam = IpamHold::Files { dir: addresses.dir().to_owned() };
    let rules = plan_without_rules(record, &spec);
    cx.store.write(record)?;
    crash::point("record.written");
    locked.claim(&record.attachment, &ips)?;
    crash::point("addresses.held");
    wire(cx, record, netns, 0).map(|()| rules)
}

/// The link first, since a plugin such as `dhcp` needs it, then its addresses.
fn with_delegate(
    cx: &mut Context,
    record: &mut Record,
    mut spec: Spec,
    netns: &Netns,
    bridge: &BridgeConf,
    plugin: &str,
) -> Result<Rules, CniError> {
    delegate(cx, plugin).find()?; // before the first change
    let (config, path, args) = (cx.conf.raw.clone(), cx.call.path.clone(), cx.call.raw_args.clone());
    record.ipam = IpamHold::Delegate { plugin: plugin.to_owned(), config, path, args };
    cx.store.write(record)?;
    crash::point("record.written");
    let done = record.plan.steps.len();
    wire(cx, record, netns, 0)?;
    let result = cx.timed("delegate", |cx| delegate(cx, plugin).add(&record.attachment, &spec.sandbox))?;
    crash::point("delegate.added");
    if result.ips.is_empty() {
        return Err(CniError::config(format!("IPAM plugin {plugin} gave no address")));
    }
    let gateway = |ip: &offramp_core::cni::result::Ip| {
        ip.gateway.or_else(|| bridge.is_gateway.then(|| first_of(ip)).flatten())
    };
    spec.addresses = result.ips.iter().map(|ip| Address { ip: ip.address, gateway: gateway(ip) }).collect();
    spec.routes = with_default_routes(result.routes, bridge, &spec.addresses);
    if spec.dns == Dns::default() {
        spec.dns = result.dns;
    }
    let rules = plan_without_rules(record, &spec);
    cx.store.write(record)?;
    wire(cx, record, netns, done).map(|()| rules)
}

/// The first usable address of the subnet: the gateway where the IPAM plugin names none.
fn first_of(ip: &offramp_core::cni::result::Ip) -> Option<IpAddr> {
    let first = offramp_core::net::to_bits(ip.address.network()).checked_add(1)?;
    Some(offramp_core::net::from_bits(Family::of(ip.address.ip()), first))
}

/// Calls to a delegated plugin with this call's configuration.
pub fn delegate<'a>(cx: &'a Context, plugin: &'a str) -> Delegate<'a> {
    Delegate { plugin, config: &cx.conf.raw, path: &cx.call.path, args: &cx.call.raw_args }
}

fn wire(cx: &mut Context, record: &Record, netns: &Netns, from: usize) -> Result<(), CniError> {
    let mut executor = Executor::new(Some(netns))?;
    cx.execute(&mut executor, &record.plan.steps[from..])
}

/// The record's plan but for its rules, which are returned. Elements of nftables have no owner: until its addresses are
/// held, a record must not name any, or its DEL would remove those of whoever holds the addresses by then.
fn plan_without_rules(record: &mut Record, spec: &Spec) -> Rules {
    record.plan = plan(&record.attachment, spec);
    std::mem::take(&mut record.plan.firewall)
}

/// Rules, then the record is ready.
fn finish(cx: &mut Context, record: &mut Record, rules: Rules) -> Result<(), CniError> {
    if !rules.is_empty() {
        record.plan.firewall = rules;
        cx.store.write(record)?;
        crash::point("rules.written");
        cx.timed("firewall", |cx| {
            let lock = cx.store.lock_firewall(Duration::from_secs(20))?;
            nft::Tables::locked_by(&lock).add(&record.plan.firewall).map_err(CniError::from)?;
            allow_loopback_ports(record)
        })?;
    }
    crash::point("rules.added");
    record.state = State::Ready;
    cx.store.write(record)?;
    crash::point("record.ready");
    Ok(())
}

/// 127.0.0.1:PORT on the node leads to the pod only if the bridge may route loopback addresses. After the rules,
/// which keep pods from the node's own loopback services.
fn allow_loopback_ports(record: &Record) -> Result<(), CniError> {
    let bridge = record.plan.result.interfaces.first().map(|i| i.name.as_str());
    match bridge.and_then(|b| b.parse().ok()) {
        Some(bridge) if !record.plan.firewall.host_ports.is_empty() => {
            Ok(nft::enable_route_localnet(&bridge)?)
        }
        _ => Ok(()),
    }
}

fn record(cx: &Context, id: &AttachmentId, netns: &Netns, plan: Plan) -> Record {
    Record {
        format: FORMAT,
        attachment: id.clone(),
        network: cx.conf.name.clone(),
        mode: Mode::Inline,
        state: State::Adding,
        netns: NetnsRef { path: netns.path().to_owned(), inode: netns.inode() },
        pod: cx.call.args.pod.clone(),
        ipam: IpamHold::None,
        plan,
        created: now(),
    }
}

/// What the runtime asks for.
fn wished_mac(cx: &Context) -> Option<MacAddr> {
    cx.conf.runtime.mac.or(cx.call.args.mac)
}

/// All of the spec but the addresses. A delegated plugin gives them when the link is there, so the MAC is a random one.
fn spec(cx: &Context, id: &AttachmentId, netns: &Netns, bridge: &BridgeConf) -> Result<Spec, CniError> {
    let runtime = &cx.conf.runtime;
    let mac = match wished_mac(cx) {
        Some(mac) => mac,
        None => MacAddr::local(random::bits64()?),
    };
    let ensure = EnsureBridge {
        name: bridge.bridge.clone(),
        mac: None,
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
        mtu: bridge.mtu,
        bridge: BridgeSpec {
            name: bridge.bridge.clone(),
            ensure: Some(ensure),
            is_gateway: bridge.is_gateway,
            force_address: bridge.force_address,
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

/// The configuration's sets behind the runtime's, as host-local has it.
pub fn range_sets(cx: &Context, own: &OwnIpam) -> Result<Vec<Vec<Range>>, CniError> {
    let sets: Vec<_> = cx.conf.runtime.ip_ranges.iter().chain(&own.ranges).cloned().collect();
    if sets.is_empty() {
        return Err(CniError::config("field \"ipam.ranges\" is missing, and the runtime gave no ipRanges"));
    }
    check_disjoint(&sets)
        .map_err(|e| CniError::config(format!("ipam.ranges with the runtime's ipRanges: {e}")))?;
    Ok(sets)
}

fn wanted<'a>(cx: &'a Context, own: &'a OwnIpam) -> impl Iterator<Item = IpAddr> + 'a {
    let asked = if cx.conf.runtime.ips.is_empty() { &cx.call.args.ips } else { &cx.conf.runtime.ips };
    asked.iter().chain(&own.ips).map(|net| net.ip())
}

/// `isDefaultGateway`: a default route for each family that has a gateway and no default route yet.
fn with_default_routes(mut routes: Vec<Route>, bridge: &BridgeConf, addresses: &[Address]) -> Vec<Route> {
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

/// resolv.conf(5), as far as CNI carries it.
fn resolv_conf(path: &std::path::Path) -> Result<Dns, CniError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| CniError::io(format!("read ipam.resolvConf {}: {e}", path.display())))?;
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => dns.nameservers.extend(words.take(1)),
            Some("domain") => dns.domain = words.next(),
            Some("search") => dns.search = words.collect(),
            Some("options") => dns.options.extend(words),
            _ => {}
        }
    }
    Ok(dns)
}
