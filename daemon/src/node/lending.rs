//! Which VFs a pod gets: chosen by what it asks for, claimed, and planned. What is claimed here and not planned is
//! given back untouched.

use super::promised::Promise;
use super::{Caller, Node, now};
use offramp_core::cni::CniError;
use offramp_core::cni::error::codes;
use offramp_core::cni::result::Route;
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::ipam::Range;
use offramp_core::lend::{
    Choice, Eth0, Hints, Holding, LendRequest, Lent, OnUplink, Refusal, Taken, Want, choose_eth0,
};
use offramp_core::net::Family;
use offramp_core::nic::{Inventory, PciAddr};
use offramp_core::plan::Plan;
use offramp_core::spec::{Address, Spec};
use offramp_core::vf::uplink::{UplinkPath, resolve};
use offramp_core::vf::{
    self, Claim, LinkState, Plug, PodBridge, RepresentorState, Uplink, VfMode, VfRef, VfSettings, VfSpec,
    VfState,
};
use offramp_core::wire::Prepare;
use offramp_core::wish::{INTERFACES, InterfaceWish, Offload, Wishes};
use offramp_kernel::netlink::Socket;
use offramp_kernel::sysfs;
use offramp_kernel::uplink::node_links;
use offramp_kernel::{addr, link};
use offramp_ledger::Error;
use offramp_ledger::claims::Claimed;
use offramp_ledger::lending::{self, Borrower};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{MutexGuard, TryLockError};
use std::time::{Duration, Instant};

/// Another may claim what was chosen, since inline plugins ask nobody; so often in a row, they want all there is.
const ATTEMPTS: usize = 8;

/// How long another choice, or whoever makes VFs, is waited for.
const CHOOSING_PATIENCE: Duration = Duration::from_secs(15);

/// The VFs of one pod, claimed.
pub struct Loans {
    /// Eth0's, and how it is on the pod network; none: it is a veth.
    pub eth0: Option<(Loan, Way)>,
    /// Why eth0 is what it is.
    pub reason: String,
    /// The other interfaces', in the order of the wishes.
    pub others: Vec<Loan>,
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
    lent: Lent,
    before: VfState,
    /// The PF has link.
    carrier: bool,
    /// Its representor, and the bridge whose port that is to be.
    plug: Option<(IfName, IfName)>,
}

impl Node {
    /// Chooses and claims. The caller holds the attachment's lock.
    pub(super) fn lend(&self, ask: &Prepare, wishes: &Wishes, caller: Caller) -> Result<Loans, CniError> {
        if wishes.offload == Offload::None && wishes.interfaces.is_empty() {
            return Ok(Loans { eth0: None, reason: "no offload was asked for".into(), others: Vec::new() });
        }
        check_addresses(self, wishes)?;
        let promise = self.promise(ask).without(&wishes.handed);
        // Others are not kept from choosing meanwhile.
        let held = self.await_holders(&promise, caller);
        let loans = self.choose_and_claim(ask, wishes, &promise, held)?;
        self.tell_unused(ask, &promise, loans.all().map(|loan| &loan.lent));
        Ok(loans)
    }

    /// `held` is in the way of what kubelet has promised.
    fn choose_and_claim(
        &self,
        ask: &Prepare,
        wishes: &Wishes,
        promise: &Promise,
        held: Option<Claim>,
    ) -> Result<Loans, CniError> {
        // One choice at a time: the next sees what this one claims.
        let _one = self.choosing()?;
        // What the watch saw last will do if all that is wished for is found in it: claiming looks at the VF itself.
        if let Ok(loans) = self.lend_of(ask, wishes, promise, &self.nics.inventory(), &[]) {
            if loans.eth0.is_some() || wishes.offload == Offload::None {
                return Ok(loans);
            }
            self.give_back(ask, loans.vfs());
        }
        let mut lost = Vec::new();
        for _ in 0..ATTEMPTS {
            let now = sysfs::read(&self.sysfs(), &[])?;
            match self.lend_of(ask, wishes, promise, &now, &lost) {
                Ok(loans) => return Ok(loans),
                Err(Miss::Lost(lent, e)) if e.code == codes::TRY_AGAIN => lost.push((lent, e.msg)),
                Err(Miss::Lost(_, e) | Miss::Other(e)) => return Err(e),
                Err(Miss::Refused(refusal)) => {
                    self.metrics.refused(&refusal);
                    if let Some(claim) = held.filter(|_| refusal.waiting_helps) {
                        return Err(promised_twice(claim));
                    }
                    return Err(refusal.into_error(wishes.offload, &ask.attachment.ifname));
                }
            }
        }
        Err(CniError::try_again(format!("others claimed {} VFs in a row", lost.len())))
    }

    /// Whoever makes VFs has this for as long as the driver takes; a plugin does not wait that long.
    fn choosing(&self) -> Result<MutexGuard<'_, ()>, CniError> {
        let deadline = Instant::now() + CHOOSING_PATIENCE;
        loop {
            match self.lending.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(CniError::try_again("VFs are being made or lent, and that takes long"));
                }
            }
        }
    }

    /// Of what this inventory has, without those that were `lost` to others just now.
    fn lend_of(
        &self,
        ask: &Prepare,
        wishes: &Wishes,
        promise: &Promise,
        inventory: &Inventory,
        lost: &[(PciAddr, String)],
    ) -> Result<Loans, Miss> {
        let path = self.uplink_path(inventory);
        let mut taken = self.taken()?;
        for (pci, why) in lost {
            taken.insert(*pci, Holding::unclear(why));
        }
        check_macs(ask, wishes, inventory, path.as_ref().ok())?;
        let hints = hints(ask, promise, path.as_ref());
        let choice = self.choose(ask, wishes, (inventory, &taken), &hints).map_err(Miss::Refused)?;
        self.claim_all(ask, choice, path)
    }

    fn choose(
        &self,
        ask: &Prepare,
        wishes: &Wishes,
        (inventory, taken): (&Inventory, &Taken),
        hints: &Hints,
    ) -> Result<Choice, Refusal> {
        let namespace = ask.pod.as_ref().map(|p| p.namespace.clone());
        let others = LendRequest::further(namespace, wishes);
        let mut eth0 = Want::eth0(ask.attachment.ifname.clone(), wishes);
        // What the runtime says may come from the pod's author: the policy judges it.
        eth0.settings.mac = ask.mac;
        eth0.egress = ask.bandwidth.egress.map(|rate| mbits(rate.bytes_per_second));
        choose_eth0(wishes.offload, &eth0, &others, &self.config.pools, inventory, taken, hints)
    }

    /// Who has which VF. One whose claim cannot be read is somebody's.
    pub(crate) fn taken(&self) -> Result<Taken, CniError> {
        Ok(taken(&self.store.claims().list()?))
    }

    /// All, or none.
    fn claim_all(
        &self,
        ask: &Prepare,
        choice: Choice,
        path: Result<UplinkPath, NoPath>,
    ) -> Result<Loans, Miss> {
        let mut done: Vec<VfRef> = Vec::new();
        let mut claim = |lent: Lent, bridge: Option<&IfName>| -> Result<Loan, Miss> {
            let pci = lent.vf.pci;
            let loan = self.claim(ask, lent, bridge).map_err(|e| Miss::Lost(pci, e))?;
            done.push(loan.lent.vf.clone());
            Ok(loan)
        };
        let all = || -> Result<Loans, Miss> {
            let (eth0, reason) = match choice.eth0 {
                Eth0::Veth { reason } => (None, reason),
                Eth0::Vf(lent) => {
                    let reason = format!("{} of pool {}", lent.vf, lent.pool);
                    let loan = claim(*lent, Some(&self.config.bridge.name))?;
                    let way = loan.way(path).map_err(|e| Miss::Lost(loan.lent.vf.pci, e))?;
                    (Some((loan, way)), reason)
                }
            };
            let others = choice.others.into_iter();
            let others =
                others.map(|lent| claim(lent.clone(), self.bridge_of(&lent))).collect::<Result<_, _>>()?;
            Ok(Loans { eth0, reason, others })
        };
        let outcome = all();
        if outcome.is_err() {
            self.give_back(ask, &done);
        }
        outcome
    }

    /// The bridge that its pool has for representors.
    fn bridge_of(&self, lent: &Lent) -> Option<&IfName> {
        self.config.pools.iter().find(|pool| pool.name == lent.pool)?.bridge.as_ref()
    }

    /// In switchdev mode the VF's representor is to be a port of `bridge`.
    fn claim(&self, ask: &Prepare, lent: Lent, bridge: Option<&IfName>) -> Result<Loan, CniError> {
        let (pod, pool) = (ask.pod.as_ref(), Some(lent.pool.as_str()));
        let borrower = Borrower { holder: &ask.attachment, pod, pool, now: now() };
        let fits = |vf: &VfRef, state: &VfState| match (lent.mode, &state.netdev, &state.representor) {
            (VfMode::Netdev, None, _) => {
                Err(CniError::try_again(format!("{vf} has no interface on the node now")))
            }
            (_, _, Some(RepresentorState { name, controller: Some(controller), .. })) if bridge.is_some() => {
                Err(CniError::try_again(format!("{vf}: its representor {name} is a port of {controller}")))
            }
            (mode, ..) => Ok(mode),
        };
        let (claim, _lock) = lending::claim(&self.store, &lent.vf, borrower, &fits, Duration::ZERO)?;
        let pf = Socket::open().and_then(|mut socket| link::find(&mut socket, &lent.vf.pf));
        let carrier = matches!(pf, Ok(Some(l)) if l.carrier);
        let Claim { before, .. } = claim;
        let plug = before.representor.as_ref().map(|r| r.name.clone()).zip(bridge.cloned());
        Ok(Loan { lent, before, carrier, plug })
    }

    /// Nothing was done to them. What fails here is found by the cleaner: a claim without a record is nobody's.
    pub(super) fn give_back<'a>(&self, ask: &Prepare, vfs: impl IntoIterator<Item = &'a VfRef>) {
        for vf in vfs {
            if let Err(e) = lending::unclaim(&self.store, vf.pci, &ask.attachment) {
                tracing::warn!(%vf, error = %e, "cannot give it back yet, the cleaner will");
            }
        }
    }

    /// By which link, and from which ports' VFs, the pod network can be reached; or why by none.
    pub(super) fn uplink_path(&self, inventory: &Inventory) -> Result<UplinkPath, NoPath> {
        let passing = |why: String| NoPath { why, passing: true };
        let uplink = self.view().uplink.as_ref().map(|u| u.name.clone());
        // A link that is down has no routes, by which it would be found.
        let uplink = uplink.ok_or_else(|| passing("the node's uplink is not known, or is down".into()))?;
        let links =
            Socket::open().and_then(|mut s| node_links(&mut s)).map_err(|e| passing(e.to_string()))?;
        resolve(&uplink, &links, inventory, &crate::eswitch::synced(self))
            .map_err(|why| NoPath { why, passing: false })
    }
}

/// Why the pod network cannot be reached by a VF.
#[derive(Debug)]
pub struct NoPath {
    /// Why.
    pub why: String,
    /// It may be otherwise soon.
    passing: bool,
}

/// Who has which VF, by the claims. One that cannot be read is somebody's.
pub(super) fn taken(claimed: &Claimed) -> Taken {
    let mut taken: Taken = claimed.claims.iter().collect();
    for error in &claimed.unreadable {
        let Error::Unreadable { path, .. } = error else { continue };
        let Some(pci) = path.file_name().and_then(|n| n.to_str()?.parse().ok()) else { continue };
        taken.insert(pci, Holding::unclear("its claim cannot be read"));
    }
    taken
}

/// Why a VF was not had.
enum Miss {
    /// There is none.
    Refused(Refusal),
    /// It was chosen, and could not be claimed.
    Lost(PciAddr, CniError),
    /// Something else.
    Other(CniError),
}

impl<E: Into<CniError>> From<E> for Miss {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

fn promised_twice(claim: Claim) -> CniError {
    let why = "kubelet has promised it to this pod too: the pod gets it when it is free";
    CniError::from(Error::Claimed(Box::new(claim))).with_details(why)
}

/// A pod's author may not have the addresses of the node, of other nodes, or of the cluster's pods announced.
fn check_addresses(node: &Node, wishes: &Wishes) -> Result<(), CniError> {
    let cluster = node.cluster_cidrs();
    if wishes.interfaces.iter().all(|wish| wish.addresses.is_empty()) {
        return Ok(());
    }
    let view = node.view();
    let local = addr::all(&mut Socket::open()?)?;
    let nodes: HashSet<IpAddr> =
        local.into_iter().chain(view.peers.iter().flat_map(|p| p.endpoints.clone())).collect();
    for wish in &wishes.interfaces {
        for ip in wish.addresses.iter().map(|a| a.ip.ip()) {
            let whose = match ip {
                // An IPv4 address that looks like none.
                IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "IPv4",
                _ if nodes.contains(&ip) => "a node",
                _ if cluster.iter().any(|net| net.contains(ip)) => "the cluster's pods",
                _ => continue,
            };
            let what = format!("annotation {INTERFACES}: {} cannot have {ip}", wish.name);
            return Err(CniError::forbidden(format!("{what}: it is an address of {whose}")));
        }
    }
    Ok(())
}

/// Nobody gets the MAC of a port or of the node's uplink.
fn check_macs(
    ask: &Prepare,
    wishes: &Wishes,
    inventory: &Inventory,
    path: Option<&UplinkPath>,
) -> Result<(), CniError> {
    let own = |mac: &MacAddr| {
        path.is_some_and(|p| p.mac == *mac) || inventory.ports.iter().any(|p| p.mac == Some(*mac))
    };
    let eth0 = ask.mac.filter(|_| wishes.offload != Offload::None);
    match eth0.into_iter().chain(wishes.interfaces.iter().filter_map(|i| i.settings.mac)).find(own) {
        Some(mac) => Err(CniError::forbidden(format!("MAC {mac} is one of the node's own"))),
        None => Ok(()),
    }
}

/// What is known besides pools and claims.
fn hints(ask: &Prepare, promise: &Promise, path: Result<&UplinkPath, &NoPath>) -> Hints {
    let no_eth0 =
        ask.bandwidth.ingress.map(|_| "a VF cannot limit what it receives (ingress bandwidth)".to_owned());
    let uplink = match path {
        Ok(path) => OnUplink::These(path.ports.iter().cloned().collect()),
        Err(NoPath { why, passing: true }) => OnUplink::NoneYet(why.clone()),
        Err(NoPath { why, passing: false }) => OnUplink::None(why.clone()),
    };
    let bonds = path.ok().and_then(|p| p.bond.clone()).into_iter().collect();
    Hints { numa: promise.numa.clone(), uplink, no_eth0, bonds, assigned: promise.assigned.clone() }
}

impl Loans {
    fn all(&self) -> impl Iterator<Item = &Loan> {
        self.eth0.iter().map(|(loan, _)| loan).chain(&self.others)
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
        let address = |ip: &IpAddr| Address { ip: (*ip).into(), gateway: Some(vf::gateway(Family::of(*ip))) };
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
            addresses: addresses.iter().map(address).collect(),
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

    fn way(&self, path: Result<UplinkPath, NoPath>) -> Result<Way, CniError> {
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

/// Mbit/s that are at least so many bytes a second.
fn mbits(bytes_per_second: u64) -> u32 {
    u32::try_from(bytes_per_second.saturating_mul(8).div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
