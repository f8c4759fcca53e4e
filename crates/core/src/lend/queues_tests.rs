use super::*;
use crate::lend::cases::queues as case;
use crate::lend::fixture::{holding, lessor, queue_pool as pool};
use crate::lend::properties::may_lease;
use crate::wish::Offload;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn lend(node: &NodeQueues, pool: Option<&str>, count: Option<u32>) -> Result<LentQueues, Refusal> {
    lend_near(node, &BTreeSet::new(), pool, count)
}

fn lend_near(
    node: &NodeQueues,
    numa: &BTreeSet<u32>,
    pool: Option<&str>,
    count: Option<u32>,
) -> Result<LentQueues, Refusal> {
    let (ifname, pool) = ("eth0".parse().unwrap(), pool.map(|p| p.parse().unwrap()));
    node.lend(QueueWant { namespace: Some("team-a"), ifname: &ifname, pool: pool.as_ref(), count, numa })
}

fn told(refusal: Result<LentQueues, Refusal>) -> (u32, String) {
    let refusal = refusal.unwrap_err();
    (refusal.code(), refusal.to_string())
}

#[test]
fn queues_are_of_one_nic_the_one_with_the_least_part_lent() {
    let mut node = NodeQueues {
        pools: vec![pool("xdp", &["nic1#4-7", "nic2#2-5"], 4), pool("later", &["nic3#0-7"], 8)],
        lessors: [1, 2, 3].map(|n| lessor(n, 8)).into(),
        taken: QueuesTaken::default(),
    };
    assert_eq!(lend(&node, None, Some(2)).unwrap().to_string(), "queues 4 and 5 of nic1");
    node.taken.insert(lessor(1, 8).port, 4, holding(Hold::Lent));
    let lent = lend(&node, None, Some(2)).unwrap();
    assert_eq!((lent.to_string(), lent.pool.as_str()), ("queues 2 and 3 of nic2".into(), "xdp"));
    // Three are left of each, and four of the next pool.
    node.taken.insert(lessor(2, 8).port, 2, holding(Hold::Quarantine("it is still leased".into())));
    assert_eq!(lend(&node, None, Some(4)).unwrap().pool.as_str(), "later");
    let words = "no queues for eth0: pool xdp, nic1: 1 lent, 3 free, but 4 are wanted of one NIC; pool xdp, nic2: \
                 1 in quarantine (it is still leased), 3 free, but 4 are wanted of one NIC";
    assert_eq!(told(lend(&node, Some("xdp"), Some(4))), (11, words.into()));
}

#[test]
fn a_nic_near_to_the_pods_cpus_is_better_than_one_with_less_lent() {
    let near = |numa, n| Lessor { numa, ..lessor(n, 8) };
    let mut node = NodeQueues {
        pools: vec![pool("xdp", &["nic1#4-7", "nic2#4-7", "nic3#4-7"], 4)],
        lessors: vec![near(Some(0), 1), near(None, 2), near(Some(1), 3)],
        taken: QueuesTaken::default(),
    };
    let nic = |node: &NodeQueues, numa: &[u32]| {
        let numa = numa.iter().copied().collect();
        lend_near(node, &numa, None, Some(2)).unwrap().nic.to_string()
    };
    assert_eq!((nic(&node, &[]), nic(&node, &[1])), ("nic1".into(), "nic3".into()));
    node.taken.insert(lessor(3, 8).port, 4, holding(Hold::Lent));
    assert_eq!(nic(&node, &[1]), "nic3", "a part of it is lent");
    node.taken.insert(lessor(3, 8).port, 5, holding(Hold::Lent));
    node.taken.insert(lessor(3, 8).port, 6, holding(Hold::Lent));
    assert_eq!(nic(&node, &[1]), "nic2", "whose node is not known, before one that is on another");
}

#[test]
fn a_refusal_has_the_drivers_words_and_says_whether_waiting_helps() {
    let refused = Fault::Refused("its driver, igb, cannot lease queues: Lease device does not ...".into());
    let nic = Lessor { fault: Some(refused), ..lessor(1, 8) };
    let mut node =
        NodeQueues { pools: vec![pool("xdp", &["nic1#4-7"], 2)], lessors: vec![nic], ..Default::default() };
    let words =
        "no queues for eth0: pool xdp, nic1: its driver, igb, cannot lease queues: Lease device does not ...";
    assert_eq!(told(lend(&node, None, Some(2))), (106, words.into()));
    node.lessors[0].fault = Some(Fault::Passing("it is down".into()));
    assert_eq!(told(lend(&node, None, Some(2))).0, 11);
    node.lessors.clear();
    let words = "no queues for eth0: pool xdp: this node has no NIC nic1";
    assert_eq!(told(lend(&node, None, Some(2))), (106, words.into()));
    let words = "no queues for eth0: pool xdp: its policy does not allow queues 3 (allowed: up to 2)";
    assert_eq!(told(lend(&node, None, Some(3))), (107, words.into()));
    assert!(told(lend(&node, None, None)).1.contains("offramp.dev/queues"));
    node.pools[0].namespaces.clear();
    assert_eq!(told(lend(&node, None, Some(1))).0, 107);
}

#[test]
fn what_is_used_by_somebody_else_is_not_lent_and_counted() {
    let mut nic = lessor(1, 6);
    nic.in_use.insert(5, "an AF_XDP socket".into());
    let mut node =
        NodeQueues { pools: vec![pool("xdp", &["nic1#3-9"], 9)], lessors: vec![nic], ..Default::default() };
    assert_eq!(lend(&node, None, Some(2)).unwrap().queues, [3, 4]);
    node.taken.insert(node.lessors[0].port.clone(), 3, holding(Hold::Lent));
    let usage = &node.usage()[0];
    assert_eq!((usage.total, usage.free, usage.lent), (3, 1, 1));
    assert_eq!(usage.unusable, [("in use (an AF_XDP socket)".to_owned(), 1)].into());
    let states: Vec<String> =
        node.all().into_iter().map(|q| format!("{} {}: {}", q.nic, q.queue, q.state)).collect();
    let unusable = "nic1 5: unusable: in use (an AF_XDP socket)";
    assert_eq!(states, ["nic1 3: lent to other@net1", "nic1 4: free", unusable]);
    assert!(told(lend(&node, None, Some(2))).1.contains("1 in use (an AF_XDP socket)"));
}

/// The paths in their order, and what is said of those that are not to be had.
#[test]
fn eth0_has_a_vf_before_queues_and_queues_before_veth() {
    use crate::lend::fixture::{self, inventory, port, request, want};
    use crate::lend::{Choice, Eth0, Hints, Taken, choose_eth0};
    let mut vfs = fixture::pool("fast", &["nic1"]);
    vfs.policy.max_queues = 4;
    let pools = [vfs];
    let node = NodeQueues {
        pools: vec![pool("xdp", &["nic7#0-1"], 2)],
        lessors: vec![lessor(7, 8)],
        ..Default::default()
    };
    let mut hints = Hints { queues: node, ..Hints::default() };
    let choose =
        |pools: &[_], offload, name: Option<&str>, queues, hints: &Hints, vfs| -> Result<Choice, Refusal> {
            let mut eth0 = want("eth0", name);
            eth0.settings.queues = queues;
            choose_eth0(
                offload,
                &eth0,
                &request(vec![]),
                pools,
                &inventory(vec![port(1, None, vfs)]),
                &Taken::default(),
                hints,
            )
        };
    let is_vf = |choice: Choice| matches!(choice.eth0, Eth0::Vf(_));
    let is_queues = |choice: Choice| matches!(choice.eth0, Eth0::Queues(q) if q.queues == [0, 1]);
    let (required, preferred) = (Offload::Required, Offload::Preferred);
    assert!(is_vf(choose(&pools, required, None, Some(2), &hints, 1).unwrap()));
    assert!(is_queues(choose(&pools, required, None, Some(2), &hints, 0).unwrap()));
    assert!(is_queues(choose(&pools, required, Some("xdp"), Some(2), &hints, 1).unwrap()));
    assert!(is_queues(choose(&[], required, None, Some(2), &hints, 0).unwrap()));
    assert!(is_vf(choose(&pools, required, None, None, &hints, 1).unwrap()));
    choose(&pools, required, Some("fast"), Some(2), &hints, 0).unwrap_err();

    hints.queues.lessors[0].fault = Some(Fault::Refused("this kernel cannot lease queues".into()));
    let refusal = choose(&pools, required, None, Some(2), &hints, 0).unwrap_err();
    let words = "no VF and no queues for eth0: pool fast: it has no VFs on this node; pool xdp, nic7: this kernel cannot \
                 lease queues";
    assert_eq!((refusal.code(), refusal.to_string().as_str()), (106, words));
    let fallback = choose(&pools, preferred, None, Some(2), &hints, 0).unwrap();
    let Choice { eth0: Eth0::Pair(_), reason, .. } = fallback else { panic!("{fallback:?}") };
    assert!(
        reason.starts_with("offload is preferred, but no VF and no queues can be eth0: pool fast"),
        "{reason}"
    );
}

#[test]
fn who_has_too_few_channels_is_not_had_and_the_choice_goes_on() {
    use crate::lend::fixture::{self, inventory, pci, port, request, want};
    use crate::lend::{Choice, Eth0, Hints, Taken, choose_eth0};
    let mut vfs = fixture::pool("fast", &["nic1"]);
    vfs.policy.max_queues = 4;
    let (pools, inventory) = ([vfs], inventory(vec![port(1, None, 2)]));
    let words = "Operation not supported on transport endpoint (95)";
    let choose = |offload, queues, refused: &[(u16, u32)], node: &NodeQueues| {
        let mut eth0 = want("eth0", None);
        eth0.settings.queues = queues;
        let few_channels = refused.iter().map(|(vf, n)| (pci(1, *vf), (*n, words.to_owned()))).collect();
        let hints = Hints { few_channels, queues: node.clone(), ..Hints::default() };
        choose_eth0(offload, &eth0, &request(vec![]), &pools, &inventory, &Taken::default(), &hints)
    };
    let chosen = |offload, queues, refused: &[(u16, u32)], node: &NodeQueues| {
        let Choice { eth0, reason, .. } = choose(offload, queues, refused, node).unwrap();
        match eth0 {
            Eth0::Vf(lent) => lent.vf.pci.to_string(),
            Eth0::Queues(lent) => lent.to_string(),
            Eth0::Pair(_) => reason,
        }
    };
    let (none, all) = (NodeQueues::default(), [(0, 2), (1, 2)]);
    assert_eq!(chosen(Offload::Required, Some(2), &all[..1], &none), pci(1, 1).to_string(), "the next VF");
    assert_eq!(chosen(Offload::Required, Some(1), &all, &none), pci(1, 0).to_string(), "fewer it may have");
    assert_eq!(chosen(Offload::Required, None, &all, &none), pci(1, 0).to_string(), "nobody wants channels");
    let why = format!("pool fast, nic1: 2 whose driver has no 3 channels ({words})");
    let veth = format!("offload is preferred, but no VF can be eth0: {why}");
    assert_eq!(chosen(Offload::Preferred, Some(3), &all, &none), veth);
    let refusal = choose(Offload::Required, Some(3), &all, &none).unwrap_err();
    assert_eq!((refusal.code(), refusal.to_string()), (106, format!("no VF for eth0: {why}")));
    let node = NodeQueues {
        pools: vec![pool("xdp", &["nic7#0-1"], 2)].into_iter().map(everybody).collect(),
        lessors: vec![lessor(7, 8)],
        ..Default::default()
    };
    assert_eq!(chosen(Offload::Preferred, Some(2), &all, &node), "queues 0 and 1 of nic7");
}

fn everybody(pool: QueuePool) -> QueuePool {
    QueuePool { namespaces: vec!["*".parse().unwrap()], ..pool }
}

fn all_free(mut node: NodeQueues) -> NodeQueues {
    node.taken = QueuesTaken::default();
    for nic in &mut node.lessors {
        nic.in_use.clear();
        nic.fault = nic.fault.take().filter(|fault| matches!(fault, Fault::Refused(_)));
    }
    node
}

proptest! {
    #[test]
    fn what_is_lent_is_free_and_allowed_and_a_refusal_has_reasons((node, count) in case()) {
        match lend(&node, None, count) {
            Ok(lent) => may_lease(&node, count, &lent).map_err(TestCaseError::fail)?,
            Err(refusal) => {
                prop_assert!(node.pools.is_empty() || !refusal.reasons.is_empty());
                prop_assert!(!refusal.to_string().contains('\n'));
            }
        }
    }

    #[test]
    fn near_cpus_decide_which_nic_and_not_whether((node, count) in case(), numa in 0..2u32) {
        let (any, near) = (lend(&node, None, count), lend_near(&node, &[numa].into(), None, count));
        prop_assert_eq!(any.as_ref().err(), near.as_ref().err());
        let (Ok(any), Ok(near)) = (any, near) else { return Ok(()) };
        prop_assert_eq!(&any.pool, &near.pool, "the pools' order goes first");
        let numa_of = |nic: &IfName| node.lessors.iter().find(|l| l.nic == *nic).unwrap().numa;
        prop_assert!(numa_of(&near.nic) == Some(numa) || numa_of(&any.nic) != Some(numa));
        // Of no other NIC of that pool on that node enough is free.
        let pool = node.pools.iter().find(|p| p.name == near.pool).unwrap();
        for other in pool.nics.iter().filter(|n| numa_of(&near.nic) != Some(numa) && near.nic != n.of) {
            let alone = NodeQueues { pools: vec![QueuePool { nics: vec![other.clone()], ..pool.clone() }], ..node.clone() };
            let lessor = node.lessors.iter().find(|l| l.nic == other.of);
            prop_assert!(lessor.is_none_or(|l| l.numa != Some(numa)) || lend(&alone, None, count).is_err());
        }
    }

    #[test]
    fn code_11_only_if_all_given_back_would_do((node, count) in case()) {
        if let Err(refusal) = lend(&node, None, count) {
            // A NIC that is down does not tell how many it has.
            let passing = node.lessors.iter().any(|l| matches!(l.fault, Some(Fault::Passing(_))));
            let helps = lend(&all_free(node), None, count).is_ok();
            prop_assert!(helps == (refusal.code() == 11) || passing, "{}", refusal);
        }
    }

    #[test]
    fn more_free_queues_never_make_it_fail((node, count) in case()) {
        prop_assert!(lend(&node, None, count).is_err() || lend(&all_free(node), None, count).is_ok());
    }

    #[test]
    fn every_queue_of_a_pool_is_counted_once((node, _) in case()) {
        for usage in node.usage() {
            let unusable: u64 = usage.unusable.values().sum();
            prop_assert_eq!(usage.total, usage.free + usage.lent + usage.quarantine + unusable);
        }
    }
}
