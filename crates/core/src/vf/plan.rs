//! The plan of an interface that is a VF: the same from a network configuration (inline mode) and from the daemon.

use super::{VfMode, VfRef, VfSettings};
use crate::cni::result::{CniResult, Dns, Interface, Ip, Route};
use crate::firewall::Rules;
use crate::ids::{IfName, MacAddr};
use crate::plan::{Path, Plan};
use crate::spec::Address;
use crate::step::{Announce, AwaitCarrier, BindTo, BindVf, ConfigurePod, ConfigureVf, MoveVf, Step};
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
    /// Link is expected: the PF has it, and the VF's is not disabled.
    pub link: bool,
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
    let mut steps = vec![Step::ConfigureVf(ConfigureVf { vf: vf.clone(), settings: spec.settings.clone() })];
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
        firewall: Rules::default(),
        result: result(spec),
    }
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
    steps.push(Step::ConfigurePod(ConfigurePod {
        link: spec.ifname.clone(),
        mac,
        addresses: spec.addresses.clone(),
        routes: spec.routes.clone(),
        dad: false,
    }));
    if spec.link {
        let ips: Vec<IpAddr> = spec.addresses.iter().map(|a| a.ip.ip()).collect();
        steps.push(Step::AwaitCarrier(AwaitCarrier {
            host: None,
            pod: spec.ifname.clone(),
            ips: ips.clone(),
        }));
        if !ips.is_empty() {
            steps.push(Step::Announce(Announce { link: spec.ifname.clone(), mac, ips }));
        }
    }
    steps
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
