//! Nodes and requests at random.

use super::fixture::*;
use super::*;
use crate::nic::{Port, VfNetdev};
use crate::pool::{Policy, QueueKind};
use crate::vf::{LinkState, VlanProto, VlanTag};
use proptest::prelude::*;

/// A node and a request.
#[derive(Debug, Clone)]
pub struct Case {
    pub pools: Vec<Pool>,
    pub inventory: Inventory,
    pub taken: Taken,
    pub hints: Hints,
    pub request: LendRequest,
}

impl Case {
    pub fn lend(&self) -> Result<Vec<Lent>, Refusal> {
        lend(&self.request, &self.pools, &self.inventory, &self.taken, &self.hints)
    }
}

/// A port and how its VFs are held: 2 lent; 3 quarantine; 4 elsewhere; 5 without driver; 6 lent in vfio mode;
/// 7 lent, and bound to vfio-pci before; 8 of somebody by no claim; else free.
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

/// Any settings, each of them seldom.
fn settings() -> impl Strategy<Value = VfSettings> {
    fn seldom<T: Clone + std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
        prop::option::weighted(0.12, of)
    }
    let states = prop_oneof![Just(LinkState::Auto), Just(LinkState::Enable), Just(LinkState::Disable)];
    let protocols = prop_oneof![3 => Just(VlanProto::Q), 1 => Just(VlanProto::Ad)];
    let tag = (prop_oneof![Just(0u64), Just(100), Just(200), Just(201)], 0..3u8, protocols)
        .prop_map(|(id, qos, proto)| VlanTag { id: id.try_into().ok(), qos, proto });
    let mtus = prop_oneof![Just(1280u64), Just(1500), Just(9000)].prop_map(|mtu| mtu.try_into().unwrap());
    let of_pf = (
        seldom(Just("02:00:00:00:00:07".parse().unwrap())),
        seldom(tag),
        seldom(any::<bool>()),
        seldom(any::<bool>()),
        seldom(states),
    );
    let rates = (seldom(0..5u32), seldom(0..5u32));
    let of_netdev = (seldom(mtus), seldom(any::<bool>()), seldom(1..5u32));
    (of_pf, rates, of_netdev).prop_map(|(of_pf, (min_tx_rate, max_tx_rate), (mtu, allmulticast, queues))| {
        let (mac, vlan, trust, spoofchk, link_state) = of_pf;
        VfSettings {
            mac,
            vlan,
            trust,
            spoofchk,
            link_state,
            min_tx_rate,
            max_tx_rate,
            mtu,
            allmulticast,
            queues,
        }
    })
}

/// For all namespaces.
fn policy() -> impl Strategy<Value = Policy> {
    let ranges = prop_oneof![Just(vec![]), Just(vec!["0-200".parse().unwrap()])];
    let protocols = prop_oneof![Just(vec![]), Just(vec![VlanProto::Ad])];
    let largest = prop_oneof![Just(0u32), Just(9000)];
    (any::<[bool; 7]>(), (ranges, protocols, 0..3u8), (0..4u32, prop::option::of(1..5u32)), largest, 0..4u32)
        .prop_map(
            |(may, (vlans, vlan_protocols, max_qos), (min_tx_rate, max_tx_rate), max_mtu, max_queues)| {
                let [eth0, allow_bond, mac, trust, spoofchk_off, link_state, allmulticast] = may;
                Policy {
                    namespaces: vec!["*".parse().unwrap()],
                    eth0,
                    allow_bond,
                    vlans,
                    max_qos,
                    vlan_protocols,
                    mac,
                    trust,
                    spoofchk_off,
                    link_state,
                    allmulticast,
                    min_tx_rate,
                    max_tx_rate,
                    max_mtu,
                    max_queues,
                }
            },
        )
}

fn pools() -> impl Strategy<Value = Vec<Pool>> {
    let names = prop::collection::btree_set(1..5u8, 0..3);
    let defaults = prop_oneof![2 => Just(VfSettings::default()), 1 => settings()];
    prop::collection::vec((names, 0..10u8, policy(), defaults), 0..4).prop_map(|pools| {
        let of = |(i, (nics, kind, policy, defaults)): (usize, (BTreeSet<u8>, u8, _, _))| {
            // Each pool has one VF of each port, but for one that may overlap with others.
            let names: Vec<String> = match kind {
                4 => nics.into_iter().map(|n| format!("nic{n}#0-2")).collect(),
                _ => (1..4).map(|n| format!("nic{n}#{i}")).collect(),
            };
            let drawn = pool(&format!("p{i}"), &names.iter().map(String::as_str).collect::<Vec<_>>());
            let mut pool = Pool { policy, defaults, ..drawn };
            pool.mode = if kind == 0 { VfMode::Vfio } else { VfMode::Netdev };
            if kind == 1 {
                pool.policy.namespaces = vec!["other-*".parse().unwrap()];
            }
            if kind == 2 {
                pool.selectors[0].drivers = vec![NETDEV_DRIVER.into()];
            }
            pool
        };
        pools.into_iter().enumerate().map(of).collect()
    })
}

/// Pool, kind of wish, settings, limit of the runtime, address.
type Drawn = (usize, u8, VfSettings, Option<u32>, (u8, u16));

fn wants() -> impl Strategy<Value = Vec<Want>> {
    let wishes = prop_oneof![1 => Just(VfSettings::default()), 2 => settings()];
    let one = (0..5usize, 0..8u8, wishes, prop::option::of(1..5u32), (1..5u8, 0..4u16));
    prop::collection::vec(one, 0..5).prop_map(|wants| {
        let of = |(i, (pool, kind, settings, egress, (bus, index))): (usize, Drawn)| {
            let name = format!("p{pool}");
            let drawn = want(&format!("net{i}"), (pool < 3).then_some(name.as_str()));
            Want {
                eth0: kind == 0,
                device: (kind == 1).then(|| pci(bus, index)),
                egress: egress.filter(|_| kind == 0),
                settings,
                ..drawn
            }
        };
        wants.into_iter().enumerate().map(of).collect()
    })
}

/// Any case.
pub fn case() -> impl Strategy<Value = Case> {
    (ports(), pools(), wants(), prop::collection::btree_set(0..2u32, 0..2), any::<bool>(), 0..8u8).prop_map(
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
                        8 => taken.insert(vf.pci, Holding::unclear("locked")),
                        _ => {}
                    }
                }
                inventory.ports.push(port);
            }
            let bonds = bond.then(|| "bond0".parse().unwrap()).into_iter().collect();
            let uplink = match uplink {
                0 => OnUplink::None("it is a tunnel".into()),
                1 => OnUplink::These([port(1, None, 0).key].into()),
                2 => OnUplink::NoneYet("it is not known".into()),
                _ => OnUplink::All,
            };
            Case {
                pools,
                inventory,
                taken,
                hints: Hints { numa, bonds, uplink, ..Hints::default() },
                request: request(wants),
            }
        },
    )
}

fn kind() -> impl Strategy<Value = QueueKind> {
    prop_oneof![3 => Just(QueueKind::Lease), 1 => Just(QueueKind::Steer)]
}

/// A node and how many are wanted. Held queues: 0 free, 1 lent, 2 quarantine, 3 unclear, 4 in use by others.
pub fn queues() -> impl Strategy<Value = (NodeQueues, Option<u32>)> {
    let nic = (prop::collection::vec(0..6u8, 0..8), 0..8u8, prop::option::of(0..2u32), kind());
    let nics = prop::collection::btree_map(1..4u8, (0..5u16, 0..5u16), 1..3);
    let pool_of = (nics, any::<bool>(), 1..5u32, kind());
    let pools = prop::collection::vec(pool_of, 0..3);
    (prop::collection::vec(nic, 0..3), pools, prop::option::weighted(0.9, 1..5u32)).prop_map(
        |(nics, pools, count)| {
            let mut node = NodeQueues::default();
            for (n, (holds, fault, numa, kind)) in (1u8..).zip(nics) {
                let mut nic = Lessor { numa, kind, ..lessor(n, u32::try_from(holds.len()).unwrap()) };
                nic.fault = match fault {
                    0 => Some(Fault::Refused("no".into())),
                    1 => Some(Fault::Passing("it is down".into())),
                    _ => None,
                };
                for (queue, hold) in (0..).zip(holds) {
                    let mut held = |hold| node.taken.insert(nic.port.clone(), queue, holding(hold));
                    match hold {
                        1 => held(Hold::Lent),
                        2 => held(Hold::Quarantine(String::new())),
                        3 => held(Hold::Unclear("?".into())),
                        4 => drop(nic.in_use.insert(queue, "io_uring".into())),
                        _ => {}
                    }
                }
                node.lessors.push(nic);
            }
            for (i, (nics, admits, max, kind)) in pools.into_iter().enumerate() {
                let nics: Vec<String> =
                    nics.iter().map(|(n, (a, b))| format!("nic{n}#{}-{}", a.min(b), a.max(b))).collect();
                let mut pool =
                    queue_pool(&format!("q{i}"), &nics.iter().map(String::as_str).collect::<Vec<_>>(), max);
                pool.namespaces.truncate(usize::from(admits));
                pool.kind = kind;
                node.pools.push(pool);
            }
            (node, count)
        },
    )
}
