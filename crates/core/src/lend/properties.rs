//! What holds of every request on every node.

use super::fixture::*;
use super::*;
use crate::nic::{Port, VfNetdev};
use crate::vf::{LinkState, VlanTag};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A node and a request.
#[derive(Debug, Clone)]
struct Case {
    pools: Vec<Pool>,
    inventory: Inventory,
    taken: Taken,
    hints: Hints,
    request: LendRequest,
}

impl Case {
    fn lend(&self) -> Result<Vec<Lent>, Refusal> {
        lend(&self.request, &self.pools, &self.inventory, &self.taken, &self.hints)
    }
}

/// A port and how its VFs are held: 2 lent; 3 quarantine; 4 elsewhere; 5 without driver; 6 lent in vfio mode;
/// 7 lent, and bound to vfio-pci before; else free.
fn ports() -> impl Strategy<Value = Vec<(Port, Vec<u8>)>> {
    let numa = prop_oneof![Just(None), (0..2u32).prop_map(Some)];
    let port = (numa, prop::collection::vec(0..14u8, 0..4), 0..8u8, any::<bool>());
    prop::collection::vec(port, 0..4).prop_map(|ports| {
        let of = |(i, (numa, holds, link, bonded)): (usize, (Option<u32>, Vec<u8>, u8, bool))| {
            let mut port = port_of(i, numa, holds.len());
            port.up = link != 0;
            port.carrier = link > 1;
            port.controller = bonded.then(|| "bond0".parse().unwrap());
            (port, holds)
        };
        ports.into_iter().enumerate().map(of).collect()
    })
}

fn port_of(i: usize, numa: Option<u32>, vfs: usize) -> Port {
    port(u8::try_from(i).unwrap() + 1, numa, u16::try_from(vfs).unwrap())
}

fn pools() -> impl Strategy<Value = Vec<Pool>> {
    let names = prop::collection::btree_set(1..5u8, 0..3);
    let one = (names, 0..10u8, any::<[bool; 5]>(), prop::option::of(1..4u32));
    prop::collection::vec(one, 0..4).prop_map(|pools| {
        let of = |(i, (nics, kind, [eth0, bond, mac, vlan, spoof], rate)): (usize, (_, u8, [bool; 5], _))| {
            // Each pool has one VF of each port, but for one that may overlap with others.
            let names: Vec<String> = match kind {
                4 => BTreeSet::into_iter(nics).map(|n: u8| format!("nic{n}#0-2")).collect(),
                _ => (1..4).map(|n| format!("nic{n}#{i}")).collect(),
            };
            let mut pool = pool(&format!("p{i}"), &names.iter().map(String::as_str).collect::<Vec<_>>());
            pool.mode = if kind == 0 { VfMode::Vfio } else { VfMode::Netdev };
            if kind == 1 {
                pool.policy.namespaces = vec!["other-*".parse().unwrap()];
            }
            if kind == 2 {
                pool.selectors[0].drivers = vec![NETDEV_DRIVER.into()];
            }
            if kind == 3 {
                pool.defaults.link_state = Some(LinkState::Enable);
            }
            (pool.policy.eth0, pool.policy.allow_bond, pool.policy.mac) = (eth0, bond, mac);
            (pool.policy.spoofchk_off, pool.policy.max_tx_rate) = (spoof, rate);
            if vlan {
                pool.policy.vlans = vec!["100-200".parse().unwrap()];
            }
            pool
        };
        pools.into_iter().enumerate().map(of).collect()
    })
}

/// Pool, kind of wish, rate, spoofchk, address.
type Drawn = (usize, u8, Option<u32>, bool, (u8, u16));

fn wants() -> impl Strategy<Value = Vec<Want>> {
    let one = (0..5usize, 0..12u8, prop::option::of(1..5u32), any::<bool>(), (1..5u8, 0..4u16));
    prop::collection::vec(one, 0..5).prop_map(|wants| {
        let of = |(i, (pool, kind, rate, spoofchk, (bus, index))): (usize, Drawn)| {
            let name = format!("p{pool}");
            let mut want = want(&format!("net{i}"), (pool < 3).then_some(name.as_str()));
            want.eth0 = kind == 0;
            want.device = (kind == 1).then(|| pci(bus, index));
            want.settings.max_tx_rate = if kind == 2 { rate } else { None };
            want.settings.spoofchk = (kind == 3).then_some(spoofchk);
            if kind == 4 {
                want.settings.vlan = Some(VlanTag { id: 150u64.try_into().ok(), ..VlanTag::default() });
            }
            if kind == 5 {
                want.settings.mac = Some("02:00:00:00:00:07".parse().unwrap());
            }
            want
        };
        wants.into_iter().enumerate().map(of).collect()
    })
}

fn case() -> impl Strategy<Value = Case> {
    (ports(), pools(), wants(), prop::collection::btree_set(0..2u32, 0..2), any::<bool>(), 0..6u8).prop_map(
        |(ports, pools, wants, numa, bond, uplink)| {
            let mut taken = Taken::default();
            let mut inventory = Inventory::default();
            for (mut port, holds) in ports {
                for (vf, hold) in port.vfs.iter_mut().zip(holds) {
                    match hold {
                        2 => taken.insert(vf.pci, holding(Hold::Lent)),
                        3 => taken.insert(vf.pci, holding(Hold::Quarantine("why".into()))),
                        4 => vf.netdev = VfNetdev::Elsewhere { netns: None, name: None },
                        5 => (vf.driver, vf.netdev) = (None, VfNetdev::None),
                        6 => {
                            taken.insert(vf.pci, holding(Hold::Lent));
                            (vf.driver, vf.netdev) = (Some("vfio-pci".into()), VfNetdev::None);
                        }
                        7 => {
                            let driver = Some("vfio-pci".into());
                            taken.insert(vf.pci, Holding { driver, ..holding(Hold::Lent) });
                        }
                        _ => {}
                    }
                }
                inventory.ports.push(port);
            }
            let bonds = bond.then(|| "bond0".parse().unwrap()).into_iter().collect();
            let eth0 = match uplink {
                0 => Some(Err("it is a tunnel".into())),
                1 => Some(Ok([port(1, None, 0).key].into())),
                _ => None,
            };
            Case {
                pools,
                inventory,
                taken,
                hints: Hints { numa, bonds, eth0, ..Hints::default() },
                request: request(wants),
            }
        },
    )
}

/// A VF is given back: as it was before, with its netdev on the host.
fn give_back(case: &mut Case, pci: PciAddr) {
    let before = case.taken.remove(pci);
    for port in &mut case.inventory.ports {
        for vf in port.vfs.iter_mut().filter(|vf| vf.pci == pci) {
            if let Some(before) = &before {
                vf.driver = before.driver.clone();
                vf.netdev = VfNetdev::None;
            }
            if vf.driver.as_deref() == Some(NETDEV_DRIVER) {
                vf.netdev = VfNetdev::Host { name: "home0".parse().unwrap() };
            }
        }
    }
}

/// What pods hold is given back, and all ports have link.
fn all_free(mut case: Case) -> Case {
    let all: Vec<PciAddr> = case.inventory.vfs().map(|(_, vf)| vf.pci).collect();
    all.into_iter().for_each(|pci| give_back(&mut case, pci));
    case.inventory.ports.iter_mut().for_each(|p| (p.up, p.carrier) = (true, true));
    case
}

/// The rules, written down a second time and without the search.
fn may_have(case: &Case, want: &Want, lent: &Lent) -> Result<(), String> {
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
    check(port.up && (port.carrier || got.link_state == Some(LinkState::Enable)), "link")?;
    check(lent.mode == pool.mode, "mode")?;
    check(lent.mode == VfMode::Vfio || lent.netdev.is_some(), "netdev")?;
    let bonded = port.controller.as_ref().is_some_and(|c| case.hints.bonds.contains(c));
    check(!want.eth0 || policy.eth0 && pool.mode == VfMode::Netdev, "eth0")?;
    check(!want.eth0 || got.spoofchk == Some(true), "spoofchk of eth0")?;
    check(!want.eth0 || !bonded || policy.allow_bond, "bond")?;
    let on_uplink = match &case.hints.eth0 {
        None => true,
        Some(ports) => ports.as_ref().is_ok_and(|ports| ports.contains(&port.key)),
    };
    check(!want.eth0 || on_uplink, "uplink")?;
    check(policy.mac || got.mac.is_none(), "mac")?;
    check(policy.spoofchk_off || got.spoofchk != Some(false), "spoofchk")?;
    check(got.vlan.is_none() || !policy.vlans.is_empty(), "vlan")?;
    check(policy.max_tx_rate.is_none_or(|max| got.max_tx_rate.is_some_and(|r| r <= max)), "rate")
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
