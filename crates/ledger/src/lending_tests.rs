use super::*;
use crate::claims::tests::{claim, vf};
use crate::store::tests::record;
use offramp_core::record::Record;
use offramp_core::step::{ConfigureVf, Step};

const PCI: &str = "0000:02:10.6";

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path());
    (dir, store)
}

/// A record of `id`, with a VF.
fn with_vf(id: &str) -> Record {
    let mut record = record(id);
    record.plan.steps = vec![Step::ConfigureVf(ConfigureVf { vf: vf(PCI), settings: Default::default() })];
    record
}

fn in_quarantine(store: &Store) -> bool {
    store.claims().read(PCI.parse().unwrap()).unwrap().unwrap().in_quarantine()
}

#[test]
fn a_claim_that_nobody_stands_for_is_given_back() {
    let (_dir, store) = store();
    let lent = claim(PCI, "a@net1");
    store.claims().take(&lent).unwrap();
    // Its ADD is at work: the record comes after the claim.
    let lock = store.lock(&lent.holder, Duration::ZERO).unwrap();
    assert!(!give_back_if_abandoned(&store, &lent, 9).unwrap());
    drop(lock);
    // It has a record that names the VF.
    store.write(&with_vf("a@net1")).unwrap();
    assert!(!give_back_if_abandoned(&store, &lent, 9).unwrap());
    assert!(!in_quarantine(&store));
    // It has one that does not, or none.
    store.write(&record("a@net1")).unwrap();
    assert!(give_back_if_abandoned(&store, &lent, 9).unwrap());
    assert!(in_quarantine(&store));
    store.remove(&lent.holder).unwrap();
    assert!(give_back_if_abandoned(&store, &lent, 9).unwrap());
    // Meanwhile it is another's.
    store.claims().set(&claim(PCI, "b@net1")).unwrap();
    assert!(!give_back_if_abandoned(&store, &lent, 9).unwrap());
    assert!(!in_quarantine(&store));
}

#[test]
fn an_attachment_gives_back_its_own_only() {
    let (_dir, store) = store();
    store.claims().take(&claim(PCI, "a@net1")).unwrap();
    store.claims().take(&claim("0000:02:10.4", "b@net1")).unwrap();
    let given = give_back_all(&store, &"b@net1".parse().unwrap(), 9).unwrap();
    assert_eq!(given, ["0000:02:10.4".parse().unwrap()]);
    assert!(!in_quarantine(&store));
}

#[test]
fn what_was_not_touched_is_free_at_once_but_for_another_s() {
    let (_dir, store) = store();
    let pci = PCI.parse().unwrap();
    store.claims().take(&claim(PCI, "a@net1")).unwrap();
    let unclaim = |holder: &str| unclaim(&store, pci, &holder.parse().unwrap(), 9).unwrap();
    assert_eq!(unclaim("b@net1"), Unclaimed::NotIts);
    assert!(!in_quarantine(&store));
    assert_eq!(unclaim("a@net1"), Unclaimed::Free);
    assert_eq!(store.claims().read(pci).unwrap(), None);
    // Of one that has other interrupts now, or is not there, nobody knows.
    let mut grown = claim(PCI, "a@net1");
    grown.before.vectors = Some(3);
    store.claims().take(&grown).unwrap();
    assert_eq!(unclaim("a@net1"), Unclaimed::Quarantined);
    assert!(in_quarantine(&store));
    assert_eq!(store.claims().read(pci).unwrap().unwrap().since, 9, "it is in quarantine since now");
    store.claims().remove(pci).unwrap();
    // One in quarantine was touched.
    store.claims().take(&claim(PCI, "a@net1").given_back(9)).unwrap();
    assert_eq!(unclaim("a@net1"), Unclaimed::NotIts);
    assert!(in_quarantine(&store));
}

#[test]
fn who_comes_for_a_lent_vf_is_told_who_has_it() {
    let (_dir, store) = store();
    store.claims().take(&claim(PCI, "a@net1")).unwrap();
    store.write(&with_vf("a@net1")).unwrap();
    let borrower = Borrower { holder: &"b@net1".parse().unwrap(), pod: None, pool: None, now: 9 };
    let e =
        super::claim(&store, &vf(PCI), borrower, &|_, _, _| Ok(VfMode::Netdev), Duration::ZERO).unwrap_err();
    assert!(e.code == 11 && e.msg.contains("is held by a@net1 since"), "{e}");
}
