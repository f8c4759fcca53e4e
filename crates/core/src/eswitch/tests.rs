use super::*;
use proptest::prelude::*;

fn mac(n: u8) -> MacAddr {
    MacAddr::try_from([2, 0, 0, 0, 0, n]).unwrap()
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn pod(bridge: &str, n: u8, created: u64) -> Pod {
    Pod { bridge: name(bridge), mac: mac(n), created, name: format!("p{n}") }
}

fn uplink(pf: &str, n: u8, port: u32) -> Uplink {
    Uplink { pf: name(pf), mac: Some(mac(n)), port }
}

fn bridge(text: &str, own: u8, uplinks: Vec<Uplink>, learned: &[(u8, u32, u32)]) -> Bridge {
    let learned =
        learned.iter().map(|(n, port, idle)| Learned { mac: mac(*n), port: *port, idle: *idle }).collect();
    Bridge { name: name(text), mac: Some(mac(own)), uplinks, learned }
}

fn macs(wanted: &[Wanted]) -> Vec<MacAddr> {
    wanted.iter().map(|w| w.mac).collect()
}

#[test]
fn own_address_then_pods_by_age_then_learned_by_use() {
    let learned = [(20, 5, 300), (21, 6, 2), (22, 9, 0), (11, 5, 0), (21, 5, 100)];
    let br0 = bridge("br0", 100, vec![uplink("pf0", 1, 9)], &learned);
    let pods = [pod("br0", 10, 7), pod("br0", 11, 5), pod("other", 12, 1), pod("br0", 9, 7)];
    let desired = desired(&[br0], &pods);
    // 22 is beyond the PF; 9 and 10 came in one second.
    assert_eq!(macs(&desired[&name("pf0")]), [100, 11, 10, 9, 21, 20].map(mac));
    let text = desired[&name("pf0")].iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert!(text.starts_with("02:00:00:00:00:64 (bridge br0) 02:00:00:00:00:0b (p11) "), "{text}");
}

#[test]
fn a_pf_does_not_need_to_be_told_its_own_address() {
    let br0 = bridge("br0", 1, vec![uplink("pf0", 1, 9), uplink("pf1", 2, 8)], &[(20, 8, 0)]);
    let desired = desired(&[br0], &[]);
    assert_eq!(macs(&desired[&name("pf0")]), [20].map(mac));
    assert_eq!(macs(&desired[&name("pf1")]), [1].map(mac));
}

#[test]
fn bridges_on_vlans_of_one_pf_share_its_filter() {
    let bridges = [
        bridge("br7", 107, vec![uplink("pf0", 1, 70)], &[(20, 5, 9), (30, 70, 0)]),
        bridge("br8", 108, vec![uplink("pf0", 1, 80)], &[(21, 6, 1), (31, 80, 0)]),
    ];
    let desired = desired(&bridges, &[pod("br8", 10, 1), pod("br7", 11, 2)]);
    assert_eq!(macs(&desired[&name("pf0")]), [107, 108, 10, 11, 21, 20].map(mac));
}

#[test]
fn a_new_pod_is_told_of_unless_somebody_else_did() {
    let port =
        |name: IfName, foreign: &[u8]| Port { name, foreign: foreign.iter().map(|n| mac(*n)).collect() };
    let informed = Informed { ports: vec![port(name("pf0"), &[]), port(name("pf1"), &[5])] };
    assert_eq!(informed.ports_for(mac(4)), [name("pf0"), name("pf1")]);
    assert_eq!(informed.ports_for(mac(5)), [name("pf0")]);
    let json = serde_json::to_string(&informed).unwrap();
    assert_eq!(json, r#"{"ports":[{"name":"pf0"},{"name":"pf1","foreign":["02:00:00:00:00:05"]}]}"#);
}

/// A NIC with room for `room` entries, which refuses those of `odd`.
struct Nic {
    room: usize,
    holds: BTreeSet<MacAddr>,
    odd: BTreeSet<MacAddr>,
}

impl Nic {
    fn apply(&mut self, change: Change) -> Outcome<&'static str> {
        match change {
            Change::Add(mac) if self.odd.contains(&mac) => Outcome::Refused("odd"),
            Change::Add(_) if self.holds.len() >= self.room => Outcome::Full("full"),
            Change::Add(mac) => {
                assert!(self.holds.insert(mac), "{mac} is added twice");
                Outcome::Done
            }
            Change::Remove(mac) => {
                assert!(self.holds.remove(&mac), "{mac} is removed and was not there");
                Outcome::Done
            }
        }
    }

    fn settle(&mut self, wanted: &[Wanted], ours: &BTreeSet<MacAddr>) -> Settled<&'static str> {
        let filter = Filter { present: self.holds.clone(), ours: ours.clone() };
        settle(wanted, &filter, |change| self.apply(change))
    }
}

fn wanted(pods: &[u8], learned: &[u8]) -> Vec<Wanted> {
    let pods = pods.iter().map(|n| Wanted { mac: mac(*n), reason: Reason::Pod(format!("p{n}")) });
    pods.chain(learned.iter().map(|n| Wanted { mac: mac(*n), reason: Reason::Learned })).collect()
}

#[test]
fn a_pod_takes_the_room_of_what_was_learned_and_gives_none_to_a_younger_one() {
    let mut nic = Nic { room: 3, holds: BTreeSet::new(), odd: BTreeSet::new() };
    let first = nic.settle(&wanted(&[1], &[20, 21, 22]), &BTreeSet::new());
    assert_eq!(nic.holds, [1, 20, 21].map(mac).into());
    assert_eq!((macs(&first.left_out), first.full), ([22].map(mac).to_vec(), Some("full")));
    // What is used more changes nothing, what is a pod does.
    let second = nic.settle(&wanted(&[1], &[22, 21, 20]), &first.ours);
    assert_eq!((nic.holds.clone(), second.changes), ([1, 20, 21].map(mac).into(), 0));
    let third = nic.settle(&wanted(&[1, 2], &[22, 21, 20]), &second.ours);
    assert_eq!(nic.holds, [1, 2, 21].map(mac).into());
    let fourth = nic.settle(&wanted(&[1, 2, 3, 4], &[21]), &third.ours);
    assert_eq!(
        (nic.holds.clone(), macs(&fourth.left_out)),
        ([1, 2, 3].map(mac).into(), [4, 21].map(mac).to_vec())
    );
    let fifth = nic.settle(&wanted(&[1, 3, 4], &[21]), &fourth.ours);
    assert_eq!(
        (nic.holds.clone(), macs(&fifth.left_out)),
        ([1, 3, 4].map(mac).into(), [21].map(mac).to_vec())
    );
}

#[test]
fn one_refusal_keeps_no_other_out() {
    let mut nic = Nic { room: 9, holds: BTreeSet::new(), odd: [mac(2)].into() };
    let settled = nic.settle(&wanted(&[1, 2, 3], &[]), &BTreeSet::new());
    assert_eq!((settled.errors, settled.full), (vec!["odd"], None));
    assert_eq!((nic.holds, macs(&settled.left_out)), ([1, 3].map(mac).into(), [2].map(mac).to_vec()));
}

proptest! {
    #[test]
    fn whatever_was_there_the_filter_ends_in_the_stated_order(
        room in 0_usize..12,
        pods in proptest::sample::subsequence((1..10).collect::<Vec<u8>>(), 0..9).prop_shuffle(),
        learned in proptest::sample::subsequence((10..20).collect::<Vec<u8>>(), 0..10).prop_shuffle(),
        holds in proptest::sample::subsequence((1..30).collect::<Vec<u8>>(), 0..12),
        ours in proptest::collection::btree_set(1_u8..30, 0..30),
    ) {
        let holds: BTreeSet<MacAddr> = holds.into_iter().take(room).map(mac).collect();
        let ours: BTreeSet<MacAddr> = ours.into_iter().map(mac).collect();
        let foreign: BTreeSet<MacAddr> = &holds - &ours;
        let wanted = wanted(&pods, &learned);
        let mut nic = Nic { room, holds, odd: BTreeSet::new() };
        let settled = nic.settle(&wanted, &ours);

        prop_assert!(foreign.is_subset(&nic.holds), "somebody else's was removed");
        let all: BTreeSet<MacAddr> = wanted.iter().map(|w| w.mac).collect();
        prop_assert_eq!(&settled.ours, &(&nic.holds - &foreign));
        prop_assert!(settled.ours.is_subset(&all), "what is not wanted stayed");
        let left_out: Vec<MacAddr> = macs(&wanted).into_iter().filter(|m| !nic.holds.contains(m)).collect();
        prop_assert_eq!(macs(&settled.left_out), &left_out[..]);
        prop_assert_eq!(settled.full.is_some(), !left_out.is_empty());

        // Pods are in from the oldest on; what was learned has the rest.
        let free = room - foreign.len();
        let in_need: Vec<MacAddr> = pods.iter().map(|n| mac(*n)).filter(|m| !foreign.contains(m)).collect();
        for (rank, pod) in in_need.iter().enumerate() {
            prop_assert_eq!(nic.holds.contains(pod), rank < free, "pod {} of {} places", rank, free);
        }
        let in_need = in_need.len() + learned.iter().filter(|n| !foreign.contains(&mac(**n))).count();
        prop_assert_eq!(settled.ours.len(), free.min(in_need), "room was left");
        // A second look finds nothing to do.
        let again = nic.settle(&wanted, &settled.ours);
        prop_assert_eq!((again.changes, again.ours), (0, settled.ours));
    }

    #[test]
    fn what_is_desired_is_the_same_in_whatever_order_it_is_told(
        pods in proptest::collection::vec((1_u8..200, 0_u64..4), 0..8),
        learned in proptest::collection::vec((1_u8..200, 1_u32..5, 0_u32..4), 0..8),
        seed in 0_usize..8,
    ) {
        let of = |shift: usize| {
            let (mut pods, mut learned) = (pods.clone(), learned.clone());
            if !pods.is_empty() { let by = shift % pods.len(); pods.rotate_left(by); }
            if !learned.is_empty() { let by = shift % learned.len(); learned.rotate_left(by); }
            let br0 = bridge("br0", 250, vec![uplink("pf0", 251, 1)], &learned);
            let pods: Vec<Pod> = pods.iter().map(|(n, created)| pod("br0", *n, *created)).collect();
            desired(&[br0], &pods).remove(&name("pf0")).unwrap()
        };
        let wanted = of(0);
        let distinct: BTreeSet<MacAddr> = wanted.iter().map(|w| w.mac).collect();
        prop_assert_eq!(distinct.len(), wanted.len());
        prop_assert_eq!(wanted, of(seed));
    }
}
