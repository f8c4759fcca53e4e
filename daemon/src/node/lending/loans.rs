//! The VFs of one pod, and their plans.

use super::NoPath;
use crate::node::Node;
use offramp_core::cni::CniError;
use offramp_core::cni::result::Route;
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::ipam::Range;
use offramp_core::lend::{Lent, LentQueues};
use offramp_core::net::Family;
use offramp_core::pair::Pair;
use offramp_core::plan::Plan;
use offramp_core::pool::QueueKind;
use offramp_core::spec::Spec;
use offramp_core::steer::{SteerQueues, Takes};
use offramp_core::step::LeaseQueues;
use offramp_core::vf::uplink::UplinkPath;
use offramp_core::vf::{self, LinkState, Plug, PodBridge, Uplink, VfRef, VfSettings, VfSpec, VfState};
use offramp_core::wire::Prepare;
use offramp_core::wish::{InterfaceWish, Wishes};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The VFs of one pod, claimed.
pub struct Loans {
    /// Eth0's, and how it is on the pod network; none: it is no VF.
    pub eth0: Option<(Loan, Way)>,
    /// Queues that eth0 has; then it is no VF.
    pub queues: Option<LentQueues>,
    /// What of eth0's packets can be led to its queues.
    pub takes: Takes,
    /// What connects eth0 with the bridge where neither is lent.
    pub pair: Pair,
    /// Why eth0 is what it is.
    pub reason: String,
    /// The other interfaces', in the order of the wishes.
    pub others: Vec<Loan>,
    /// The NUMA nodes near to which they were looked for.
    pub numa: BTreeSet<u32>,
}

/// How a VF is on the pod network.
pub enum Way {
    /// By its embedded switch, through the uplink.
    Uplink(UplinkPath),
    /// By its representor, as a port of the pods' bridge.
    Bridge,
}

/// A VF, claimed.
pub struct Loan {
    pub(super) lent: Lent,
    pub(super) before: VfState,
    /// The PF has link.
    pub(super) carrier: bool,
    /// Its representor, and the bridge whose port that is to be.
    pub(super) plug: Option<(IfName, IfName)>,
}

impl Loans {
    pub(super) fn all(&self) -> impl Iterator<Item = &Loan> {
        self.eth0.iter().map(|(loan, _)| loan).chain(&self.others)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Loan> {
        self.eth0.iter_mut().map(|(loan, _)| loan).chain(&mut self.others)
    }

    /// The VFs.
    pub fn vfs(&self) -> impl Iterator<Item = &VfRef> {
        self.all().map(|loan| &loan.lent.vf)
    }

    /// The plan of eth0 as a VF that is on the pod network by its embedded switch.
    pub fn eth0_by_uplink(
        &self,
        ask: &Prepare,
        addresses: &[IpAddr],
        node: &Node,
        routes: &[Route],
    ) -> Option<Plan> {
        let Some((loan, Way::Uplink(path))) = &self.eth0 else { return None };
        // It keeps to the address that it has, so that it needs no rebind; the PF pins it.
        let settings = VfSettings {
            mac: loan.mac(),
            vlan: Some(vf::VlanTag { id: path.vlan, ..Default::default() }),
            mtu: node.view().pod_mtu.or(loan.lent.settings.mtu),
            // Trust, whoever gave it, would lift what pins the MAC.
            trust: loan.before.pf_side.trust.map(|_| false),
            ..loan.lent.settings.clone()
        };
        let uplink =
            Uplink { link: path.link.clone(), mac: path.mac, bridge: node.config.bridge.name.clone() };
        let spec = VfSpec {
            settings,
            addresses: addresses.iter().copied().map(vf::routed_address).collect(),
            routes: routes.to_vec(),
            host_ports: ask.host_ports.clone(),
            uplink: Some(uplink),
            ..loan.spec(ask)
        };
        let caveat = path.caveat.iter().map(|c| format!("; {c}")).collect::<String>();
        Some(Plan { reason: format!("{}{caveat}", self.reason), ..vf::plan(&spec) })
    }

    /// The MAC of a VF whose representor is a port of the pods' bridge.
    pub fn mac_on_bridge(&self) -> Option<MacAddr> {
        let Some((loan, Way::Bridge)) = &self.eth0 else { return None };
        loan.mac()
    }

    /// The plan of eth0 as a VF whose representor is a port of the pods' bridge; in all else it is as any pod there.
    pub fn eth0_on_bridge(&self, ask: &Prepare, pod: &Spec) -> Option<Plan> {
        let Some((loan, Way::Bridge)) = &self.eth0 else { return None };
        let pods = PodBridge { hairpin: pod.port.hairpin, inform: pod.bridge.inform.clone() };
        let settings = VfSettings {
            mtu: pod.mtu.or(loan.lent.settings.mtu),
            // The bridge, and not the embedded switch, keeps it to its MAC.
            spoofchk: None,
            trust: None,
            ..loan.lent.settings.clone()
        };
        let spec = loan.spec(ask);
        let plug = spec.plug.map(|plug| Plug { pods: Some(pods), ..plug });
        let spec = VfSpec {
            settings,
            addresses: pod.addresses.clone(),
            routes: pod.routes.clone(),
            host_ports: pod.host_ports.clone(),
            plug,
            ..spec
        };
        Some(Plan { reason: self.reason.clone(), ..vf::plan(&spec) })
    }

    /// What the pod's end of its pair leases.
    pub fn lease(&self, ask: &Prepare) -> Option<LeaseQueues> {
        let lent = self.queues.clone().filter(|lent| lent.kind == QueueKind::Lease);
        let LentQueues { port, nic, queues, .. } = lent?;
        Some(LeaseQueues { link: ask.attachment.ifname.clone(), port, nic, queues })
    }

    /// How what comes for the pod is led to its queues.
    pub fn steer(&self, ips: &[IpAddr]) -> Option<SteerQueues> {
        let lent = self.queues.clone().filter(|lent| lent.kind == QueueKind::Steer);
        let LentQueues { port, nic, queues, .. } = lent?;
        Some(SteerQueues { port, nic, queues, leads: self.takes.leads(ips.iter().copied()) })
    }

    /// The plans of the other interfaces.
    pub fn other_plans<'a>(
        &'a self,
        ask: &'a Prepare,
        wishes: &'a Wishes,
    ) -> impl Iterator<Item = Plan> + 'a {
        self.others.iter().zip(&wishes.interfaces).map(|(loan, wish)| loan.other_plan(ask, wish))
    }
}

impl Loan {
    fn other_plan(&self, ask: &Prepare, wish: &InterfaceWish) -> Plan {
        vf::plan(&VfSpec { addresses: wish.addresses.clone(), routes: wish.routes.clone(), ..self.spec(ask) })
    }

    pub(super) fn way(&self, path: Result<UplinkPath, NoPath>) -> Result<Way, CniError> {
        match (&self.plug, path) {
            (Some(_), _) => Ok(Way::Bridge),
            (None, Ok(path)) if path.ports.contains(&self.lent.vf.port) => Ok(Way::Uplink(path)),
            (None, Err(no)) => Err(CniError::limit(no.why)),
            // Its embedded switch was in switchdev mode a moment ago.
            (None, Ok(_)) => Err(CniError::try_again(format!("{} has no representor now", self.lent.vf))),
        }
    }

    /// The address that it will have.
    fn mac(&self) -> Option<MacAddr> {
        self.lent.settings.mac.or(self.present_mac())
    }

    fn present_mac(&self) -> Option<MacAddr> {
        self.before.netdev.as_ref().map(|n| n.mac).or(self.before.pf_side.mac)
    }

    fn spec(&self, ask: &Prepare) -> VfSpec {
        let Lent { ifname, vf, mode, settings, .. } = &self.lent;
        let state = settings.link_state.or(self.before.pf_side.link_state).unwrap_or_default();
        let link = match (&self.plug, state) {
            // The representor's link is the VF's.
            (Some(_), _) => settings.link_state != Some(LinkState::Disable),
            (None, LinkState::Auto) => self.carrier,
            (None, LinkState::Enable) => true,
            (None, LinkState::Disable) => false,
        };
        let plug = self.plug.clone().map(|(representor, bridge)| Plug { representor, bridge, pods: None });
        VfSpec {
            ifname: ifname.clone(),
            sandbox: ask.netns.path.display().to_string(),
            vf: vf.clone(),
            mode: *mode,
            settings: settings.clone(),
            present_mac: self.present_mac(),
            present_mtu: self.before.netdev.as_ref().map(|n| n.mtu),
            addresses: Vec::new(),
            routes: Vec::new(),
            dns: Default::default(),
            host_ports: Vec::new(),
            link,
            uplink: None,
            plug,
        }
    }
}

/// The default routes over eth0, but of families whose default route is another interface's: then over eth0 the
/// cluster's pods are reached, and no more.
pub fn eth0_routes(
    picked: &[(IpAddr, Range)],
    via: impl Fn(&(IpAddr, Range)) -> IpAddr,
    wishes: &Wishes,
    cluster: &[ipnetwork::IpNetwork],
) -> Vec<Route> {
    let of = |entry: &(IpAddr, Range)| -> Vec<Route> {
        let (family, gateway) = (Family::of(entry.0), Some(via(entry)));
        if wishes.default_elsewhere(family) {
            let same = cluster.iter().filter(|c| Family::of(c.ip()) == family);
            same.map(|c| Route::via(*c, gateway)).collect()
        } else {
            vec![Route::via(family.default_route(), gateway)]
        }
    };
    picked.iter().flat_map(of).collect()
}
