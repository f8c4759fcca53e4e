use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

/// Of an interface that was made for its pod.
const NEW: Option<Bytes> = Some(Bytes { rx: 0, tx: 0 });

fn bytes(rx: u64, tx: u64) -> Bytes {
    Bytes { rx, tx }
}

fn key(n: u64) -> Key {
    Key { attachment: "c1@eth0".parse().unwrap(), created: n, ifname: "eth0".parse().unwrap() }
}

fn label(path: Path) -> Label {
    Label { path, pf: None }
}

fn total(totals: &Totals, path: Path) -> Bytes {
    totals.totals().filter(|(l, _)| l.path == path).fold(Bytes::default(), |sum, (_, b)| sum.plus(b))
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    (any::<u64>(), any::<u64>()).prop_map(|(rx, tx)| Bytes { rx: rx >> 8, tx: tx >> 8 })
}

fn any_way() -> impl Strategy<Value = Way> {
    prop_oneof![Just(Way::Straight), Just(Way::Routed), Just(Way::Leases)]
}

fn any_moved() -> impl Strategy<Value = Moved> {
    prop_oneof![
        (any_bytes(), proptest::option::of(any_bytes()))
            .prop_map(|(bytes, cpu)| Moved::Counted { bytes, cpu }),
        Just(Moved::Unknown { why: "no counter".into() }),
    ]
}

proptest! {
    /// Whatever counters say, and in whatever order they were read.
    #[test]
    fn shares_are_all_that_was_counted(all in proptest::collection::vec((any_moved(), any_way()), 0..8)) {
        let share = Share::of(all.iter().map(|(moved, way)| (moved, *way)));
        let counted: u64 = all.iter().map(|(m, _)| match m {
            Moved::Counted { bytes, .. } => bytes.sum(),
            Moved::Unknown { .. } => 0,
        }).sum();
        prop_assert_eq!(share.by_vf + share.routed + share.cpu + share.undivided, counted);
        prop_assert_eq!(share.unknown, all.iter().filter(|(m, _)| matches!(m, Moved::Unknown { .. })).count());
        let percents: u32 = [share.by_vf, share.routed, share.cpu, share.undivided]
            .iter().filter_map(|part| share.percent(*part)).map(u32::from).sum();
        prop_assert!(percents <= 100);
        prop_assert_eq!(share.percent(share.counted()), (counted > 0).then_some(100));
    }

    /// Counters that begin anew, interfaces that come, go, and are looked at late.
    #[test]
    fn totals_never_go_back(steps in proptest::collection::vec((0u64..4, any_bytes(), 0u8..6, proptest::option::of(any_bytes())), 0..60)) {
        let (mut totals, veth) = (Totals::default(), label(Path::Veth));
        let mut before = Bytes::default();
        for (n, now, what, began) in steps {
            match what {
                0 => totals.end(key(n), &veth, Some(now), began),
                1 => totals.end(key(n), &veth, None, began),
                2 => totals.begin(&HashSet::from([key(n), key(n + 1)])),
                _ => totals.seen(&key(n), &veth, now, began),
            }
            let after = total(&totals, Path::Veth);
            prop_assert!(after.rx >= before.rx && after.tx >= before.tx);
            before = after;
        }
    }
}

#[test]
fn what_is_gone_stays_counted_and_is_counted_once() {
    let (mut totals, veth) = (Totals::default(), label(Path::Veth));
    let there = HashSet::from([key(1), key(2)]);
    totals.begin(&there);
    totals.seen(&key(1), &veth, bytes(100, 10), NEW);
    // It was there before the daemon: what it moved before is no news.
    totals.seen(&key(2), &veth, bytes(5000, 5000), None);
    assert_eq!(total(&totals, Path::Veth), bytes(100, 10));
    totals.seen(&key(2), &veth, bytes(5001, 5002), None);
    totals.begin(&there);
    totals.end(key(1), &veth, Some(bytes(150, 30)), NEW);
    // The look that began before its end is late, and so is a second DEL.
    totals.seen(&key(1), &veth, bytes(150, 30), NEW);
    totals.end(key(1), &veth, Some(bytes(150, 30)), NEW);
    assert_eq!(total(&totals, Path::Veth), bytes(151, 32));
    totals.begin(&HashSet::from([key(2)]));
    totals.begin(&HashSet::new());
    assert_eq!(total(&totals, Path::Veth), bytes(151, 32));
}

#[test]
fn a_counter_that_begins_anew_is_not_taken_for_a_loss() {
    assert_eq!(bytes(10, 700).since(bytes(1000, 500)), bytes(10, 200));
    let (mut totals, vf) = (Totals::default(), label(Path::Vf));
    totals.seen(&key(1), &vf, bytes(1000, 500), NEW);
    totals.seen(&key(1), &vf, bytes(10, 0), NEW);
    assert_eq!(total(&totals, Path::Vf), bytes(1010, 500));
}

#[test]
fn a_way_that_nobody_divides_is_neither() {
    let counted =
        |sum, cpu: Option<u64>| Moved::Counted { bytes: bytes(sum, 0), cpu: cpu.map(|c| bytes(c, 0)) };
    let unknown = Moved::Unknown { why: "no counter".into() };
    let straight = |all: &[Moved]| Share::of(all.iter().map(|moved| (moved, Way::Straight)));
    let share = straight(&[counted(100, Some(100)), counted(800, Some(0)), counted(100, None), unknown]);
    assert_eq!(share, Share { by_vf: 800, cpu: 100, undivided: 100, unknown: 1, ..Share::default() });
    assert_eq!((share.percent(share.by_vf), Share::default().percent(0)), (Some(80), None));
    // More over the CPU than there was: read a moment later.
    assert_eq!(straight(&[counted(100, Some(120))]), Share { cpu: 100, ..Share::default() });
}

#[test]
fn what_the_node_routes_is_no_bypass_and_what_is_leased_is_not_counted() {
    let moved = Moved::Counted { bytes: bytes(4 << 20, 1000), cpu: Some(Bytes::default()) };
    let share = Share::of([(&moved, Way::Routed)]);
    assert_eq!(share, Share { routed: (4 << 20) + 1000, ..Share::default() });
    assert_eq!((share.percent(share.routed), share.percent(share.by_vf)), (Some(100), Some(0)));
    let over_cpu = Moved::Counted { bytes: bytes(7, 0), cpu: Some(bytes(7, 0)) };
    assert_eq!(Share::of([(&over_cpu, Way::Leases)]), Share { cpu: 7, leases: 1, ..Share::default() });
}

#[test]
fn what_a_netdev_moved_before_the_pod_is_not_the_pods() {
    let (mut totals, vf) = (Totals::default(), label(Path::Vf));
    totals.seen(&key(1), &vf, bytes(1005, 502), Some(bytes(1000, 500)));
    assert_eq!(total(&totals, Path::Vf), bytes(5, 2));
    totals.seen(&key(1), &vf, bytes(1006, 502), Some(bytes(1000, 500)));
    assert_eq!(total(&totals, Path::Vf), bytes(6, 2));
    // Short-lived: its end is the first look.
    totals.end(key(2), &vf, Some(bytes(2009, 600)), Some(bytes(2000, 600)));
    assert_eq!(total(&totals, Path::Vf), bytes(15, 2));
    // Nobody knows where it stood.
    totals.end(key(3), &vf, Some(bytes(7000, 7000)), None);
    assert_eq!(total(&totals, Path::Vf), bytes(15, 2));
}
