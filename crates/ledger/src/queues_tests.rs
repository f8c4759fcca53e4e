use super::*;
use offramp_core::CniError;
use offramp_core::offload::{FlowRule, FlowTo};
use offramp_kernel::queues::User;

fn claim(queue: u32, holder: &str) -> QueueClaim {
    let port = PortKey { device: "0000:01:00.0".into(), port: 1 };
    QueueClaim {
        format: CLAIM_FORMAT,
        queue: QueueRef { port, nic: "ens1f0".parse().unwrap(), queue },
        holder: holder.parse().unwrap(),
        pod: None,
        pool: "xdp".parse().unwrap(),
        state: Claimed::Lent,
        since: 1000,
    }
}

fn claims() -> (tempfile::TempDir, Store, QueueClaims) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path().join("state"));
    let claims = store.queue_claims();
    (dir, store, claims)
}

#[test]
fn a_queue_has_one_holder_and_is_free_only_when_nobody_has_it() {
    let (_dir, _, claims) = claims();
    let (first, second) = (claim(5, "a@eth0"), claim(5, "b@eth0"));
    claims.take(&first).unwrap();
    let e = CniError::from(claims.take(&second).unwrap_err());
    let words = "queue 5 of ens1f0 (0000:01:00.0/1) is held by a@eth0 since 1970-01-01 00:16:40 UTC";
    assert_eq!((e.code, e.msg.as_str()), (11, words));
    claims.take(&claim(6, "b@eth0")).unwrap();
    assert_eq!(claims.list().unwrap().claims.len(), 2);

    // A late release of another's changes nothing.
    claims.unclaim(&first.queue, &second.holder).unwrap();
    assert!(claims.give_back_all(&second.holder, 7).unwrap());
    assert_eq!(claims.read(&first.queue).unwrap(), Some(first.clone()));
    assert!(claims.give_back_all(&first.holder, 7).unwrap());
    let given_back = claims.read(&first.queue).unwrap().unwrap();
    assert!(given_back.in_quarantine());
    claims.take(&second).unwrap_err();

    let steered = |leased, user, rules: &[FlowRule]| {
        let flows = Flows { rules: rules.to_vec(), ..Flows::default() };
        Seen::Nic { nic: "ens1f0".parse().unwrap(), queues: vec![RxQueue { id: 5, leased, user }], flows }
    };
    let with = |leased, user| steered(leased, user, &[]);
    let (to_it, beside) = (FlowTo::Queue(5), FlowTo::Queue(6));
    for (seen, reason) in [
        (with(true, None), "it is still leased"),
        (with(false, Some(User::Xsk)), "an AF_XDP socket still has it"),
        (Seen::Unseen("ens1f0 is down".into()), "ens1f0 is down"),
        (
            steered(false, None, &[FlowRule { id: 12, to: to_it }]),
            "flow rule 12 leads to it: ethtool -N ens1f0 delete 12",
        ),
    ] {
        let now = claims.read(&first.queue).unwrap().unwrap();
        assert_eq!(look(&claims, &now, &seen).unwrap(), Looked::Kept(reason.into()));
        let e = claims.take(&second).unwrap_err().to_string();
        assert!(e.ends_with(reason), "{e}");
    }
    let of_others = steered(false, None, &[FlowRule { id: 12, to: beside }]);
    assert_eq!(look(&claims, &given_back, &of_others).unwrap(), Looked::Free);
    claims.take(&second).unwrap();
}

#[test]
fn what_is_gone_is_forgotten_and_what_is_lent_is_not_touched() {
    let (_dir, _, claims) = claims();
    let lent = claim(5, "a@eth0");
    claims.take(&lent).unwrap();
    assert!(matches!(look(&claims, &lent, &Seen::Gone).unwrap(), Looked::Kept(_)));
    assert_eq!(claims.read(&lent.queue).unwrap(), Some(lent.clone()));
    for seen in
        [Seen::Gone, Seen::Nic { nic: "ens1f0".parse().unwrap(), queues: vec![], flows: Flows::default() }]
    {
        claims.set(&lent.clone().given_back(7)).unwrap();
        assert_eq!(look(&claims, &lent.clone().given_back(7), &seen).unwrap(), Looked::Gone);
        assert_eq!(claims.read(&lent.queue).unwrap(), None);
    }
}

#[test]
fn a_claim_without_a_record_is_nobodys_unless_its_holder_is_at_work() {
    let (_dir, store, claims) = claims();
    let lent = claim(5, "a@eth0");
    claims.take(&lent).unwrap();
    let lock = store.lock(&lent.holder, Duration::ZERO).unwrap();
    assert!(!claims.give_back_if_abandoned(&store, &lent, 7).unwrap());
    drop(lock);
    assert!(claims.give_back_if_abandoned(&store, &lent, 7).unwrap());
    assert!(claims.read(&lent.queue).unwrap().unwrap().in_quarantine());
}

#[test]
fn what_cannot_be_read_is_somebodys() {
    let (dir, _, claims) = claims();
    claims.take(&claim(5, "a@eth0")).unwrap();
    std::fs::write(dir.path().join("state/queues/0000:01:00.0-1-rx6"), "{").unwrap();
    std::fs::write(dir.path().join("state/queues/README"), "").unwrap();
    let listing = claims.list().unwrap();
    let unreadable: Vec<_> = listing.unreadable.iter().map(|(port, n, _)| (port.to_string(), *n)).collect();
    assert_eq!((listing.claims.len(), unreadable), (1, vec![("0000:01:00.0/1".into(), 6)]));
}
