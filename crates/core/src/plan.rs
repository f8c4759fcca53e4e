//! From what is wished for to what must be done: a pure function.

use crate::cni::result::{CniResult, Interface, Ip, Route};
use crate::firewall::{HostPortRule, Masquerade, Rules, SpoofCheck};
use crate::ids::{AttachmentId, IfName, MacAddr};
use crate::net::Family;
use crate::nic::PciAddr;
use crate::pair::Pair;
use crate::queue::QueueRef;
use crate::spec::{Address, HostPort, Spec};
use crate::steer::SteerQueues;
use crate::step::{
    Announce, AttachPort, AttachRouted, AwaitCarrier, BindTo, BindVf, ConfigurePod, CreateNetkit,
    CreateNetkitL3, CreatePair, Gateway, HostRoute, KnowMac, LeaseQueues, Neighbours, Shape, Step, Undo,
};
use crate::vf::VfRef;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How an interface is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// A veth pair into a bridge.
    Veth,
    /// A netkit pair into a bridge.
    Netkit,
    /// A netkit pair that the node routes by, without a bridge.
    NetkitL3,
    /// A pair into a bridge with queues of a NIC: of netkit, whose pod end leases them, or any, to whose addresses they
    /// are dedicated.
    Queues,
    /// A VF's netdev, moved into the pod.
    Vf,
    /// A VF bound to vfio-pci, for userspace.
    VfUserspace,
}

impl Path {
    /// All packets go over the CPU: no device was lent.
    pub fn is_software(self) -> bool {
        matches!(self, Self::Veth | Self::Netkit | Self::NetkitL3)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Veth => "veth",
            Self::Netkit => "netkit",
            Self::NetkitL3 => "netkit-l3",
            Self::Queues => "queues",
            Self::Vf => "vf",
            Self::VfUserspace => "vf-userspace",
        })
    }
}

/// All that is done for one attachment, decided before anything is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How the interface is made.
    pub path: Path,
    /// Why this path.
    pub reason: String,
    /// In order; undone in reverse.
    pub steps: Vec<Step>,
    /// What nftables holds for it.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub firewall: Rules,
    /// What the runtime is told.
    pub result: CniResult,
}

impl Plan {
    /// The pod's addresses.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.result.ips.iter().map(|ip| ip.address.ip())
    }

    /// With a further interface of the same attachment: its steps follow, and are undone first.
    pub fn and(mut self, other: Plan) -> Self {
        let before = self.result.interfaces.len();
        self.steps.extend(other.steps);
        self.firewall.host_ports.extend(other.firewall.host_ports);
        self.firewall.masquerade.extend(other.firewall.masquerade);
        self.result.interfaces.extend(other.result.interfaces);
        let ips = other.result.ips.into_iter();
        self.result.ips.extend(ips.map(|ip| Ip { interface: ip.interface.map(|i| i + before), ..ip }));
        self.result.routes.extend(other.result.routes);
        self
    }

    /// The VFs it takes.
    pub fn vfs(&self) -> impl Iterator<Item = &VfRef> + '_ {
        self.steps.iter().filter_map(|s| match s {
            Step::ConfigureVf(v) => Some(&v.vf),
            _ => None,
        })
    }

    /// The queues of NICs that it has: those that it leases, and those to which its packets are led.
    pub fn queues(&self) -> impl Iterator<Item = QueueRef> + '_ {
        let leased = self.steps.iter().filter_map(|s| match s {
            Step::LeaseQueues(lease) => Some(lease.refs()),
            _ => None,
        });
        leased.flatten().chain(self.steering().into_iter().flat_map(SteerQueues::refs))
    }

    /// How its packets are led to queues of its own.
    pub fn steering(&self) -> Option<&SteerQueues> {
        self.steps.iter().find_map(|s| match s {
            Step::SteerQueues(steer) => Some(steer),
            _ => None,
        })
    }

    /// With queues of a NIC for the pod's end of its pair, which is one of netkit that has room for them. They are leased
    /// before the pair is plugged in: what a driver refuses is refused early.
    pub fn leasing(mut self, lease: LeaseQueues, reason: String) -> Self {
        let plug = self.steps.iter().position(|s| matches!(s, Step::AttachPort(_)));
        self.steps.insert(plug.unwrap_or(self.steps.len()), Step::LeaseQueues(lease));
        Self { path: Path::Queues, reason, ..self }
    }

    /// With queues of a NIC to which its packets are led. First of all: what a driver refuses is refused before anything
    /// else is made, and nothing leads to the addresses any more when the rest is gone.
    pub fn steered(mut self, steer: SteerQueues, reason: String) -> Self {
        self.steps.insert(0, Step::SteerQueues(steer));
        Self { path: Path::Queues, reason, ..self }
    }

    /// The pod's interface that is this VF.
    pub fn interface_of(&self, pci: PciAddr) -> Option<&Interface> {
        let pci = pci.to_string();
        self.result.interfaces.iter().find(|i| i.pci_id.as_ref() == Some(&pci))
    }

    /// How an interface of the pod is made.
    pub fn path_of(&self, interface: &Interface) -> Path {
        let is_this = |vf: &VfRef| Some(vf.pci.to_string()) == interface.pci_id;
        let for_userspace =
            |s: &Step| matches!(s, Step::BindVf(BindVf { vf, to: BindTo::VfioPci }) if is_this(vf));
        match interface.pci_id {
            None if interface.sandbox.is_some() && self.queues().next().is_some() => Path::Queues,
            None if self.steps.iter().any(|s| matches!(s, Step::CreateNetkit(_))) => Path::Netkit,
            None if self.steps.iter().any(|s| matches!(s, Step::CreateNetkitL3(_))) => Path::NetkitL3,
            None => Path::Veth,
            Some(_) if self.steps.iter().any(for_userspace) => Path::VfUserspace,
            Some(_) => Path::Vf,
        }
    }

    /// The bridge that is made, and taken back with the rest; see [`Plan::leave_bridge`].
    pub fn own_bridge(&self) -> Option<(&IfName, MacAddr)> {
        self.steps.iter().find_map(|s| match s.undo() {
            Some(Undo::RemoveBridge { name, mac }) => Some((name, mac)),
            _ => None,
        })
    }

    /// The attachment is made: whoever made its bridge, from here on it is shared, and stays. Answers by which MAC it
    /// was its own.
    pub fn leave_bridge(&mut self) -> Option<MacAddr> {
        self.bridge_mac().and_then(Option::take)
    }

    /// It is its own after all.
    pub fn own_bridge_by(&mut self, mac: Option<MacAddr>) {
        if let Some(of) = self.bridge_mac() {
            *of = mac;
        }
    }

    fn bridge_mac(&mut self) -> Option<&mut Option<MacAddr>> {
        self.steps.iter_mut().find_map(|step| match step {
            Step::EnsureBridge(bridge) => Some(&mut bridge.mac),
            _ => None,
        })
    }

    /// The host end and its MAC; one without has a name that is nobody else's.
    pub fn host_link(&self) -> Option<(&IfName, Option<MacAddr>)> {
        self.steps.iter().find_map(Step::host_link)
    }
}

/// The host end's name: `of` and 13 digits to base 36 of the attachment's hash, so that it can be found without a record.
pub fn host_ifname(id: &AttachmentId) -> IfName {
    derived_ifname("of", id.hash64())
}

/// The name of a host end that has no MAC by which it could be known again: `random` makes it another with each ADD.
pub fn host_ifname_without_mac(id: &AttachmentId, random: u64) -> IfName {
    derived_ifname("of", id.hash64() ^ random)
}

/// The name of the ifb that an attachment's egress passes.
pub fn ifb_name(id: &AttachmentId) -> IfName {
    derived_ifname("ob", id.hash64())
}

fn derived_ifname(prefix: &str, mut hash: u64) -> IfName {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut name = String::from(prefix);
    // 36^13 > 2^64: nothing of the hash is lost, and 2 + 13 bytes are what the kernel allows.
    for _ in 0..13 {
        name.push(char::from(DIGITS[(hash % 36) as usize]));
        hash /= 36;
    }
    #[expect(clippy::expect_used, reason = "15 characters of [0-9a-z] are always a name")]
    name.parse().expect("valid interface name")
}

/// The steps that make the link, before addresses are known. [`plan`] of the same spec begins with them.
pub fn link_steps(spec: &Spec, ifb: IfName) -> Vec<Step> {
    let mut steps = match spec.pair.pair {
        Pair::NetkitL3 => routed_steps(spec),
        Pair::Veth => bridged_steps(spec, Step::CreateVeth(create_pair(spec))),
        Pair::Netkit { rx_queues } => {
            let pair = create_pair(spec);
            bridged_steps(spec, Step::CreateNetkit(CreateNetkit { pair, rx_queues }))
        }
    };
    if spec.bandwidth.ingress.or(spec.bandwidth.egress).is_some() {
        steps.push(Step::Shape(Shape {
            link: spec.host_ifname.clone(),
            ifb,
            // Another address than the host end's, and as well known from the record.
            ifb_mac: MacAddr::local(u64::from_be_bytes(widen(spec.host_mac)) ^ 1),
            bandwidth: spec.bandwidth,
            mtu: spec.mtu,
        }));
    }
    steps
}

fn routed_steps(spec: &Spec) -> Vec<Step> {
    let link = spec.host_ifname.clone();
    let pair = CreateNetkitL3 { host: link.clone(), pod: spec.ifname.clone(), mtu: spec.mtu };
    vec![Step::CreateNetkitL3(pair), Step::AttachRouted(AttachRouted { link })]
}

fn create_pair(spec: &Spec) -> CreatePair {
    CreatePair {
        host: spec.host_ifname.clone(),
        host_mac: spec.host_mac,
        pod: spec.ifname.clone(),
        pod_mac: spec.mac,
        mtu: spec.mtu,
    }
}

fn bridged_steps(spec: &Spec, create: Step) -> Vec<Step> {
    let mut steps: Vec<Step> = spec.bridge.ensure.iter().cloned().map(Step::EnsureBridge).collect();
    steps.push(create);
    steps.push(Step::AttachPort(AttachPort {
        link: spec.host_ifname.clone(),
        bridge: spec.bridge.name.clone(),
        port: spec.port.clone(),
    }));
    // By now the bridge would pass on what a VF sends to the pod, once the NIC lets it through.
    let know = |port: &IfName| Step::KnowMac(KnowMac { port: port.clone(), mac: spec.mac });
    steps.extend(spec.bridge.inform.iter().map(know));
    steps
}

fn widen(mac: MacAddr) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac.octets();
    [0, 0, a, b, c, d, e, f]
}

/// The whole plan.
pub fn plan(id: &AttachmentId, spec: &Spec) -> Plan {
    let mut steps = link_steps(spec, ifb_name(id));
    let is_routed = spec.pair.pair == Pair::NetkitL3;
    let gateways = gateway_addresses(spec);
    if !gateways.is_empty() {
        steps.push(Step::Gateway(Gateway {
            bridge: spec.bridge.name.clone(),
            addresses: gateways,
            force: spec.bridge.force_address,
        }));
    }
    let ips: Vec<IpAddr> = spec.addresses.iter().map(|a| a.ip.ip()).collect();
    if spec.bridge.is_gateway && !is_routed && !ips.is_empty() {
        let bridge = spec.bridge.name.clone();
        steps.push(Step::Neighbours(Neighbours { bridge, ips: ips.clone(), mac: spec.mac }));
    }
    if !spec.leave_down {
        steps.push(Step::ConfigurePod(ConfigurePod {
            link: spec.ifname.clone(),
            mac: spec.mac,
            addresses: spec.addresses.clone(),
            routes: spec.routes.clone(),
            dad: spec.enable_dad,
            neighbours: Vec::new(),
        }));
        steps.push(Step::AwaitCarrier(AwaitCarrier {
            host: Some(spec.host_ifname.clone()),
            pod: spec.ifname.clone(),
            ips: ips.clone(),
        }));
        if !is_routed {
            steps.extend(announce(spec, ips.clone()));
        }
    }
    if is_routed {
        let (link, bridge) = (spec.host_ifname.clone(), spec.bridge.name.clone());
        steps.push(Step::HostRoute(HostRoute { link, bridge, ips, mac: None }));
    }
    Plan {
        path: spec.pair.pair.path(),
        reason: spec.pair.explain("no offload was asked for"),
        steps,
        firewall: rules(spec),
        result: result(spec),
    }
}

/// The bridge floods an announcement to every port, 5 ms with a thousand: only addresses from which the MAC does not
/// follow have had another one with an earlier pod.
fn announce(spec: &Spec, ips: Vec<IpAddr>) -> Option<Step> {
    let ips: Vec<IpAddr> = ips.into_iter().filter(|ip| MacAddr::of_ip(*ip) != spec.mac).collect();
    (!ips.is_empty()).then(|| Step::Announce(Announce { link: spec.ifname.clone(), mac: spec.mac, ips }))
}

/// The gateways' addresses that the plugin itself puts on the bridge; in node mode the daemon has done so.
fn gateway_addresses(spec: &Spec) -> Vec<IpNetwork> {
    if spec.bridge.ensure.is_none() || !spec.bridge.is_gateway || spec.pair.pair == Pair::NetkitL3 {
        return Vec::new();
    }
    let mut all: Vec<IpNetwork> = Vec::new();
    for address in &spec.addresses {
        let Some(gateway) = address.gateway else { continue };
        let net = crate::net::WithPrefix::with_prefix(IpNetwork::from(gateway), address.ip.prefix());
        if !all.contains(&net) {
            all.push(net);
        }
    }
    all
}

fn rules(spec: &Spec) -> Rules {
    let masquerade = |a: &Address| Masquerade { ip: a.ip.ip(), exempt: crate::net::network_of(a.ip) };
    Rules {
        host_ports: host_port_rules(&spec.addresses, &spec.host_ports),
        masquerade: spec.addresses.iter().filter(|_| spec.masquerade).map(masquerade).collect(),
        spoof_check: spec
            .mac_spoof_check
            .then(|| SpoofCheck { link: spec.host_ifname.clone(), mac: spec.mac }),
    }
}

/// A mapping leads to the pod's first address of each family that it is meant for.
pub(crate) fn host_port_rules(addresses: &[Address], ports: &[HostPort]) -> Vec<HostPortRule> {
    let of_family = |port: &HostPort, family| {
        let to = addresses.iter().map(|a| a.ip).find(|ip| Family::of(ip.ip()) == family)?;
        Some(HostPortRule {
            protocol: port.protocol,
            host_ip: port.host_ip,
            host_port: port.host_port,
            to: to.ip(),
            to_port: port.container_port,
            subnet: crate::net::network_of(to),
        })
    };
    let rules = |port: &HostPort| {
        let wanted = port.host_ip.map(Family::of).or(port.only);
        let families = Family::ALL.into_iter().filter(move |f| wanted.is_none_or(|w| w == *f));
        families.filter_map(|f| of_family(port, f)).collect::<Vec<_>>()
    };
    ports.iter().flat_map(rules).collect()
}

fn result(spec: &Spec) -> CniResult {
    let mtu = spec.mtu.map(crate::ids::Mtu::get);
    let interface = |name: &IfName, mac: Option<MacAddr>, sandbox: Option<String>, mtu| Interface {
        name: name.to_string(),
        mac: mac.map(|m| m.to_string()),
        mtu,
        sandbox,
        ..Default::default()
    };
    let via = |r: &Route| Route {
        gw: r.gw.or_else(|| {
            spec.addresses.iter().filter(|a| a.ip.is_ipv4() == r.dst.is_ipv4()).find_map(|a| a.gateway)
        }),
        ..r.clone()
    };
    let sandbox = Some(spec.sandbox.clone());
    let interfaces = match spec.pair.pair {
        Pair::NetkitL3 => {
            vec![interface(&spec.host_ifname, None, None, mtu), interface(&spec.ifname, None, sandbox, mtu)]
        }
        Pair::Veth | Pair::Netkit { .. } => vec![
            interface(&spec.bridge.name, None, None, None),
            interface(&spec.host_ifname, Some(spec.host_mac), None, mtu),
            interface(&spec.ifname, Some(spec.mac), sandbox, mtu),
        ],
    };
    let in_pod = interfaces.len() - 1;
    CniResult {
        interfaces,
        ips: spec
            .addresses
            .iter()
            .map(|a| Ip { address: a.ip, gateway: a.gateway, interface: Some(in_pod) })
            .collect(),
        routes: spec.routes.iter().map(via).collect(),
        dns: spec.dns.clone(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
