//! Inline mode: the configuration decides, the plugin plans.

mod addresses;
mod bridge;
mod release;
mod vf;

pub use addresses::{range_sets, resolv_conf, wanted};
pub use release::{collect_vfs, in_background, release, release_claims};

use crate::context::{Context, now};
use offramp_core::cni::CniError;
use offramp_core::cni::bridge::BridgeConf;
use offramp_core::cni::config::{Link, ModeConf};
use offramp_core::cni::ipam::{Ipam, OwnIpam};
use offramp_core::cni::result::{CniResult, Dns, Ip, Route};
use offramp_core::firewall::Rules;
use offramp_core::ids::{AttachmentId, MacAddr};
use offramp_core::plan::{Plan, ifb_name, link_steps, plan};
use offramp_core::record::{FORMAT, IpamHold, Mode, NetnsRef, Record, State};
use offramp_core::spec::{Address, Spec};
use offramp_core::step::Step;
use offramp_core::vf::{self as core_vf, VfSpec};
use offramp_kernel::sysctl::Sysctl;
use offramp_kernel::vf::Host;
use offramp_kernel::{Executor, Netns, crash, nft};
use offramp_ledger::delegate::Delegate;
use offramp_ledger::{VfLock, device_info};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// Who takes a bridge back that it made has it locked for milliseconds.
const BRIDGE_PATIENCE: Duration = Duration::from_secs(20);

/// An interface that is wished for; its addresses are found later.
enum Wish {
    /// A veth on a bridge.
    Bridge(Box<Spec>, Box<BridgeConf>),
    /// A VF, which is claimed.
    Vf(Box<VfSpec>, VfLock),
}

impl Wish {
    fn new(cx: &Context, id: &AttachmentId, netns: &Netns, link: Link) -> Result<Self, CniError> {
        Ok(match link {
            Link::Bridge(conf) => Self::Bridge(Box::new(bridge::spec(cx, id, netns, &conf)?), conf),
            Link::Vf(conf) => {
                let (spec, lock) = vf::claim(cx, id, netns, &conf)?;
                Self::Vf(Box::new(spec), lock)
            }
        })
    }

    fn dns(&mut self) -> &mut Dns {
        match self {
            Self::Bridge(spec, _) => &mut spec.dns,
            Self::Vf(spec, _) => &mut spec.dns,
        }
    }

    fn set_addresses(&mut self, addresses: Vec<Address>, routes: Vec<Route>) {
        match self {
            Self::Bridge(spec, conf) => {
                spec.routes = bridge::with_default_routes(routes, conf, &addresses);
                spec.addresses = addresses;
            }
            Self::Vf(spec, _) => (spec.addresses, spec.routes) = (addresses, routes),
        }
    }

    /// The gateway of an address that a delegated plugin gave.
    fn gateway(&self, ip: &Ip) -> Option<IpAddr> {
        match self {
            Self::Bridge(_, conf) => bridge::gateway(conf, ip),
            Self::Vf(..) => ip.gateway,
        }
    }

    fn plan(&self, id: &AttachmentId) -> Plan {
        match self {
            Self::Bridge(spec, _) => plan(id, spec),
            Self::Vf(spec, _) => core_vf::plan(spec),
        }
    }

    /// The plan, as far as it needs no addresses: the whole plan's steps begin with these.
    fn link_plan(&self, id: &AttachmentId) -> Plan {
        let plan = self.plan(id);
        let steps = match self {
            Self::Bridge(spec, _) => link_steps(spec, ifb_name(id)),
            Self::Vf(..) => {
                plan.steps.iter().take_while(|s| !matches!(s, Step::ConfigurePod(_))).cloned().collect()
            }
        };
        Plan { steps, firewall: Rules::default(), ..plan }
    }
}

/// Attaches, or leaves nothing behind.
pub fn add(cx: &mut Context, id: &AttachmentId, netns: &Netns) -> Result<CniResult, CniError> {
    let ModeConf::Inline { link, ipam } = cx.conf.mode.clone() else {
        return Err(CniError::internal("inline mode without a link"));
    };
    let mut wish = Wish::new(cx, id, netns, link)?;
    crash::point("vf.claimed");
    let mut record = record(cx, id, netns, wish.link_plan(id));
    let outcome = match &*ipam {
        Ipam::Delegate { plugin } => with_delegate(cx, &mut record, &mut wish, netns, plugin),
        Ipam::Own(own) => with_own_addresses(cx, &mut record, &mut wish, netns, own),
        Ipam::None => {
            let rules = plan_without_rules(&mut record, &wish);
            let written = cx.store.write(&record).map_err(Into::into);
            written.and_then(|()| wire(cx, &record, &wish, netns, 0)).map(|()| rules)
        }
    };
    let outcome = outcome.and_then(|rules| finish(cx, &mut record, rules));
    if let Err(e) = outcome {
        drop(wish); // and with it the VF's lock, unless something hangs
        return Err(take_back(cx, &mut record, e));
    }
    Ok(record.plan.result)
}

/// Undoes a failed ADD. What could not be undone is told, and stays in the record for DEL.
fn take_back(cx: &Context, record: &mut Record, error: CniError) -> CniError {
    if !cx.store.path(&record.attachment).exists() {
        vf::unclaim(cx, record); // it failed before the first change
        return error;
    }
    match release(cx, record) {
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
    wish: &mut Wish,
    netns: &Netns,
    own: &OwnIpam,
) -> Result<Rules, CniError> {
    let sets = range_sets(cx, own)?;
    let addresses = cx.store.addresses(&cx.conf.name, own.data_dir.as_deref());
    let wanted: Vec<IpAddr> = wanted(cx, own).collect();
    let locked = addresses.lock()?;
    let picked = locked.pick(&sets, &wanted)?;
    let ips: Vec<IpAddr> = picked.iter().map(|(ip, _)| *ip).collect();
    // An address that was asked for may have been another node's: then switches must learn its new place, from the
    // announcement that a random MAC needs.
    if let (Wish::Bridge(spec, _), None, [], [first, ..]) =
        (&mut *wish, bridge::wished_mac(cx), &*wanted, &*ips)
    {
        spec.mac = MacAddr::of_ip(*first);
    }
    let given = picked.iter().map(|(ip, r)| Address { ip: r.with_prefix(*ip), gateway: Some(r.gateway) });
    wish.set_addresses(given.collect(), own.routes.clone());
    if *wish.dns() == Dns::default()
        && let Some(path) = &own.resolv_conf
    {
        *wish.dns() = resolv_conf(path)?;
    }
    record.ipam = IpamHold::Files { dir: addresses.dir().to_owned() };
    let rules = plan_without_rules(record, wish);
    cx.store.write(record)?;
    crash::point("record.written");
    locked.claim(&record.attachment, &ips)?;
    crash::point("addresses.held");
    wire(cx, record, wish, netns, 0).map(|()| rules)
}

/// The link first, since a plugin such as `dhcp` needs it, then its addresses.
fn with_delegate(
    cx: &mut Context,
    record: &mut Record,
    wish: &mut Wish,
    netns: &Netns,
    plugin: &str,
) -> Result<Rules, CniError> {
    delegate(cx, plugin).find()?; // before the first change
    let (config, path, args) = (cx.conf.raw.clone(), cx.call.path.clone(), cx.call.raw_args.clone());
    record.ipam = IpamHold::Delegate { plugin: plugin.to_owned(), config, path, args };
    cx.store.write(record)?;
    crash::point("record.written");
    let done = record.plan.steps.len();
    wire(cx, record, wish, netns, 0)?;
    let sandbox = netns.path().display().to_string();
    let result = cx.timed("delegate", |cx| delegate(cx, plugin).add(&record.attachment, &sandbox))?;
    crash::point("delegate.added");
    if result.ips.is_empty() {
        return Err(CniError::config(format!("IPAM plugin {plugin} gave no address")));
    }
    let given = result.ips.iter().map(|ip| Address { ip: ip.address, gateway: wish.gateway(ip) }).collect();
    wish.set_addresses(given, result.routes);
    if *wish.dns() == Dns::default() {
        *wish.dns() = result.dns;
    }
    let rules = plan_without_rules(record, wish);
    cx.store.write(record)?;
    wire(cx, record, wish, netns, done).map(|()| rules)
}

/// Calls to a delegated plugin with this call's configuration.
pub fn delegate<'a>(cx: &'a Context, plugin: &'a str) -> Delegate<'a> {
    let Context { call, conf, .. } = cx;
    Delegate::ipam(plugin, &conf.raw, &call.path, &call.raw_args)
}

fn wire(cx: &mut Context, record: &Record, wish: &Wish, netns: &Netns, from: usize) -> Result<(), CniError> {
    // An ADD that fails takes the bridge back that it made, unless it has ports.
    let shared = match wish {
        Wish::Bridge(spec, _) => Some(cx.store.share_bridge(&spec.bridge.name, BRIDGE_PATIENCE)?),
        Wish::Vf(..) => None,
    };
    let mut executor = Executor::new(Some(netns))?;
    if let Wish::Vf(spec, lock) = wish {
        executor = executor.with_vfs(Host::default().with_lock(spec.vf.pci, lock.as_fd()));
    }
    let outcome = cx.execute(&mut executor, &record.plan.steps[from..]);
    drop(shared);
    outcome
}

/// The record's plan but for its rules, which are returned. Elements of nftables have no owner: until its addresses are
/// held, a record must not name any, or its DEL would remove those of whoever holds the addresses by then.
fn plan_without_rules(record: &mut Record, wish: &Wish) -> Rules {
    record.plan = wish.plan(&record.attachment);
    std::mem::take(&mut record.plan.firewall)
}

/// Rules and the word to the pod, then the record is ready.
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
    if let (Some(path), Some(vf)) = (&record.device_info, record.plan.vfs().next()) {
        device_info::write(path, vf)?;
        crash::point("device-info.written");
    }
    record.state = State::Ready;
    let own = record.plan.leave_bridge();
    if let Err(e) = cx.store.write(record) {
        record.plan.own_bridge_by(own);
        return Err(e.into());
    }
    crash::point("record.ready");
    Ok(())
}

/// 127.0.0.1:PORT on the node leads to the pod only if the bridge may route loopback addresses. After the rules,
/// which keep pods from the node's own loopback services.
fn allow_loopback_ports(record: &Record) -> Result<(), CniError> {
    let bridge = record.plan.result.interfaces.first().map(|i| i.name.as_str());
    match bridge.and_then(|b| b.parse().ok()) {
        Some(bridge) if !record.plan.firewall.host_ports.is_empty() => {
            Ok(nft::enable_route_localnet(&Sysctl::default(), &bridge).map(drop)?)
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
        device_info: cx.conf.runtime.device_info.clone(),
        networks: Vec::new(),
        // The network configuration asks, which is the administrator's.
        asked: Default::default(),
        numa: Default::default(),
        created: now(),
    }
}
