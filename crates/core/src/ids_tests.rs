use super::*;
use proptest::prelude::*;

#[test]
fn interface_names_follow_the_kernel() {
    for good in ["eth0", "a", "net-1.5", "123456789012345", "ü0"] {
        assert!(good.parse::<IfName>().is_ok(), "{good}");
    }
    for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "1234567890123456", "a\0", "a\n"] {
        assert!(bad.parse::<IfName>().is_err(), "{bad:?}");
    }
}

#[test]
fn cni_names_are_never_paths() {
    for good in ["a", "0-_.", "cni-58a67e43"] {
        assert!(good.parse::<ContainerId>().is_ok(), "{good}");
        assert!(good.parse::<NetworkName>().is_ok(), "{good}");
    }
    for bad in ["", ".", "..", "../x", "a/b", "_a", "-a", "a b", "ä", &"a".repeat(201)] {
        assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
    }
}

#[test]
fn node_names_are_those_of_kubernetes() {
    for good in ["a", "node-1", "n1.example.org", "10.0.0.1", &"a".repeat(253)] {
        assert!(good.parse::<NodeName>().is_ok(), "{good}");
    }
    for bad in ["", "A", "-a", "a-", "a..b", ".a", "a_b", "a/b", "ä", &"a".repeat(254)] {
        assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
    }
}

#[test]
fn mac_addresses() {
    assert_eq!("02-00-5E-10-00-01".parse::<MacAddr>().unwrap().to_string(), "02:00:5e:10:00:01");
    for bad in [
        "",
        "02:00:5e:10:00",
        "02:00:5e:10:00:01:02",
        "01:00:5e:00:00:01",
        "00:00:00:00:00:00",
        "2:0:5e:1:0:1",
        "+2:00:5e:10:00:01",
    ] {
        assert!(bad.parse::<MacAddr>().is_err(), "{bad:?}");
    }
    let mac: MacAddr = "52:54:00:12:34:56".parse().unwrap();
    assert_eq!(mac.link_local().to_string(), "fe80::5054:ff:fe12:3456");
}

#[test]
fn numbers_keep_their_range() {
    assert!(VlanId::try_from(0).is_err() && VlanId::try_from(4095).is_err());
    assert_eq!(VlanId::try_from(4094).unwrap().get(), 4094);
    assert!(Mtu::try_from(67).is_err() && Mtu::try_from(65536 + 1500).is_err());
}

proptest! {
    #[test]
    fn local_macs_are_unicast_and_local(seed: u64) {
        let mac = MacAddr::local(seed);
        prop_assert_eq!(mac.octets()[0] & 3, 2);
        prop_assert_eq!(mac.to_string().parse::<MacAddr>().unwrap(), mac);
    }

    #[test]
    fn attachment_ids_round_trip(c in "[a-z0-9][a-zA-Z0-9_.-]{0,64}", i in "[a-z][a-z0-9@]{0,10}") {
        let id = AttachmentId { container: c.parse().unwrap(), ifname: i.parse().unwrap() };
        prop_assert_eq!(id.to_string().parse::<AttachmentId>().unwrap(), id);
    }
}

#[test]
fn the_mac_of_an_address() {
    let of = |ip: &str| MacAddr::of_ip(ip.parse().unwrap()).to_string();
    assert_eq!(of("10.244.1.7"), "0a:58:0a:f4:01:07");
    assert_eq!(of("fd00::2"), of("fd00::2"));
    assert_ne!(of("fd00::2"), of("fd00::3"));
}

proptest! {
    #[test]
    fn the_mac_of_an_address_is_local_and_unicast(bits: u128, v4: bool) {
        let family = if v4 { crate::net::Family::V4 } else { crate::net::Family::V6 };
        let first = MacAddr::of_ip(crate::net::from_bits(family, bits)).octets()[0];
        prop_assert_eq!(first & 3, 2);
    }
}

#[test]
fn resources_are_extended_ones() {
    for good in ["offramp.dev/fast", "intel.com/sriov_net-A.1"] {
        assert!(good.parse::<ResourceName>().is_ok(), "{good}");
    }
    let long = format!("offramp.dev/{}", "a".repeat(64));
    for bad in [
        "fast",
        "/fast",
        "offramp.dev/",
        "a/b/c",
        "kubernetes.io/x",
        "x.kubernetes.io/y",
        "requests.a/b",
        &long,
    ] {
        assert!(bad.parse::<ResourceName>().is_err(), "{bad:?}");
    }
}
