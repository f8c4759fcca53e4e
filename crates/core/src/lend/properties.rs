//! What holds of every request on every node.

use super::cases::{Case, case};
use super::fixture::*;
use super::*;
use crate::ids::Mtu;
use crate::nic::VfNetdev;
use crate::vf::{LinkState, VlanProto};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A VF is given back: as it was before, with its netdev on the host.
fn give_back(case: &mut Case, pci: PciAddr) {
    let before = case.taken.remove(pci);
    for port in &mut case.inventory.ports {
        for vf in port.vfs.iter_mut().filter(|vf| vf.pci == pci) {
            if let Some(before) = before.as_ref().filter(|before| !before.is_unclear()) {
                vf.driver = before.driver.clone();
                vf.netdev = VfNetdev::None;
            }
            if vf.driver.as_deref() == Some(NETDEV_DRIVER) {
                vf.netdev = VfNetdev::Host { name: "home0".parse().unwrap() };
            }
        }
    }
}

/// What pods hold is given back, all ports have link, and the uplink is known.
pub fn all_free(mut case: Case) -> Case {
    let all: Vec<PciAddr> = case.inventory.vfs().map(|(_, vf)| vf.pci).collect();
    all.into_iter().for_each(|pci| give_back(&mut case, pci));
    case.inventory.ports.iter_mut().for_each(|p| (p.up, p.carrier) = (true, true));
    if matches!(case.hints.uplink, OnUplink::NoneYet(_)) {
        case.hints.uplink = OnUplink::All;
    }
    case
}

/// The rules, written down a second time and without the search.
pub fn may_have(case: &Case, want: &Want, lent: &Lent) -> Result<(), String> {
    let check = |ok: bool, what: &str| if ok { Ok(()) } else { Err(format!("{what}: {lent:?}")) };
    let (port, vf) = case.inventory.vf(lent.vf.pci).ok_or("no such VF")?;
    let selecting = |p: &&Pool| p.selectors.iter().any(|s| s.selects(port, vf, vf.driver.as_deref()));
    let pools: Vec<&Pool> = case.pools.iter().filter(selecting).collect();
    check(pools.len() == 1 && pools[0].name == lent.pool, "in exactly this pool")?;
    let (pool, policy, got) = (pools[0], &pools[0].policy, &lent.settings);
    check(case.taken.get(vf.pci).is_none(), "free")?;
    check(policy.admits(case.request.namespace.as_deref()), "namespace")?;
    check(want.pool.as_ref().is_none_or(|p| *p == lent.pool), "the pool that was named")?;
    check(want.device.is_none_or(|pci| pci == vf.pci), "the device that was named")?;
    let own_link = matches!(got.link_state, Some(LinkState::Enable | LinkState::Disable));
    check(port.up && (port.carrier || own_link), "link")?;
    check(lent.mode == pool.mode, "mode")?;
    check(lent.mode == VfMode::Vfio || lent.netdev.is_some(), "netdev")?;
    let bonded = port.controller.as_ref().is_some_and(|c| case.hints.bonds.contains(c));
    check(!want.eth0 || policy.eth0 && pool.mode == VfMode::Netdev, "eth0")?;
    check(!want.eth0 || !bonded || policy.allow_bond, "bond")?;
    let on_uplink = match &case.hints.uplink {
        OnUplink::All => true,
        OnUplink::These(ports) => ports.contains(&port.key),
        OnUplink::None(_) | OnUplink::NoneYet(_) => false,
    };
    check(!want.eth0 || on_uplink && case.hints.no_eth0.is_none(), "uplink")?;
    let few = case.hints.few_channels.get(&vf.pci).is_some_and(|(few, _)| got.queues >= Some(*few));
    check(!few, "channels")?;
    on_the_pf(pool, want, got).map_err(|what| format!("{what}: {lent:?}"))?;
    on_the_netdev(pool, want, got).map_err(|what| format!("{what}: {lent:?}"))
}

/// Likewise of queues.
pub fn may_lease(node: &NodeQueues, count: Option<u32>, lent: &LentQueues) -> Result<(), String> {
    let check = |ok: bool, what: &str| if ok { Ok(()) } else { Err(format!("{what}: {lent:?}")) };
    let pool = node.pools.iter().find(|p| p.name == lent.pool).ok_or("no such pool")?;
    let nic = node.lessor(pool, &lent.nic).ok_or("no such NIC")?;
    let all = u32::try_from(lent.queues.len()).ok();
    check(pool.admits(Some("team-a")), "namespace")?;
    check(all == count && all <= Some(pool.max_queues), "as many as are wanted and allowed")?;
    check(nic.fault.is_none() && nic.port == lent.port && lent.kind == pool.kind, "a NIC that lends")?;
    check(lent.queues.array_windows().all(|[a, b]| a < b), "each once")?;
    for queue in &lent.queues {
        let number = u16::try_from(*queue).map_err(|e| e.to_string())?;
        let named = pool.nics.iter().any(|n| n.of == lent.nic && n.has(number));
        check(named && *queue < nic.queues, "in the pool")?;
        check(node.taken.get(&nic.port, *queue).is_none() && !nic.in_use.contains_key(queue), "free")?;
    }
    Ok(())
}

fn on_the_pf(pool: &Pool, want: &Want, got: &VfSettings) -> Result<(), &'static str> {
    let (policy, default, wish) = (&pool.policy, &pool.defaults, &want.settings);
    let check = |ok: bool, what| if ok { Ok(()) } else { Err(what) };
    check(got.mac == wish.mac.or(default.mac) && (policy.mac || got.mac == default.mac), "mac")?;
    check(policy.trust || got.trust != Some(true) || default.trust == Some(true), "trust")?;
    let checked = got.spoofchk != Some(false);
    check(policy.spoofchk_off || checked || default.spoofchk == Some(false), "spoofchk")?;
    check(policy.link_state || got.link_state == default.link_state, "link state")?;
    check(got.link_state == wish.link_state.or(default.link_state), "link state as asked for")?;
    if want.eth0 {
        check(got.spoofchk == Some(true) && got.trust != Some(true) && got.vlan.is_none(), "eth0 is pinned")?;
    } else {
        check(got.trust == wish.trust.or(default.trust), "trust as asked for")?;
        check(got.spoofchk == wish.spoofchk.or(default.spoofchk), "spoofchk as asked for")?;
        check(got.vlan == wish.vlan.or(default.vlan), "vlan as asked for")?;
    }
    if let Some(tag) = got.vlan.filter(|_| got.vlan != default.vlan) {
        let proto = tag.id.is_none()
            || policy.vlan_protocols.contains(&tag.proto)
            || policy.vlan_protocols.is_empty() && tag.proto == VlanProto::Q;
        let id = tag.id.map_or(0, crate::ids::VlanId::get);
        check(proto && id <= 200 && !policy.vlans.is_empty() && tag.qos <= policy.max_qos, "vlan")?;
    }
    rates(pool, want, got)
}

fn rates(pool: &Pool, want: &Want, got: &VfSettings) -> Result<(), &'static str> {
    let (policy, default, wish) = (&pool.policy, &pool.defaults, &want.settings);
    let check = |ok: bool, what| if ok { Ok(()) } else { Err(what) };
    // 0 is none, as much as there is.
    let limit = |rate: Option<u32>| rate.filter(|rate| *rate > 0).unwrap_or(u32::MAX);
    let most = policy.max_tx_rate.map(|max| max.max(default.max_tx_rate.unwrap_or(0)));
    let most = if default.max_tx_rate == Some(0) { None } else { most.or(default.max_tx_rate) };
    let got_limit = limit(got.max_tx_rate);
    check(got_limit <= limit(most) || got.max_tx_rate == default.max_tx_rate, "rate")?;
    check(got_limit <= limit(wish.max_tx_rate) && got_limit <= limit(want.egress), "rate as asked for")?;
    let guaranteed = got.min_tx_rate.unwrap_or(0);
    check(guaranteed <= policy.min_tx_rate.max(default.min_tx_rate.unwrap_or(0)), "guaranteed rate")?;
    check(got.min_tx_rate == wish.min_tx_rate.or(default.min_tx_rate), "guaranteed rate as asked for")?;
    check(guaranteed <= got_limit, "guaranteed rate below the limit")
}

fn on_the_netdev(pool: &Pool, want: &Want, got: &VfSettings) -> Result<(), &'static str> {
    let (policy, default, wish) = (&pool.policy, &pool.defaults, &want.settings);
    let check = |ok: bool, what| if ok { Ok(()) } else { Err(what) };
    let netdev = wish.mtu.is_none() && wish.allmulticast.is_none() && wish.queues.is_none();
    check(pool.mode == VfMode::Netdev || netdev, "a VF for userspace has no netdev")?;
    if pool.mode == VfMode::Vfio {
        return Ok(());
    }
    let mtu = |mtu: Option<Mtu>| mtu.map_or(0, Mtu::get);
    check(mtu(got.mtu) <= policy.max_mtu.max(1500).max(mtu(default.mtu)), "mtu")?;
    check(got.mtu == wish.mtu.or(default.mtu), "mtu as asked for")?;
    let all = got.allmulticast == Some(true) && default.allmulticast != Some(true);
    check(policy.allmulticast || !all, "allmulticast")?;
    check(got.allmulticast == wish.allmulticast.or(default.allmulticast), "allmulticast as asked for")?;
    let most = policy.max_queues.max(default.queues.unwrap_or(0));
    check(got.queues.is_none_or(|queues| queues <= most), "queues")?;
    check(got.queues == wish.queues.or(default.queues), "queues as asked for")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_vf_twice_all_or_none_and_never_against_policy(case in case()) {
        match case.lend() {
            Ok(lent) => {
                prop_assert_eq!(lent.len(), case.request.wants.len());
                let distinct: BTreeSet<PciAddr> = lent.iter().map(|l| l.vf.pci).collect();
                prop_assert_eq!(distinct.len(), lent.len());
                for (want, lent) in case.request.wants.iter().zip(&lent) {
                    prop_assert_eq!(&want.ifname, &lent.ifname);
                    may_have(&case, want, lent).map_err(TestCaseError::fail)?;
                }
            }
            Err(refusal) => {
                prop_assert!(!refusal.reasons.is_empty());
                for ifname in refusal.interfaces() {
                    prop_assert!(!refusal.why(ifname).is_empty());
                }
                prop_assert!(!refusal.to_string().contains('\n'));
            }
        }
    }

    #[test]
    fn the_order_of_the_listing_is_of_no_matter(case in case(), shuffle in any::<u64>()) {
        let mut other = case.clone();
        let key = |pci: PciAddr| crate::ids::fnv1a(format!("{pci}{shuffle}").bytes());
        other.inventory.ports.sort_by_key(|p| crate::ids::fnv1a(format!("{}{shuffle}", p.key).bytes()));
        other.inventory.ports.iter_mut().for_each(|p| p.vfs.sort_by_key(|vf| key(vf.pci)));
        match (case.lend(), other.lend()) {
            (Err(a), Err(b)) => prop_assert_eq!((a.code(), a.to_string()), (b.code(), b.to_string())),
            (a, b) => prop_assert_eq!(a, b),
        }
    }

    #[test]
    fn more_free_vfs_never_make_it_fail(case in case(), which in any::<prop::sample::Index>()) {
        let lent_before = case.lend();
        let all: Vec<PciAddr> = case.inventory.vfs().map(|(_, vf)| vf.pci).collect();
        let mut more = case;
        if !all.is_empty() {
            give_back(&mut more, all[which.index(all.len())]);
        }
        prop_assert!(lent_before.is_err() || more.lend().is_ok());
    }

    #[test]
    fn code_11_exactly_if_all_given_back_would_do(case in case()) {
        if let Err(refusal) = case.lend() {
            let helps = all_free(case).lend().is_ok();
            prop_assert_eq!(refusal.code() == 11, helps, "{}", refusal);
        }
    }

    /// The search against one that tries everything.
    #[test]
    fn refused_only_if_no_choice_would_do(case in case()) {
        let each: Vec<Vec<PciAddr>> = case.request.wants.iter().map(|want| {
            let free = |pci: &PciAddr| {
                let one = Want { device: want.device.or(Some(*pci)), ..want.clone() };
                let alone = LendRequest { wants: vec![one], ..case.request.clone() };
                lend(&alone, &case.pools, &case.inventory, &case.taken, &case.hints)
                    .is_ok_and(|lent| lent[0].vf.pci == *pci)
            };
            case.inventory.vfs().map(|(_, vf)| vf.pci).filter(free).collect()
        }).collect();
        fn possible(each: &[Vec<PciAddr>], used: &mut BTreeMap<PciAddr, ()>) -> bool {
            let Some((first, rest)) = each.split_first() else { return true };
            first.iter().any(|pci| {
                if used.insert(*pci, ()).is_some() {
                    return false;
                }
                let done = possible(rest, used);
                used.remove(pci);
                done
            })
        }
        prop_assert_eq!(case.lend().is_ok(), possible(&each, &mut BTreeMap::new()));
    }
}
