use super::*;
use crate::ipam::{RangeError, check_disjoint};
use proptest::prelude::*;
use std::collections::HashSet;

fn range(subnet: &str) -> Range {
    Range::new(subnet.parse().unwrap(), None, None, None).unwrap()
}

#[test]
fn defaults_are_those_of_host_local() {
    let r = range("10.1.0.0/24");
    assert_eq!(
        (r.start, r.end, r.gateway),
        ("10.1.0.1".parse().unwrap(), "10.1.0.254".parse().unwrap(), "10.1.0.1".parse().unwrap())
    );
    assert_eq!((r.capacity(), r.offers(r.gateway), r.offers(r.end)), (253, false, true));
    let r = range("fd00::/64");
    assert_eq!(r.end, "fd00::ffff:ffff:ffff:ffff".parse::<IpAddr>().unwrap());
    assert_eq!(range("::/0").capacity(), u128::MAX - 1);
}

#[test]
fn wrong_ranges_say_why() {
    let new = |s: &str, a: Option<&str>, b: Option<&str>| {
        Range::new(s.parse().unwrap(), a.map(|a| a.parse().unwrap()), b.map(|b| b.parse().unwrap()), None)
    };
    assert!(matches!(new("10.0.0.5/24", None, None), Err(RangeError::HostBits(..))));
    assert!(matches!(new("10.0.0.0/31", None, None), Err(RangeError::TooSmall(..))));
    assert!(matches!(new("10.0.0.0/24", Some("10.0.1.1"), None), Err(RangeError::Outside(..))));
    assert!(matches!(new("10.0.0.0/24", Some("10.0.0.9"), Some("10.0.0.8")), Err(RangeError::Reversed(..))));
    assert!(matches!(
        check_disjoint(&[vec![range("10.0.0.0/24")], vec![range("10.0.0.0/25")]]),
        Err(RangeError::Overlap(..))
    ));
    assert!(matches!(
        check_disjoint(&[vec![range("10.0.0.0/24"), range("fd00::/64")]]),
        Err(RangeError::Mixed(..))
    ));
    assert!(check_disjoint(&[vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]).is_ok());
}

#[test]
fn wanted_addresses_are_given_or_refused_by_name() {
    let sets = [vec![range("10.0.0.0/24")], vec![range("fd00::/64")]];
    let (a, b): (IpAddr, IpAddr) = ("fd00::77".parse().unwrap(), "10.9.9.9".parse().unwrap());
    let got = pick_all(&sets, &[a], |_| None, |_| false).unwrap();
    assert_eq!((got[0].0, got[1].0), ("10.0.0.2".parse().unwrap(), a));
    assert_eq!(pick_all(&sets, &[a], |_| None, |ip| ip == a).unwrap_err(), PickError::Taken(a));
    assert_eq!(pick_all(&sets, &[b], |_| None, |_| false).unwrap_err(), PickError::NotOffered(b));
    assert!(matches!(pick_all(&sets, &[], |_| None, |ip| ip.is_ipv4()), Err(PickError::Exhausted(_))));
}

proptest! {
    /// Everything that a set offers is given exactly once, in any starting position, and then it is exhausted.
    #[test]
    fn gives_each_address_once(prefix in 26u8..=30, two: bool, start: Option<u8>) {
        let mut set = vec![range(&format!("10.0.0.0/{prefix}"))];
        if two { set.push(range("10.0.1.0/29")); }
        let mut taken = HashSet::new();
        let mut last = start.map(|s| IpAddr::from([10, 0, 0, s]));
        let capacity: u128 = set.iter().map(Range::capacity).sum();
        for _ in 0..capacity {
            let (ip, r) = pick(&set, last, |ip| taken.contains(&ip)).unwrap();
            prop_assert!(r.offers(ip) && taken.insert(ip));
            last = Some(ip);
        }
        prop_assert_eq!(pick(&set, last, |ip| taken.contains(&ip)), None);
    }

    /// The address that was given last is the last to be given again.
    #[test]
    fn an_address_rests(last in 2u8..=250) {
        let set = [range("10.0.0.0/24")];
        let last = IpAddr::from([10, 0, 0, last]);
        prop_assert_ne!(pick(&set, Some(last), |_| false).unwrap().0, last);
    }
}
