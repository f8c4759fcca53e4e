//! `offrampd explain`: all about a pod's interfaces.

use super::moved;
use super::table::fields;
use super::units::{join, rate, span};
use super::{queues, vfs};
use crate::traffic::InterfaceTraffic;
use offramp_core::AttachmentId;
use offramp_core::firewall::Rules;
use offramp_core::networks::Delegation;
use offramp_core::plan::Plan;
use offramp_core::record::{IpamHold, Mode, Record};
use offramp_core::spec::Bandwidth;
use offramp_core::step::Step;
use offramp_core::traffic::Share;
use offramp_core::vf::Claim;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All interfaces of a pod, of an older sandbox too.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// One attachment.
    Attachment(AttachmentId),
    /// All attachments of containers whose ID begins so.
    ContainerPrefix(String),
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            return text.parse().map(Self::Attachment).map_err(|e: offramp_core::ids::Invalid| e.to_string());
        }
        if let Some((namespace, name)) = text.split_once('/') {
            if namespace.is_empty() || name.is_empty() || name.contains('/') {
                return Err("a pod is written NAMESPACE/POD".into());
            }
            return Ok(Self::Pod { namespace: namespace.into(), name: name.into() });
        }
        if text.is_empty() {
            return Err("write NAMESPACE/POD, CONTAINER@IFNAME, or the beginning of a container's ID".into());
        }
        Ok(Self::ContainerPrefix(text.into()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { namespace, name } => write!(f, "pod {namespace}/{name}"),
            Self::Attachment(id) => write!(f, "attachment {id}"),
            Self::ContainerPrefix(prefix) => write!(f, "a container whose ID begins with {prefix}"),
        }
    }
}

impl Target {
    /// Whether `record` is meant.
    pub fn matches(&self, record: &Record) -> bool {
        match self {
            Self::Pod { namespace, name } => {
                record.pod.as_ref().is_some_and(|p| p.namespace == *namespace && p.name == *name)
            }
            Self::Attachment(id) => record.attachment == *id,
            Self::ContainerPrefix(prefix) => record.attachment.container.as_str().starts_with(prefix),
        }
    }

    /// Whether the attachment that has a VF, or had it last, is meant.
    pub fn matches_claim(&self, claim: &Claim) -> bool {
        match self {
            Self::Pod { namespace, name } => {
                claim.pod.as_ref().is_some_and(|p| p.namespace == *namespace && p.name == *name)
            }
            Self::Attachment(id) => claim.holder == *id,
            Self::ContainerPrefix(prefix) => claim.holder.container.as_str().starts_with(prefix),
        }
    }
}

/// A record, and what the kernel tells of its interfaces now.
#[derive(Debug, Serialize)]
pub struct Explained {
    #[serde(flatten)]
    record: Record,
    traffic: Vec<InterfaceTraffic>,
    share: Share,
}

impl Explained {
    /// With what was read already.
    pub fn new(record: Record, traffic: Vec<InterfaceTraffic>) -> Self {
        let share = crate::traffic::share(&traffic);
        Self { record, traffic, share }
    }

    /// Has the counters read.
    pub fn look(record: Record) -> Self {
        let traffic = crate::traffic::look(&record);
        Self::new(record, traffic)
    }
}

/// One paragraph an attachment, and one of the VFs that were `left`; `now` in seconds since 1970.
pub fn render(all: &[Explained], claims: &[Claim], left: &[&Claim], now: u64) -> String {
    let paragraphs = all.iter().map(|e| paragraph(e, claims, now)).chain([vfs::render_left(left)]);
    paragraphs.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

fn paragraph(explained: &Explained, claims: &[Claim], now: u64) -> String {
    let Explained { record: r, traffic, .. } = explained;
    let title = match &r.pod {
        Some(pod) => format!("{} of pod {pod}", r.attachment.ifname),
        None => r.attachment.to_string(),
    };
    let age = span(now.saturating_sub(r.created));
    let mut rows = Vec::new();
    list(&mut rows, "Asked", asked(r));
    list(&mut rows, "Path", path(&r.plan));
    rows.extend([
        ("State", state(r).to_owned()),
        ("Age", age),
        ("Container", r.attachment.container.to_string()),
    ]);
    rows.extend(r.pod.iter().filter(|p| !p.uid.is_empty()).map(|p| ("Pod UID", p.uid.clone())));
    rows.push(("Network", format!("{}, {}", r.network, planner(r))));
    rows.push(("Netns", format!("{} (inode {})", r.netns.path.display(), r.netns.inode)));
    list(&mut rows, "Interfaces", interfaces(&r.plan));
    list(&mut rows, "Addresses", addresses(r));
    list(&mut rows, "Routes", routes(&r.plan));
    list(&mut rows, "Networks", networks(r));
    list(&mut rows, "VFs", vfs::vfs(r, claims));
    list(&mut rows, "NUMA", moved::numa(&r.numa, traffic));
    let leased = queues::of_plan(&r.plan, traffic).into_iter();
    list(&mut rows, "Queues", leased.chain(moved::queues(traffic)).collect());
    list(&mut rows, "Settings", vfs::settings(&r.plan));
    list(&mut rows, "Host route", vfs::host_routes(&r.plan));
    list(&mut rows, "Representor", vfs::representors(&r.plan));
    list(&mut rows, "Claims", vfs::states(r, claims));
    list(&mut rows, "Ports", ports(&r.plan.firewall));
    list(&mut rows, "Firewall", firewall(&r.plan.firewall));
    list(&mut rows, "Bandwidth", bandwidth(&r.plan.steps));
    list(&mut rows, "DNS", dns(&r.plan));
    list(&mut rows, "Moved", moved::interfaces(traffic));
    rows.extend(moved::share(traffic).map(|share| ("Share", share)));
    rows.push(("Steps", join(r.plan.steps.iter().map(Step::name))));
    format!("{title}\n{}", fields("  ", &rows))
}

/// The annotations, a line each, or more where they have more.
fn asked(r: &Record) -> Vec<String> {
    let lines = |(key, value): (&String, &String)| {
        let mut lines = value.trim().lines();
        match (lines.next(), lines.next()) {
            (Some(only), None) => vec![format!("{key}: {only}")],
            _ => {
                let all = value.trim_end().lines().map(|line| format!("  {line}"));
                std::iter::once(format!("{key}:")).chain(all).collect()
            }
        }
    };
    r.asked.iter().flat_map(lines).collect()
}

/// The path and why, each candidate that was refused on a line of its own.
fn path(plan: &Plan) -> Vec<String> {
    let mut reasons = plan.reason.split("; ");
    let first = format!("{}: {}", plan.path, reasons.next().unwrap_or_default());
    std::iter::once(first).chain(reasons.map(str::to_owned)).collect()
}

/// The name before the first item only.
fn list(rows: &mut Vec<(&'static str, String)>, name: &'static str, items: Vec<String>) {
    rows.extend(items.into_iter().enumerate().map(|(i, item)| (if i == 0 { name } else { "" }, item)));
}

fn state(r: &Record) -> &'static str {
    use offramp_core::record::State;
    match r.state {
        State::Adding => "adding: steps may have been executed or not",
        State::Ready => "ready: all steps were executed",
        State::Deleting => "deleting: the remains are nobody's",
    }
}

fn planner(r: &Record) -> &'static str {
    match r.mode {
        Mode::Inline => "planned by the plugin from its network configuration",
        Mode::Node => "planned by the daemon",
    }
}

fn interfaces(plan: &Plan) -> Vec<String> {
    let describe = |i: &offramp_core::cni::result::Interface| {
        let mut parts = vec![i.name.clone()];
        parts.extend(i.mac.clone());
        parts.extend(i.mtu.map(|mtu| format!("MTU {mtu}")));
        parts.push(if i.sandbox.is_some() { "in the pod" } else { "on the node" }.into());
        parts.join("  ")
    };
    plan.result.interfaces.iter().map(describe).collect()
}

fn addresses(r: &Record) -> Vec<String> {
    let from = match &r.ipam {
        IpamHold::None => "given from outside".to_owned(),
        IpamHold::Daemon => "from the daemon".to_owned(),
        IpamHold::Files { dir } => format!("from {}", dir.display()),
        IpamHold::Delegate { plugin, .. } => format!("from the plugin {plugin}"),
    };
    let describe = |ip: &offramp_core::cni::result::Ip| {
        let interface = ip.interface.and_then(|place| r.plan.result.interfaces.get(place));
        // The daemon gives addresses on the pod network only.
        let further = r.mode == Mode::Node
            && interface.is_some_and(|i| i.sandbox.is_some() && i.name != r.attachment.ifname.as_str());
        let network = r.networks.iter().find(|d| interface.is_some_and(|i| i.name == d.ifname.as_str()));
        let from = match network.and_then(Delegation::ipam_type) {
            Some(ipam) => format!("by the network's ipam, {ipam}"),
            None if further => "as the pod asked".to_owned(),
            None => from.clone(),
        };
        match ip.gateway {
            Some(gateway) => format!("{}  gateway {gateway}  {from}", ip.address),
            None => format!("{}  {from}", ip.address),
        }
    };
    r.plan.result.ips.iter().map(describe).collect()
}

fn routes(plan: &Plan) -> Vec<String> {
    let describe = |r: &offramp_core::cni::result::Route| match r.gw {
        Some(gw) => format!("{} via {gw}", r.dst),
        None => format!("{} on link", r.dst),
    };
    plan.result.routes.iter().map(describe).collect()
}

/// Further networks that definitions describe.
fn networks(r: &Record) -> Vec<String> {
    let describe = |d: &Delegation| {
        let mut parts = vec![d.ifname.to_string(), d.network.clone()];
        if !d.makes_interface() {
            parts.push("a VF, as above".into());
            return parts.join("  ");
        }
        parts.push(format!("by {}", d.types()));
        match d.entry() {
            Some(entry) => {
                parts.extend(entry.ips.iter().map(ToString::to_string));
                parts.extend(entry.mac);
                parts.extend(entry.mtu.map(|mtu| format!("MTU {mtu}")));
            }
            None if d.is_begun() => parts.push("its plugins have not answered".into()),
            None => parts.push("its plugins were not started".into()),
        }
        parts.join("  ")
    };
    r.networks.iter().map(describe).collect()
}

fn ports(rules: &Rules) -> Vec<String> {
    let describe = |p: &offramp_core::firewall::HostPortRule| {
        let at = match p.host_ip {
            Some(ip) => SocketAddr::new(ip, p.host_port).to_string(),
            None => format!("port {} of the node", p.host_port),
        };
        format!("{} {at} to {}", p.protocol.as_str(), SocketAddr::new(p.to, p.to_port))
    };
    rules.host_ports.iter().map(describe).collect()
}

fn firewall(rules: &Rules) -> Vec<String> {
    let masquerade = rules.masquerade.iter().map(|m| format!("masquerade {} but to {}", m.ip, m.exempt));
    let spoof = rules.spoof_check.iter().map(|s| format!("{} may send from {} only", s.link, s.mac));
    masquerade.chain(spoof).collect()
}

fn bandwidth(steps: &[Step]) -> Vec<String> {
    let shaped = steps.iter().find_map(|s| match s {
        Step::Shape(shape) => Some(shape.bandwidth),
        _ => None,
    });
    let Some(Bandwidth { ingress, egress }) = shaped else { return Vec::new() };
    let show = |limit: Option<_>| limit.map_or_else(|| "no limit".to_owned(), rate);
    vec![format!("to the pod: {}", show(ingress)), format!("from the pod: {}", show(egress))]
}

fn dns(plan: &Plan) -> Vec<String> {
    let dns = &plan.result.dns;
    let part =
        |name: &str, list: &[String]| (!list.is_empty()).then(|| format!("{name} {}", list.join(", ")));
    let domain = dns.domain.iter().map(|d| format!("domain {d}"));
    let lists =
        [part("servers", &dns.nameservers), part("search", &dns.search), part("options", &dns.options)];
    lists.into_iter().flatten().chain(domain).collect()
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
