use super::*;
use proptest::prelude::*;

fn peer(name: &str, endpoints: &[&str], nets: &[&str]) -> Peer {
    Peer {
        name: name.parse().unwrap(),
        endpoints: endpoints.iter().map(|e| e.parse().unwrap()).collect(),
        pod_cidrs: nets.iter().map(|n| n.parse().unwrap()).collect(),
        mac: None,
    }
}

fn own() -> Own {
    let Peer { name, endpoints, pod_cidrs, .. } =
        peer("a", &["192.0.2.1", "2001:db8::1"], &["10.1.0.0/24", "fd00:1::/64"]);
    Own { name, addresses: endpoints, pod_cidrs }
}

/// The reason why `peer` is left out beside the node itself and a good peer `b`.
fn reason(peer_: Peer) -> String {
    let good = peer("b", &["192.0.2.2"], &["10.2.0.0/24", "fd00:2::/64"]);
    let (accepted, problems) = accept(&own(), vec![good.clone(), peer_]);
    assert_eq!(accepted, vec![good]);
    assert_eq!(problems.len(), 1);
    problems[0].reason.clone()
}

#[test]
fn what_a_peer_must_not_claim() {
    let c = |e: &str, n: &str| reason(peer("c", &[e], &[n]));
    let ok = "192.0.2.3";
    assert_eq!(c(ok, "10.1.0.128/25"), "its podCIDR 10.1.0.128/25 overlaps 10.1.0.0/24 of this node (a)");
    assert_eq!(c(ok, "fd00:2::/48"), "its podCIDR fd00:2::/48 overlaps fd00:2::/64 of peer b");
    assert_eq!(c("192.0.2.2", "10.3.0.0/24"), "its endpoint 192.0.2.2 is that of peer b");
    assert_eq!(c("2001:db8::1", "10.3.0.0/24"), "its endpoint 2001:db8::1 is that of this node (a)");
    assert_eq!(
        c("10.1.0.9", "10.3.0.0/24"),
        "its endpoint 10.1.0.9 is inside of podCIDR 10.1.0.0/24 of this node (a)"
    );
    assert_eq!(c(ok, "192.0.2.2/32"), "its podCIDR 192.0.2.2/32 holds 192.0.2.2 of peer b");
    assert_eq!(
        c("10.3.0.1", "10.3.0.0/24"),
        "its endpoint 10.3.0.1 is inside of its own podCIDR 10.3.0.0/24"
    );
    assert_eq!(c(ok, "10.3.0.1/24"), "podCIDR 10.3.0.1/24 has host bits set; its network is 10.3.0.0/24");
    assert_eq!(c(ok, "0.0.0.0/0"), "podCIDR 0.0.0.0/0 is not a network that pods can have");
    assert_eq!(
        c("127.0.0.1", "10.3.0.0/24"),
        "endpoint 127.0.0.1 is not an address that another node can have"
    );
    assert_eq!(c("fe80::1", "10.3.0.0/24"), "endpoint fe80::1 is not an address that another node can have");
    assert_eq!(reason(peer("c", &[], &["10.3.0.0/24"])), "it has no endpoint");
    assert_eq!(reason(peer("c", &[ok], &[])), "it has no podCIDR");
    assert_eq!(reason(peer("b", &[ok], &["10.3.0.0/24"])), "another peer has the same name");
    assert_eq!(
        reason(peer("c", &[ok], &["10.3.0.0/16", "10.3.1.0/24"])),
        "its podCIDRs 10.3.0.0/16 and 10.3.1.0/24 overlap"
    );
}

#[test]
fn networks_that_no_pod_can_have() {
    for bad in [
        "0.0.0.0/24",
        "127.1.0.0/24",
        "169.254.7.0/24",
        "239.0.0.0/24",
        "240.0.0.0/24",
        "::/0",
        "::ffff:a00:0/104",
        "fe80::/64",
        "ff02::/64",
    ] {
        assert!(!is_pod_network(bad.parse().unwrap()), "{bad}");
    }
    for good in ["10.0.0.0/8", "100.64.0.0/10", "198.18.0.0/15", "fd00::/8", "2001:db8::/32"] {
        assert!(is_pod_network(good.parse().unwrap()), "{good}");
    }
}

#[test]
fn two_peers_with_one_mac() {
    let with_mac = |mut p: Peer| {
        p.mac = Some("02:00:5e:10:00:01".parse().unwrap());
        p
    };
    let peers = vec![
        with_mac(peer("b", &["192.0.2.2"], &["10.2.0.0/24"])),
        with_mac(peer("c", &["192.0.2.3"], &["10.3.0.0/24"])),
    ];
    let (accepted, problems) = accept(&own(), peers);
    assert_eq!(accepted.len(), 1);
    assert_eq!(problems[0].to_string(), "peer c is left out: its MAC 02:00:5e:10:00:01 is that of peer b");
}

#[test]
fn the_node_itself_is_skipped() {
    assert_eq!(accept(&own(), vec![peer("a", &["127.0.0.1"], &[])]), (vec![], vec![]));
}

/// Few networks, nested in each other, so that clashes are common.
fn any_peer() -> impl Strategy<Value = Peer> {
    let net4 = (0u8..8, 14u8..=26)
        .prop_map(|(n, len)| network_of(IpNetwork::new([10, n, 0, 0].into(), len).unwrap()));
    let net6 = (0u16..8, 28u8..=64)
        .prop_map(|(n, len)| network_of(IpNetwork::new([0xfd00, n, 0, 0, 0, 0, 0, 0].into(), len).unwrap()));
    let endpoint = prop_oneof![
        (0u8..20).prop_map(|n| IpAddr::from([192, 0, 2, n])),
        (0u8..8).prop_map(|n| IpAddr::from([10, n, 0, 1])),
    ];
    let nets = proptest::collection::vec(prop_oneof![net4, net6], 0..3);
    (0u8..12, proptest::collection::vec(endpoint, 0..3), nets).prop_map(|(name, endpoints, pod_cidrs)| Peer {
        name: format!("node-{name}").parse().unwrap(),
        endpoints,
        pod_cidrs,
        mac: None,
    })
}

proptest! {
    /// No two accepted peers, nor a peer and this node, share a name, an endpoint or a pod address; no endpoint
    /// is a pod's address; and every peer is accepted, reported or this node itself.
    #[test]
    fn accepted_peers_never_overlap(peers in proptest::collection::vec(any_peer(), 0..12)) {
        let own = Own { name: "node-0".parse().unwrap(), ..own() };
        let total = peers.iter().filter(|p| p.name != own.name).count();
        let (accepted, problems) = accept(&own, peers);
        prop_assert_eq!(accepted.len() + problems.len(), total);
        let me = Peer { name: own.name, endpoints: own.addresses, pod_cidrs: own.pod_cidrs, mac: None };
        let all: Vec<&Peer> = accepted.iter().chain([&me]).collect();
        let nets: Vec<IpNetwork> = all.iter().flat_map(|p| p.pod_cidrs.clone()).collect();
        for (i, a) in nets.iter().enumerate() {
            prop_assert!(nets[i + 1..].iter().all(|b| !overlaps(*a, *b)));
        }
        for (i, p) in all.iter().enumerate() {
            prop_assert!(p.endpoints.iter().all(|e| nets.iter().all(|n| !n.contains(*e))));
            for q in &all[i + 1..] {
                prop_assert!(p.name != q.name && p.endpoints.iter().all(|e| !q.endpoints.contains(e)));
            }
        }
    }

    /// What was accepted once is accepted again: a reload of the same list changes nothing.
    #[test]
    fn accepting_is_idempotent(peers in proptest::collection::vec(any_peer(), 0..12)) {
        let (accepted, _) = accept(&own(), peers);
        prop_assert_eq!(accept(&own(), accepted.clone()), (accepted, vec![]));
    }
}
