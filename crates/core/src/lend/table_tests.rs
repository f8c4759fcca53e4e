//! What eth0 is, against the table in docs/offloads.md itself: whatever a pod asks for and a node has, the first row that
//! fits is what happens.

use super::cases::{Case, case, queues};
use super::fixture::*;
use super::properties::{all_free, may_have, may_lease};
use super::*;
use crate::nic::{Port, Vf, VfNetdev};
use crate::pair::{PairWish, Pairs};
use crate::plan::Path;
use crate::vf::VfRef;
use crate::wish::{OFFLOAD, Offload, QUEUES, parse};
use proptest::prelude::*;
use proptest::sample::select;

const DOCS: &str = include_str!("../../../../docs/offloads.md");
const HEADER: &str = "| `offload` | `queues` | a VF is to be had | queues are to be had | eth0 | `path` |";

/// The cells that say when a row fits, and what it promises.
struct Row {
    when: [&'static str; 4],
    eth0: &'static str,
    paths: Vec<&'static str>,
}

/// What a row is found by: the wish, how many queues are wanted, and what is to be had.
#[derive(Debug, Clone, Copy)]
struct Asked {
    offload: Offload,
    queues: Option<u32>,
    vf: bool,
    leased: bool,
}

fn rows() -> Vec<Row> {
    let (_, table) = DOCS.split_once(HEADER).expect("the table's header");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &'static str| {
        let cells: Vec<&str> =
            line.trim_matches('|').split('|').map(|c| c.trim().trim_matches('`')).collect();
        let [offload, queues, vf, leased, eth0, paths] = cells[..] else { panic!("{line}") };
        let paths = paths.split("`, `").filter(|path| !path.is_empty()).collect();
        Row { when: [offload, queues, vf, leased], eth0, paths }
    };
    lines.map(row).collect()
}

impl Row {
    fn fits(&self, asked: Asked) -> bool {
        let [offload, queues, vf, leased] = self.when;
        let yes = |cell, is: bool| match cell {
            "yes" => is,
            "no" => !is,
            _ => true,
        };
        let wished = match offload {
            "none" => asked.offload == Offload::None,
            "preferred" => asked.offload == Offload::Preferred,
            "required" => asked.offload == Offload::Required,
            "other" => asked.offload != Offload::None,
            cell => panic!("{cell}"),
        };
        let counted = match queues {
            "none" => asked.queues.is_none(),
            "N" => asked.queues.is_some(),
            "any" => true,
            cell => panic!("{cell}"),
        };
        wished && counted && yes(vf, asked.vf) && yes(leased, asked.leased)
    }

    /// The numbers of its errors.
    fn errors(&self) -> Vec<u32> {
        let words = self.eth0.strip_prefix("error ").unwrap_or_default();
        words.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
    }
}

fn row(asked: Asked) -> Row {
    rows().into_iter().find(|row| row.fits(asked)).unwrap_or_else(|| panic!("no row for {asked:?}"))
}

fn path(choice: &Choice) -> Path {
    match &choice.eth0 {
        Eth0::Vf(_) => Path::Vf,
        Eth0::Queues(_) => Path::Queues,
        Eth0::Pair(pair) => pair.path(),
    }
}

/// A node, and a pod whose further interfaces are the case's.
#[derive(Debug, Clone)]
struct Pod {
    case: Case,
    offload: Offload,
    eth0: Want,
}

impl Pod {
    fn choose(&self) -> Result<Choice, Refusal> {
        let Self { case, offload, eth0 } = self;
        choose_eth0(*offload, eth0, &case.request, &case.pools, &case.inventory, &case.taken, &case.hints)
    }

    fn asked(&self) -> Asked {
        let mut with_eth0 = self.case.clone();
        with_eth0.request.wants.push(self.eth0.clone());
        let want = QueueWant {
            namespace: self.case.request.namespace.as_deref(),
            ifname: &self.eth0.ifname,
            pool: self.eth0.pool.as_ref(),
            count: self.eth0.settings.queues,
            numa: &self.case.hints.numa,
        };
        Asked {
            offload: self.offload,
            queues: self.eth0.settings.queues,
            // Where nothing else is wanted, by the rules alone and not by what is tested.
            vf: if self.case.request.wants.is_empty() { self.any_vf() } else { with_eth0.lend().is_ok() },
            leased: self.case.hints.queues.lend(want).is_ok(),
        }
    }

    /// Whether there is a VF that eth0 may have.
    fn any_vf(&self) -> bool {
        let may = |(port, vf): (&Port, &Vf)| {
            let VfNetdev::Host { name } = &vf.netdev else { return false };
            let may_be = |pool: &Pool| {
                let wish = &self.eth0.settings;
                let of_eth0 =
                    VfSettings { trust: None, spoofchk: Some(true), vlan: None, ..pool.defaults.clone() };
                // The policy's limit is what a VF gets without another one.
                let max_tx_rate = of_eth0.max_tx_rate.or(pool.policy.max_tx_rate);
                let lent = Lent {
                    ifname: self.eth0.ifname.clone(),
                    vf: VfRef {
                        pci: vf.pci,
                        port: port.key.clone(),
                        pf: port.netdev.clone(),
                        index: vf.index,
                    },
                    pool: pool.name.clone(),
                    mode: pool.mode,
                    settings: VfSettings {
                        queues: wish.queues.or(pool.defaults.queues),
                        max_tx_rate,
                        ..of_eth0
                    },
                    netdev: Some(name.clone()),
                };
                may_have(&self.case, &self.eth0, &lent).is_ok()
            };
            self.case.pools.iter().any(may_be)
        };
        self.case.inventory.vfs().any(may)
    }

    /// The pools that come into question for eth0.
    fn pools(&self) -> impl Iterator<Item = &PoolName> {
        let all = self.case.pools.iter().map(|p| &p.name);
        let all = all.chain(self.case.hints.queues.pools.iter().map(|p| &p.name));
        all.filter(|name| self.eth0.pool.as_ref().is_none_or(|wanted| wanted == *name))
    }
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let wish = select(PairWish::NAMES.map(|(_, wish)| wish).to_vec());
    (wish, prop::option::of(Just("this kernel has no netkit".to_owned())))
        .prop_map(|(wish, no_netkit)| Pairs { wish, no_netkit })
}

fn pod() -> impl Strategy<Value = Pod> {
    let offload = select(vec![Offload::None, Offload::Preferred, Offload::Preferred, Offload::Required]);
    let named = prop::option::weighted(0.4, select(vec!["p0", "p1", "p2", "q0", "q1", "none"]));
    let further = prop_oneof![2 => Just(0), 1 => 0..5usize];
    let few = prop::collection::btree_map((1..4u8, 0..3u16), 1..5u32, 0..3);
    let no_eth0 = prop::option::weighted(0.1, Just("it limits what it receives".to_owned()));
    (case(), queues(), offload, named, further, (few, no_eth0, pairs())).prop_map(
        |(mut case, (queues, count), offload, named, further, (few, no_eth0, pairs))| {
            case.request.wants.truncate(further);
            case.request.wants.iter_mut().for_each(|want| want.eth0 = false);
            let few = few.into_iter().map(|((bus, vf), n)| (pci(bus, vf), (n, "it says so".to_owned())));
            let few_channels = few.collect();
            case.hints = Hints { queues, few_channels, no_eth0, pairs, ..case.hints };
            let mut eth0 = Want { eth0: true, ..want("eth0", named) };
            // Who wants none cannot ask for queues: that is refused with the annotations.
            eth0.settings.queues = count.filter(|_| offload != Offload::None);
            Pod { case, offload, eth0 }
        },
    )
}

/// Of each row an example, from the annotations on.
#[test]
fn every_row_of_the_docs_is_so() {
    let node = |vf: bool, leased: bool| {
        let mut fast = pool("fast", &["nic1"]);
        fast.policy.max_queues = 4;
        let lessors = if leased { vec![lessor(7, 8)] } else { Vec::new() };
        let queues =
            NodeQueues { pools: vec![queue_pool("xdp", &["nic7#0-1"], 2)], lessors, ..Default::default() };
        (vec![fast], inventory(vec![port(1, None, u16::from(vf))]), Hints { queues, ..Hints::default() })
    };
    let mut met = vec![false; rows().len()];
    for word in ["none", "preferred", "required"] {
        for (vf, leased) in [(false, false), (false, true), (true, false), (true, true)] {
            for count in [None, Some(2)] {
                let (pools, inventory, hints) = node(vf, leased);
                let annotations =
                    [(OFFLOAD, Some(word.to_owned())), (QUEUES, count.map(|n: u32| n.to_string()))];
                let annotations = annotations
                    .into_iter()
                    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
                    .collect();
                let got = parse(&annotations, |_| unreachable!("no list")).and_then(|wishes| {
                    let ifname: IfName = "eth0".parse()?;
                    let eth0 = Want::eth0(ifname.clone(), &wishes);
                    let others = request(Vec::new());
                    choose_eth0(wishes.offload, &eth0, &others, &pools, &inventory, &Taken::default(), &hints)
                        .map_err(|refusal| refusal.into_error(wishes.offload, &ifname))
                });
                let offload = match word {
                    "none" => Offload::None,
                    "preferred" => Offload::Preferred,
                    _ => Offload::Required,
                };
                // Queues are lent to those who say how many.
                let asked = Asked { offload, queues: count, vf, leased: leased && count.is_some() };
                let at = rows().iter().position(|row| row.fits(asked)).expect("a row");
                met[at] = true;
                let row = &rows()[at];
                match got {
                    Ok(choice) => {
                        assert!(row.paths.contains(&path(&choice).to_string().as_str()), "{asked:?}");
                    }
                    Err(e) => assert!(row.errors().contains(&e.code), "{asked:?}: {e:?}"),
                }
            }
        }
    }
    assert!(met.iter().all(|met| *met), "rows without an example: {met:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_first_row_of_the_docs_that_fits_is_what_happens(pod in pod()) {
        let further = pod.case.lend();
        let row = row(pod.asked());
        match pod.choose() {
            Ok(choice) => {
                let path = path(&choice).to_string();
                prop_assert!(row.paths.contains(&path.as_str()), "{path}: {:?}", row.when);
                prop_assert_eq!(choice.others.len(), pod.case.request.wants.len());
                prop_assert!(!choice.reason.is_empty());
            }
            // Further interfaces have no other path.
            Err(refusal) if further.is_err() => {
                prop_assert!(refusal.interfaces().iter().any(|name| name.as_str() != "eth0"), "{}", refusal);
            }
            Err(refusal) if refusal.code() == 100 => {
                prop_assert!(pod.case.hints.pairs.choose().is_err() && row.paths.contains(&"veth"));
            }
            Err(refusal) => prop_assert!(row.errors().contains(&refusal.code()), "{}", refusal),
        }
    }

    #[test]
    fn what_is_lent_was_free_and_allowed_and_nothing_twice(pod in pod()) {
        let Ok(choice) = pod.choose() else { return Ok(()) };
        for (want, lent) in pod.case.request.wants.iter().zip(&choice.others) {
            may_have(&pod.case, want, lent).map_err(TestCaseError::fail)?;
        }
        let mut vfs: Vec<PciAddr> = choice.others.iter().map(|lent| lent.vf.pci).collect();
        match &choice.eth0 {
            Eth0::Vf(lent) => {
                may_have(&pod.case, &pod.eth0, lent).map_err(TestCaseError::fail)?;
                vfs.push(lent.vf.pci);
            }
            Eth0::Queues(lent) => {
                let count = pod.eth0.settings.queues;
                may_lease(&pod.case.hints.queues, count, lent).map_err(TestCaseError::fail)?;
                prop_assert!(pod.eth0.pool.as_ref().is_none_or(|named| *named == lent.pool));
            }
            Eth0::Pair(_) => prop_assert!(pod.offload != Offload::Required),
        }
        prop_assert_eq!(vfs.iter().collect::<BTreeSet<_>>().len(), vfs.len());
    }

    #[test]
    fn preferred_is_never_refused_for_want_of_hardware(mut pod in pod()) {
        pod.offload = Offload::Preferred;
        pod.case.request.wants.clear();
        prop_assert_eq!(pod.choose().is_err(), pod.case.hints.pairs.choose().is_err() && {
            let asked = pod.asked();
            !asked.vf && !asked.leased
        });
    }

    /// Of a refusal as of a fallback.
    #[test]
    fn every_pool_in_question_is_told_of_with_its_reason(mut pod in pod()) {
        if pod.offload == Offload::None {
            pod.offload = Offload::Required;
        }
        let name = pod.eth0.ifname.clone();
        let told = match pod.choose() {
            Ok(Choice { eth0: Eth0::Pair(_), reason, .. }) => reason,
            Err(refusal) if refusal.interfaces().contains(&name) => refusal.why(&name),
            Ok(_) | Err(_) => return Ok(()),
        };
        for pool in pod.pools() {
            let places = [format!("pool {pool}: "), format!("pool {pool}, ")];
            prop_assert!(places.iter().any(|place| told.contains(place)), "{pool}: {told}");
        }
        if pod.pools().next().is_none() {
            prop_assert!(told.contains("no pool"), "{}", told);
        }
        prop_assert!(!told.contains('\n') && !told.contains(": ;"));
    }

    #[test]
    fn code_11_exactly_if_all_given_back_would_do(mut pod in pod()) {
        pod.case.hints.pairs = Pairs::default();
        let Err(refusal) = pod.choose() else { return Ok(()) };
        let lessors = &pod.case.hints.queues.lessors;
        // A NIC that is down does not tell how many queues it has.
        if lessors.iter().any(|nic| matches!(nic.fault, Some(Fault::Passing(_)))) {
            return Ok(());
        }
        let mut free = Pod { case: all_free(pod.case.clone()), ..pod };
        free.case.hints.queues.taken = QueuesTaken::default();
        free.case.hints.queues.lessors.iter_mut().for_each(|nic| nic.in_use.clear());
        prop_assert_eq!(refusal.code() == 11, free.choose().is_ok(), "{}", refusal);
    }

    #[test]
    fn it_depends_on_nothing_else_and_not_on_the_order_of_listings(pod in pod()) {
        let mut other = pod.clone();
        other.case.inventory.ports.reverse();
        other.case.inventory.ports.iter_mut().for_each(|port| port.vfs.reverse());
        other.case.hints.queues.lessors.reverse();
        prop_assert_eq!(pod.choose(), pod.choose());
        match (pod.choose(), other.choose()) {
            (Err(a), Err(b)) => prop_assert_eq!((a.code(), a.to_string()), (b.code(), b.to_string())),
            (a, b) => prop_assert_eq!(a, b),
        }
    }
}
