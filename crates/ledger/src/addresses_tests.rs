use super::*;
use crate::store::tests::record;

fn setup() -> (tempfile::TempDir, Store, Vec<Vec<Range>>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path());
    let range = |s: &str| Range::new(s.parse().unwrap(), None, None, None).unwrap();
    (dir, store, vec![vec![range("10.0.0.0/29")], vec![range("fd00::/64")]])
}

fn take(store: &Store, sets: &[Vec<Range>], id: &str) -> Result<Vec<IpAddr>> {
    let addresses = store.addresses(&"net".parse().unwrap(), None);
    let locked = addresses.lock()?;
    let ips: Vec<IpAddr> = locked.pick(sets, &[])?.into_iter().map(|(ip, _)| ip).collect();
    store.write(&record(id))?;
    locked.claim(&id.parse().unwrap(), &ips)?;
    Ok(ips)
}

#[test]
fn each_address_has_one_holder_and_rests_after() {
    let (_dir, store, sets) = setup();
    let first = take(&store, &sets, "c0@eth0").unwrap();
    let addresses = store.addresses(&"net".parse().unwrap(), None);
    // Not the holder: nothing is freed.
    addresses.release(&"c1@eth0".parse().unwrap(), first.iter().copied()).unwrap();
    let mut seen = vec![first.clone()];
    for i in 1..5 {
        seen.push(take(&store, &sets, &format!("c{i}@eth0")).unwrap());
    }
    assert_eq!(seen.iter().flatten().collect::<std::collections::HashSet<_>>().len(), 10);
    let e = take(&store, &sets, "c6@eth0").unwrap_err();
    assert_eq!(offramp_core::CniError::from(e).code, 11);
    addresses.release(&"c0@eth0".parse().unwrap(), first.iter().copied()).unwrap();
    assert_eq!(take(&store, &sets, "c7@eth0").unwrap()[0], first[0]);
}

/// STATUS must not wait for a plugin that is stuck with the lock.
#[test]
fn whether_one_is_free_is_told_while_the_lock_is_held() {
    let (_dir, store, mut sets) = setup();
    sets.truncate(1);
    let addresses = store.addresses(&"net".parse().unwrap(), None);
    for i in 0..5 {
        addresses.peek_free(&sets).unwrap();
        take(&store, &sets, &format!("c{i}@eth0")).unwrap();
    }
    let _locked = addresses.lock().unwrap();
    assert!(matches!(addresses.peek_free(&sets), Err(Error::Addresses { .. })));
}

#[test]
fn files_without_a_record_are_orphans() {
    let (_dir, store, sets) = setup();
    let kept = take(&store, &sets, "kept@eth0").unwrap();
    let lost = take(&store, &sets, "lost@eth0").unwrap();
    store.remove(&"lost@eth0".parse().unwrap()).unwrap();
    let addresses = store.addresses(&"net".parse().unwrap(), None);
    let mut removed = addresses.lock().unwrap().remove_orphans(&store).unwrap();
    removed.sort();
    assert_eq!(removed, lost);
    assert!(addresses.path(kept[0]).exists());
}
