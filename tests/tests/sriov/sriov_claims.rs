//! One holder at a time.

use crate::lab::{Machine, pci, state};
use offramp_tests::Answer;
use serde_json::json;

#[test]
fn of_two_at_once_one_gets_it() {
    let m = Machine::new();
    let before = state(0);
    let conf = m.conf(0, json!({"vlan": 9}));
    for _ in 0..3 {
        let (a, b) = (m.pod(), m.pod());
        let (first, second): (Answer, Answer) = std::thread::scope(|s| {
            let (x, y) = (s.spawn(|| m.node.add(&a, &conf)), s.spawn(|| m.node.add(&b, &conf)));
            (x.join().unwrap(), y.join().unwrap())
        });
        let (winner, loser, lost) = if first.code == Some(0) { (&a, &b, second) } else { (&b, &a, first) };
        lost.failed(11, &["VF 0 of nic0", &pci(0), &format!("is held by {}@net1", winner.container)]);
        m.node.del(loser, &conf).ok();
        assert_eq!(m.claim(0).unwrap()["holder"]["container"], winner.container);
        m.node.del(winner, &conf).ok();
        m.assert_free_and_clean(0, &before);
    }
}

/// The next pod comes at once and waits for the cleaner; the late DEL of the one before frees nothing.
#[test]
fn a_late_del_frees_nothing_of_a_newer_one() {
    let m = Machine::new();
    let before = state(0);
    let (old, new, conf) = (m.pod(), m.pod(), m.conf(0, json!({"vlan": 9, "trust": "on"})));
    m.node.add(&old, &conf).ok();
    let record = std::fs::read(m.node.record(&old)).unwrap();
    m.node.del(&old, &conf).ok();
    let plain = m.conf(0, json!({}));
    let result = m.node.add(&new, &plain).ok();
    m.node.del(&old, &conf).ok();
    // And of one whose DEL had died just before it was over.
    std::fs::write(m.node.record(&old), record).unwrap();
    m.node.del(&old, &conf).ok();
    m.node.check(&new, &plain, &result).ok();
    assert_eq!(state(0)["pf"]["trust"], false);
    m.node.del(&new, &plain).ok();
    m.assert_free_and_clean(0, &before);
}

#[test]
fn gc_takes_back_what_the_list_does_not_name() {
    let m = Machine::new();
    let before = [state(0), state(1)];
    let (kept, lost) = (m.pod(), m.pod());
    let (first, second) = (m.conf(0, json!({})), m.conf(1, json!({"vlan": 3})));
    let result = m.node.add(&kept, &first).ok();
    m.node.add(&lost, &second).ok();
    // Multus's GC has no deviceID.
    let conf = m.conf(0, json!({"deviceID": null, "spoofchk": "on"}));
    m.node.gc(&conf, &[&kept]).ok();
    offramp_tests::until("the VF to be free", || m.claim(1).is_none());
    assert_eq!(state(1), before[1]);
    m.node.check(&kept, &first, &result).ok();
    m.node.status(&conf).ok();
    m.node.del(&kept, &first).ok();
    m.assert_free_and_clean(0, &before[0]);
}
