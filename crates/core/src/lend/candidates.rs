//! The VFs that could serve one interface, now or later, and why the others cannot.

use super::{Assigned, Hold, Holding, Node, OnUplink, Reason, Want, Why};
use crate::ids::IfName;
use crate::nic::{Eswitch, PciAddr, Port, Vf, VfNetdev};
use crate::pool::{Forbidden, Pool, settle};
use crate::vf::{LinkState, VfMode, VfRef, VfSettings};
use std::collections::BTreeMap;

/// A VF that could serve.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// By its place in the configuration.
    pub pool: usize,
    pub vf: VfRef,
    pub numa: Option<u32>,
    pub settings: VfSettings,
    pub netdev: Option<IfName>,
}

/// What was found for one interface.
#[derive(Default)]
pub(super) struct Found {
    /// Could serve now.
    pub free: Vec<Candidate>,
    /// Could serve later.
    pub awaited: Vec<Candidate>,
    /// Why the others cannot.
    pub reasons: Vec<Reason>,
}

impl Found {
    /// Of an interface that is not served: what is free goes to the pod's other interfaces.
    pub fn free_elsewhere(&self, node: &Node<'_>, want: &Want) -> impl Iterator<Item = Reason> {
        let mut free: BTreeMap<usize, usize> = BTreeMap::new();
        self.free.iter().for_each(|candidate| *free.entry(candidate.pool).or_default() += 1);
        free.into_iter().map(|(pool, n)| Reason {
            ifname: want.ifname.clone(),
            pool: Some(node.pools[pool].name.clone()),
            pf: None,
            why: Why::OtherInterfaces(n),
        })
    }

    /// What kubelet promised and the node has no more.
    fn refuse_vanished(&mut self, node: &Node<'_>, want: &Want, pool: &Pool) {
        let Assigned::Known(assigned) = &node.hints.assigned else { return };
        for (pci, resource) in assigned {
            if pool.resource.as_ref() == Some(resource) && node.inventory.vf(*pci).is_none() {
                self.refuse(want, Some(pool), None, Why::NoSuchDevice(*pci));
            }
        }
    }

    fn refuse(&mut self, want: &Want, pool: Option<&Pool>, port: Option<&Port>, why: Why) {
        self.reasons.push(Reason {
            ifname: want.ifname.clone(),
            pool: pool.map(|p| p.name.clone()),
            pf: port.map(|p| p.netdev.clone()),
            why,
        });
    }
}

/// Whether a VF can serve.
pub(super) enum Fit {
    Now,
    Later(Why),
    Never(Why),
}

pub(super) fn candidates(node: &Node<'_>, namespace: Option<&str>, want: &Want) -> Found {
    let mut found = Found::default();
    if let Some(pci) = want.device
        && let Some(why) = no_such_device(node, pci)
    {
        found.refuse(want, None, None, why);
        return found;
    }
    let named = |pool: &Pool| want.pool.as_ref().is_none_or(|name| *name == pool.name);
    let mut any = false;
    for (index, pool) in node.pools.iter().enumerate().filter(|(_, p)| named(p)) {
        if want.device.is_some_and(|pci| node.resolved.pool_of.get(&pci) != Some(&index)) {
            continue;
        }
        any = true;
        match admitted(pool, namespace, want) {
            Ok(settings) => look_at_vfs(&mut found, node, want, index, &settings),
            Err(whys) => whys.into_iter().for_each(|why| found.refuse(want, Some(pool), None, why)),
        }
    }
    if !any {
        let why = match (&want.pool, want.device) {
            _ if node.pools.is_empty() => Why::NoPools,
            (Some(name), None) => Why::NoSuchPool(name.clone()),
            (_, Some(pci)) => Why::DeviceOfOtherPool(pci),
            (None, None) => Why::NoPools,
        };
        found.refuse(want, None, None, why);
    }
    found
}

/// Why a VF that is asked for by its address is none that any pool has.
fn no_such_device(node: &Node<'_>, pci: PciAddr) -> Option<Why> {
    if node.pools.is_empty() || node.resolved.pool_of.contains_key(&pci) {
        return None;
    }
    let overlap = node.resolved.overlaps.iter().find(|o| o.vf.pci == pci);
    Some(match (overlap, node.inventory.vf(pci)) {
        (Some(overlap), _) => Why::Overlaps(overlap.pools.clone()),
        (None, Some(_)) => Why::DeviceOfNoPool(pci),
        (None, None) => Why::NoSuchDevice(pci),
    })
}

/// The settings, if the pool's policy has nothing against the interface.
fn admitted(pool: &Pool, namespace: Option<&str>, want: &Want) -> Result<VfSettings, Vec<Why>> {
    let mut whys = Vec::new();
    if !pool.policy.admits(namespace) {
        // Who may not use a pool need not be told more of it.
        return Err(vec![Why::Namespace(namespace.map(str::to_owned))]);
    }
    if want.eth0 && !pool.policy.eth0 {
        whys.push(Why::NotForEth0);
    }
    if want.eth0 && pool.mode == VfMode::Vfio {
        whys.push(Why::VfioEth0);
    }
    let settings = settle(pool, &want.settings).and_then(|settings| limited(settings, want.egress));
    if let Err(forbidden) = &settings {
        whys.extend(forbidden.iter().cloned().map(Why::Forbidden));
    }
    match settings {
        Ok(settings) if whys.is_empty() => Ok(if want.eth0 { for_eth0(settings) } else { settings }),
        _ => Err(whys),
    }
}

/// With the runtime's limit on sending, which cannot be below what the VF is guaranteed.
fn limited(settings: VfSettings, egress: Option<u32>) -> Result<VfSettings, Vec<Forbidden>> {
    let limits = [egress, settings.max_tx_rate].into_iter().flatten();
    let max_tx_rate = limits.filter(|rate| *rate > 0).min().or(settings.max_tx_rate);
    match (settings.min_tx_rate, max_tx_rate) {
        (Some(min), Some(max @ 1..)) if min > max => Err(vec![Forbidden {
            asked: format!("an egress bandwidth of {max} Mbit/s"),
            allowed: format!("minTxRate, {min} Mbit/s, and more"),
        }]),
        _ => Ok(VfSettings { max_tx_rate, ..settings }),
    }
}

/// On the pod network a VF has the address it was given: spoofchk is all that keeps it to that in legacy mode, and
/// trust would lift it. Its VLAN is the uplink's, which the pool does not know.
fn for_eth0(settings: VfSettings) -> VfSettings {
    let trust = settings.trust.filter(|on| *on).map(|_| false).or(settings.trust);
    VfSettings { spoofchk: Some(true), trust, vlan: None, ..settings }
}

fn look_at_vfs(found: &mut Found, node: &Node<'_>, want: &Want, pool: usize, settings: &VfSettings) {
    let config = &node.pools[pool];
    let wanted = |vf: &Vf| want.device.is_none_or(|pci| pci == vf.pci);
    let belongs = |vf: &Vf| node.resolved.pool_of.get(&vf.pci) == Some(&pool);
    let mut any = false;
    found.refuse_vanished(node, want, config);
    for (port, vf) in node.inventory.vfs().filter(|(_, vf)| belongs(vf) && wanted(vf)) {
        any = true;
        let candidate = || Candidate {
            pool,
            vf: port.vf_ref(vf),
            numa: port.numa,
            settings: settings.clone(),
            netdev: vf.netdev.on_host().cloned(),
        };
        let fit = match kept_by_kubelet(node, config, vf.pci) {
            Some(kept) => kept,
            None => fit(node, config, want.eth0, settings, (port, vf)),
        };
        match fit {
            Fit::Now => found.free.push(candidate()),
            Fit::Later(why) => {
                found.awaited.push(candidate());
                found.refuse(want, Some(config), Some(port), why);
            }
            Fit::Never(why) => found.refuse(want, Some(config), Some(port), why),
        }
    }
    if !any {
        let overlapping = node.resolved.overlaps.iter().find(|o| o.pools.contains(&config.name));
        let why = overlapping.map_or(Why::NoVfs, |o| Why::Overlaps(o.pools.clone()));
        found.refuse(want, Some(config), None, why);
    }
}

/// Kubelet alone lends the VFs of pools that have a resource.
fn kept_by_kubelet(node: &Node<'_>, pool: &Pool, pci: PciAddr) -> Option<Fit> {
    let resource = pool.resource.as_ref()?;
    match &node.hints.assigned {
        Assigned::Known(assigned) if assigned.get(&pci) == Some(resource) => None,
        Assigned::Known(_) => Some(Fit::Never(Why::NotAssigned(resource.clone()))),
        Assigned::Unknown(why) => Some(Fit::Later(Why::AssignmentUnknown(why.clone()))),
    }
}

/// What never goes away comes first: only what is left without it can be waited for.
pub(super) fn fit(
    node: &Node<'_>,
    pool: &Pool,
    eth0: bool,
    settings: &VfSettings,
    (port, vf): (&Port, &Vf),
) -> Fit {
    let driver = node.taken.free_driver(vf);
    match pool.mode {
        // What the VF is when it is free is not known.
        _ if node.taken.get(vf.pci).is_some_and(Holding::is_unclear) => {}
        VfMode::Netdev if driver.is_none_or(|d| d == "vfio-pci") => {
            return Fit::Never(Why::NoNetdev(driver.map(str::to_owned)));
        }
        VfMode::Vfio if vf.iommu_group.is_none() => return Fit::Never(Why::NoIommuGroup),
        VfMode::Netdev | VfMode::Vfio => {}
    }
    if let (Some(wanted), Some((refused, why))) = (settings.queues, node.hints.few_channels.get(&vf.pci))
        && wanted >= *refused
    {
        return Fit::Never(Why::NoChannels { wanted, why: why.clone() });
    }
    let unplugged = if eth0 { off_pod_network(node, pool, port) } else { None };
    if let Some(Fit::Never(why)) = unplugged {
        return Fit::Never(why);
    }
    match (node.taken.get(vf.pci), &vf.netdev) {
        (Some(holding), _) => {
            return Fit::Later(match &holding.hold {
                Hold::Lent => Why::Lent,
                Hold::Quarantine(why) => Why::Quarantine(why.clone()),
                Hold::Unclear(why) => Why::Unclear(why.clone()),
            });
        }
        (None, VfNetdev::Elsewhere { .. }) => return Fit::Later(Why::Elsewhere),
        (None, VfNetdev::None) if pool.mode == VfMode::Netdev => {
            return Fit::Never(Why::NoNetdev(driver.map(str::to_owned)));
        }
        (None, VfNetdev::None | VfNetdev::Host { .. }) => {}
    }
    if let Some(later) = unplugged {
        return later;
    }
    let is_plugged = eth0 || pool.bridge.is_some();
    if is_plugged && port.eswitch == Eswitch::Switchdev && vf.representor.is_none() {
        return Fit::Later(Why::NoRepresentor);
    }
    linkless(port, settings).map_or(Fit::Now, Fit::Later)
}

/// What keeps a port's VFs from the pod network. In switchdev mode their representors become ports of the pods' bridge,
/// wherever the uplink is.
fn off_pod_network(node: &Node<'_>, pool: &Pool, port: &Port) -> Option<Fit> {
    let never = |why: &String| Some(Fit::Never(Why::NoUplink(why.clone())));
    if let Some(why) = &node.hints.no_eth0 {
        return never(why);
    }
    if port.eswitch == Eswitch::Switchdev {
        return None;
    }
    let bond = port.controller.as_ref().filter(|c| node.hints.bonds.contains(c));
    match (&node.hints.uplink, bond.filter(|_| !pool.policy.allow_bond)) {
        (OnUplink::None(why), _) => never(why),
        (OnUplink::These(ports), _) if !ports.contains(&port.key) => Some(Fit::Never(Why::NotOnUplink)),
        (_, Some(bond)) => Some(Fit::Never(Why::Bond(bond.clone()))),
        (OnUplink::NoneYet(why), None) => Some(Fit::Later(Why::NoUplink(why.clone()))),
        (OnUplink::All | OnUplink::These(_), None) => None,
    }
}

/// Why a port's VFs have no link now.
pub(super) fn linkless(port: &Port, settings: &VfSettings) -> Option<Why> {
    // Frames between VFs of one PF need no wire where the VF is told that it has link.
    let own_link = matches!(settings.link_state, Some(LinkState::Enable | LinkState::Disable));
    if !port.up { Some(Why::PortDown) } else { (!port.carrier && !own_link).then_some(Why::NoLink) }
}
