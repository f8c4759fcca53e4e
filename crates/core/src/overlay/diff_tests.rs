//! A model of the kernel's tables: changes that the kernel would refuse, or that would for an instant lead packets
//! astray, fail here.

use super::state::MAIN_TABLE;
use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

/// Few destinations, so that old and new meet.
fn net(n: u8) -> IpNetwork {
    if n < 4 {
        format!("10.244.{n}.0/24").parse().unwrap()
    } else {
        format!("fd44:{n}::/64").parse().unwrap()
    }
}

fn ip(n: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, n).into()
}

fn mac(n: u8) -> MacAddr {
    MacAddr::local(u64::from(n))
}

fn route(dst: IpNetwork, dev: Dev, hop: IpAddr) -> Route {
    let metric = Route::usual_metric(Family::of(dst.ip()));
    let onlink = dev == Dev::Tunnel;
    Route { dst, dev, next_hop: Some(hop), onlink, source: None, mtu: None, metric, table: MAIN_TABLE }
}

fn a_desired() -> impl Strategy<Value = Desired> {
    prop::collection::btree_map(0u8..8, (any::<bool>(), 0u8..5), 0..8).prop_map(|peers| {
        let mut desired = Desired::default();
        for (n, (tunnelled, endpoint)) in peers {
            let dst = net(n);
            if tunnelled {
                desired.routes.insert(dst, route(dst, Dev::Tunnel, dst.network()));
                desired.neighbours.insert(dst.network(), mac(endpoint));
                desired.fdb.insert(mac(endpoint), ip(endpoint));
            } else {
                desired.routes.insert(dst, route(dst, Dev::Uplink, ip(endpoint)));
            }
        }
        desired
    })
}

fn a_route() -> impl Strategy<Value = Route> {
    let dev = prop_oneof![Just(Dev::Tunnel), Just(Dev::Uplink), Just(Dev::Other(0))];
    (0u8..8, dev, 0u8..5, 0u32..2).prop_map(|(n, dev, hop, odd)| {
        let mut route = route(net(n), dev, ip(hop));
        route.metric += odd;
        route
    })
}

/// Anything that somebody may have left in the tables.
fn a_mess() -> impl Strategy<Value = Actual> {
    let routes = prop::collection::vec(a_route(), 0..8);
    let neighbours = prop::collection::btree_map(0u8..8, prop::option::of(0u8..5), 0..8);
    let fdb = prop::collection::vec((0u8..6, prop::option::of(0u8..5)), 0..6);
    (routes, neighbours, fdb).prop_map(|(mut routes, neighbours, fdb)| {
        routes.sort_by_key(Route::key);
        routes.dedup_by_key(|r| r.key());
        let neighbours = neighbours.into_iter().map(|(n, m)| (net(n).network(), m.map(mac))).collect();
        let entry =
            |(m, endpoint): (u8, Option<u8>)| Fdb { mac: mac(m).octets(), endpoint: endpoint.map(ip) };
        Actual { routes, neighbours, fdb: fdb.into_iter().map(entry).collect() }
    })
}

/// Applies a change as the kernel would.
fn apply(state: &mut Actual, change: Change<'_>) {
    match change {
        Change::SetNeighbour(ip, mac) => {
            state.neighbours.retain(|(has, _)| *has != ip);
            state.neighbours.push((ip, Some(mac)));
        }
        Change::SetFdb(mac, ip) => {
            state.fdb.retain(|f| f.mac != mac.octets());
            state.fdb.push(Fdb { mac: mac.octets(), endpoint: Some(ip) });
        }
        Change::RemoveRoute(route) => {
            let before = state.routes.len();
            state.routes.retain(|r| r != route);
            assert_eq!(state.routes.len(), before - 1, "it was there");
        }
        Change::ReplaceRoute(route) => {
            let has = state.routes.iter_mut().find(|r| r.key() == route.key()).expect("it was there");
            assert_eq!(has.dev, route.dev);
            *has = route.clone();
        }
        Change::AddRoute(route) => {
            assert!(state.routes.iter().all(|r| r.key() != route.key()), "its place is free");
            state.routes.push(route.clone());
        }
        Change::RemoveFdb(mac) => state.fdb.retain(|f| f.mac != mac),
        Change::RemoveNeighbour(ip) => state.neighbours.retain(|(has, _)| *has != ip),
    }
}

/// A packet by this route finds its way through the tunnel.
fn complete(state: &Actual, route: &Route) -> bool {
    let mac = state.neighbours.iter().find(|(ip, _)| Some(*ip) == route.next_hop).and_then(|(_, mac)| *mac);
    mac.is_some_and(|mac| state.fdb.iter().any(|f| f.mac == mac.octets() && f.endpoint.is_some()))
}

proptest! {
    #[test]
    fn any_mess_becomes_what_is_desired(desired in a_desired(), mess in a_mess()) {
        let mut state = mess;
        for change in diff(&desired, &state.clone()) {
            apply(&mut state, change);
            if let Change::AddRoute(route) | Change::ReplaceRoute(route) = change {
                prop_assert!(route.dev != Dev::Tunnel || complete(&state, route), "{change}");
            }
        }
        prop_assert_eq!(diff(&desired, &state).collect::<Vec<_>>(), vec![]);
        prop_assert_eq!(state.routes.len(), desired.routes.len());
        prop_assert_eq!(state.fdb.len(), desired.fdb.len());
        prop_assert_eq!(state.neighbours.len(), desired.neighbours.len());
    }

    #[test]
    fn a_route_goes_before_what_it_needs(old in a_desired()) {
        let mut state = Actual::default();
        diff(&old, &Actual::default()).for_each(|change| apply(&mut state, change));
        for change in diff(&Desired::default(), &state.clone()) {
            apply(&mut state, change);
            let tunnelled = |r: &&Route| r.dev == Dev::Tunnel;
            prop_assert!(state.routes.iter().filter(tunnelled).all(|r| complete(&state, r)), "{change}");
        }
        prop_assert_eq!(state, Actual::default());
    }

    #[test]
    fn what_did_not_change_is_not_touched(desired in a_desired(), victim: prop::sample::Index) {
        let mut state = Actual::default();
        diff(&desired, &Actual::default()).for_each(|change| apply(&mut state, change));
        if state.routes.is_empty() {
            return Ok(());
        }
        let lost = state.routes.remove(victim.index(state.routes.len()));
        prop_assert_eq!(diff(&desired, &state).collect::<Vec<_>>(), vec![Change::AddRoute(&lost)]);
    }
}
