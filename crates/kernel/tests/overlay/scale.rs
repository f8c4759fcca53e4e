//! A thousand nodes.

use crate::lab::*;
use offramp_core::overlay::Mode;
use offramp_core::peer::Peer;

fn peers(count: u16) -> Vec<Peer> {
    let peer = |n: u16| {
        let [high, low] = n.to_be_bytes();
        Peer {
            name: format!("far-{n}").parse().unwrap(),
            endpoints: vec![format!("10.97.{high}.{low}").parse().unwrap()],
            pod_cidrs: vec![
                format!("10.{}.{low}.0/24", 100 + high).parse().unwrap(),
                format!("fd45:{n:x}::/64").parse().unwrap(),
            ],
            mac: None,
        }
    };
    (1..=count).map(peer).collect()
}

#[test]
fn a_thousand_peers_take_few_messages() {
    let lab = Lab::new(Mode::Vxlan);
    let all = peers(1000);
    let report = lab.settle(1, &all);
    // Per peer two routes, two neighbours and a forwarding entry.
    assert_eq!(report.changes.count - 3, 5 * all.len(), "and three for the device");
    assert!(report.batches <= 25, "{}", report.batches);
    assert_eq!(ip("-n n1 route show proto 213").lines().count(), 1000);
    assert_eq!(ip("-n n1 -6 route show proto 213").lines().count(), 1000);
    assert_eq!(run(&format!("bridge -n n1 fdb show dev {DEVICE}")).lines().count(), 1000);
    // One more is one more.
    let report = lab.settle(1, &peers(1001));
    assert_eq!((report.changes.count, report.batches), (5, 1));
    // A peer that moves is one message, and nothing is read for it.
    let moved = Peer { endpoints: vec!["10.97.9.9".parse().unwrap()], ..all[4].clone() };
    let report = lab.follow(1, &report, (&all[4..5], std::slice::from_ref(&moved)));
    assert_eq!((report.changes.count, report.batches), (1, 1), "{report:?}");
    let mut now = peers(1001);
    now[4] = moved;
    lab.settle(1, &now);
    let report = lab.settle(1, &all[..10]);
    assert_eq!(report.changes.count, 5 * 991 + 1);
    assert_eq!(ip("-n n1 route show proto 213").lines().count(), 10);
}
