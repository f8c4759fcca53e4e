//! The plan of an interface that is a VF: the same from a network configuration (inline mode) and from the daemon.

use super::{LinkState, VfMode, VfRef, VfSettings};
use crate::cni::result::{CniResult, Dns, Interface, Ip, Route};
use crate::firewall::{Rules, SpoofCheck};
use crate::ids::{IfName, MacAddr};
use crate::net::Family;
use crate::plan::{Path, Plan, host_port_rules};
use crate::spec::{Address, HostPort};
use crate::step::{
    Announce, AwaitCarrier, BindTo, BindVf, ConfigurePod, ConfigureVf, HostRoute, KnowMac, MoveVf,
    Neighbours, NextHop, PlugRepresentor, Step,
};
use std::net::IpAddr;

/// An interface that is to be a VF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VfSpec {
    /// The pod's interface; in vfio mode a name only.
    pub ifname: IfName,
    /// The path of the pod's netns, for the result.
    pub sandbox: String,
    /// The VF.
    pub vf: VfRef,
    /// What it is to the pod.
    pub mode: VfMode,
    /// Settings.
    pub settings: VfSettings,
    /// The address that the VF has now: of its netdev, or the administrative one.
    pub present_mac: Option<MacAddr>,
    /// The link's MTU if `settings` has none, for the result.
    pub present_mtu: Option<u32>,
    /// Addresses; in vfio mode for the result only.
    pub addresses: Vec<Address>,
    /// Routes; likewise.
    pub routes: Vec<Route>,
    /// For the result.
    pub dns: Dns,
    /// Ports of the node that lead to the pod; on the pod network only.
    pub host_ports: Vec<HostPort>,
    /// Link is expected: the PF has it, and the VF's is not disabled.
    pub link: bool,
    /// It carries the pod network by its embedded switch; none: a network of its own, or see `plug`.
    pub uplink: Option<Uplink>,
    /// Its representor is made a port of a bridge; none: in legacy mode, or it is somebody else's affair.
    pub plug: Option<Plug>,
}

/// A VF's representor, as a port of a bridge: what a veth pair's host end is to another pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plug {
    /// The representor.
    pub representor: IfName,
    /// The bridge.
    pub bridge: IfName,
    /// The bridge is the pods' own, and the VF is on the pod network.
    pub pods: Option<PodBridge>,
}

/// What a VF on the pods' bridge has as all pods there have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodBridge {
    /// The port may send back what it received.
    pub hairpin: bool,
    /// PFs behind the bridge whose embedded switches must know the pod ([`crate::eswitch`]).
    pub inform: Vec<IfName>,
}

/// How a VF carries the pod network: its embedded switch is the wire between pod and node. The pod sends all to the
/// node, so that Services, masquerade and host ports work as for any pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The node's link on the VF's port: the PF, or a VLAN, bond or bridge on it.
    pub link: IfName,
    /// Its MAC.
    pub mac: MacAddr,
    /// The pods' bridge, where the node answers for the pod.
    pub bridge: IfName,
}

/// `rtm_protocol` of the node's routes to pods that are not on its bridge. All routes with this number are Offramp's.
pub const ROUTE_PROTOCOL: u8 = 214;

/// The next hop of a pod that is not on the bridge. No link has this address: its MAC is a permanent neighbour, or there
/// is none.
pub fn gateway(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([169, 254, 1, 1]),
        Family::V6 => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]),
    }
}

/// An address of a pod that is not on the bridge: it has no neighbours but the node.
pub fn routed_address(ip: IpAddr) -> Address {
    Address { ip: ip.into(), gateway: Some(gateway(Family::of(ip))) }
}

impl VfSpec {
    /// The address that the VF will have; none: vfio mode without an administrative one.
    pub fn mac(&self) -> Option<MacAddr> {
        self.settings.mac.or(self.present_mac)
    }
}

/// The plan. A VF keeps the address it has where none is asked for: a new one takes a rebind.
pub fn plan(spec: &VfSpec) -> Plan {
    let vf = &spec.vf;
    // First: what is set on the VF brings its representor up, which must be in its VLAN by then.
    let mut steps: Vec<Step> = plug(spec).into_iter().collect();
    steps.push(Step::ConfigureVf(ConfigureVf { vf: vf.clone(), settings: spec.settings.clone() }));
    match (spec.mode, spec.mac()) {
        (VfMode::Vfio, _) => steps.push(Step::BindVf(BindVf { vf: vf.clone(), to: BindTo::VfioPci })),
        (VfMode::Netdev, Some(mac)) => steps.extend(netdev_steps(spec, mac)),
        (VfMode::Netdev, None) => {}
    }
    Plan {
        path: match spec.mode {
            VfMode::Netdev => Path::Vf,
            VfMode::Vfio => Path::VfUserspace,
        },
        reason: format!("{vf}"),
        steps,
        firewall: Rules {
            host_ports: host_port_rules(&spec.addresses, &spec.host_ports),
            spoof_check: spoof_check(spec),
            ..Rules::default()
        },
        result: result(spec),
    }
}

fn plug(spec: &VfSpec) -> Option<Step> {
    let plug = spec.plug.as_ref()?;
    Some(Step::PlugRepresentor(PlugRepresentor {
        vf: spec.vf.clone(),
        representor: plug.representor.clone(),
        bridge: plug.bridge.clone(),
        mtu: spec.settings.mtu,
        vlan: spec.settings.vlan,
        up: spec.settings.link_state != Some(LinkState::Disable),
        hairpin: plug.pods.as_ref().is_some_and(|pods| pods.hairpin),
    }))
}

/// On the pod network a VF keeps to its MAC: in switchdev mode the bridge sees to that, where in legacy mode the embedded
/// switch does.
fn spoof_check(spec: &VfSpec) -> Option<SpoofCheck> {
    let plug = spec.plug.as_ref().filter(|plug| plug.pods.is_some())?;
    Some(SpoofCheck { link: plug.representor.clone(), mac: spec.mac()? })
}

fn netdev_steps(spec: &VfSpec, mac: MacAddr) -> Vec<Step> {
    let mut steps = Vec::new();
    if spec.settings.mac.is_some() && spec.settings.mac != spec.present_mac {
        steps.push(Step::BindVf(BindVf { vf: spec.vf.clone(), to: BindTo::SameAnew }));
    }
    steps.push(Step::MoveVf(MoveVf {
        vf: spec.vf.clone(),
        name: spec.ifname.clone(),
        mac,
        settings: spec.settings.clone(),
    }));
    let ips: Vec<IpAddr> = spec.addresses.iter().map(|a| a.ip.ip()).collect();
    if let Some(Plug { bridge, pods: Some(pods), .. }) = &spec.plug {
        let know = |port: &IfName| Step::KnowMac(KnowMac { port: port.clone(), mac });
        steps.extend(pods.inform.iter().map(know));
        steps.push(Step::Neighbours(Neighbours { bridge: bridge.clone(), ips: ips.clone(), mac }));
    }
    steps.push(Step::ConfigurePod(ConfigurePod {
        link: spec.ifname.clone(),
        mac,
        addresses: spec.addresses.clone(),
        routes: spec.routes.clone(),
        dad: false,
        neighbours: next_hops(spec),
    }));
    if spec.link {
        steps.push(Step::AwaitCarrier(AwaitCarrier {
            host: spec.plug.as_ref().map(|plug| plug.representor.clone()),
            pod: spec.ifname.clone(),
            ips: ips.clone(),
        }));
    }
    match &spec.uplink {
        Some(Uplink { link, bridge, .. }) => {
            steps.push(Step::HostRoute(HostRoute {
                link: link.clone(),
                bridge: bridge.clone(),
                ips,
                mac: Some(mac),
            }));
        }
        // Behind an uplink nobody but the node knows the pod's MAC, and it was told.
        None if spec.link && !ips.is_empty() => {
            steps.push(Step::Announce(Announce { link: spec.ifname.clone(), mac, ips }));
        }
        None => {}
    }
    steps
}

/// The node, in each family that the pod has.
fn next_hops(spec: &VfSpec) -> Vec<NextHop> {
    let Some(uplink) = &spec.uplink else { return Vec::new() };
    let has = |family: &Family| spec.addresses.iter().any(|a| Family::of(a.ip.ip()) == *family);
    Family::ALL.into_iter().filter(has).map(|f| NextHop { ip: gateway(f), mac: uplink.mac }).collect()
}

fn result(spec: &VfSpec) -> CniResult {
    let interface = Interface {
        name: spec.ifname.to_string(),
        mac: spec.mac().map(|m| m.to_string()),
        mtu: spec.settings.mtu.map(crate::ids::Mtu::get).or(spec.present_mtu),
        sandbox: Some(spec.sandbox.clone()),
        pci_id: Some(spec.vf.pci.to_string()),
        ..Interface::default()
    };
    let ip = |a: &Address| Ip { address: a.ip, gateway: a.gateway, interface: Some(0) };
    CniResult {
        interfaces: vec![interface],
        ips: spec.addresses.iter().map(ip).collect(),
        routes: spec.routes.clone(),
        dns: spec.dns.clone(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
