use super::*;

/// Makes one thing wrong.
type Spoil = fn(&mut Found);

fn device() -> Device {
    Device {
        name: "offramp-vxlan".parse().unwrap(),
        vni: Vni::try_from(7).unwrap(),
        port: 4789,
        local: "192.0.2.1".parse().unwrap(),
        uplink: 2,
        mac: MacAddr::local(9),
        mtu: 1450,
    }
}

fn good() -> Found {
    let d = device();
    Found {
        kind: Some("vxlan".into()),
        index: 5,
        vni: Some(7),
        port: Some(4789),
        local: Some(d.local),
        uplink: Some(2),
        mac: d.mac.octets().to_vec(),
        mtu: 1450,
        up: true,
        ..Found::default()
    }
}

#[test]
fn a_good_one_is_left_alone() {
    assert_eq!(device().fix(Some(&good())), Fix::Adjust(vec![]));
    assert_eq!(device().fix(None), Fix::Create);
}

#[test]
fn what_can_be_changed_is_changed() {
    let cases: [(Spoil, Setting); 7] = [
        (|f| f.local = "192.0.2.9".parse().ok(), Setting::Tunnel),
        (|f| f.uplink = None, Setting::Tunnel),
        (|f| f.drifted = true, Setting::Tunnel),
        (|f| f.mac[5] ^= 1, Setting::Mac),
        (|f| f.mtu = 1430, Setting::Mtu),
        (|f| f.autoconf = true, Setting::NoAutoconf),
        (|f| f.up = false, Setting::Up),
    ];
    let mut all = good();
    for (spoil, setting) in cases {
        let mut one = good();
        spoil(&mut one);
        assert_eq!(device().fix(Some(&one)), Fix::Adjust(vec![setting]));
        spoil(&mut all);
    }
    let in_order = vec![Setting::Tunnel, Setting::Mac, Setting::Mtu, Setting::NoAutoconf, Setting::Up];
    assert_eq!(device().fix(Some(&all)), Fix::Adjust(in_order));
}

#[test]
fn what_cannot_be_changed_is_made_anew() {
    let cases: [(Spoil, &str); 4] = [
        (|f| f.vni = Some(8), "its VNI is 8, not 7"),
        (|f| f.port = Some(8472), "its port is 8472, not 4789"),
        (|f| f.local = "2001:db8::1".parse().ok(), "its local address is 2001:db8::1, not 192.0.2.1"),
        (|f| f.strange = Some("group policy on"), "it has group policy on"),
    ];
    for (spoil, why) in cases {
        let mut one = good();
        spoil(&mut one);
        assert_eq!(device().fix(Some(&one)), Fix::Recreate(why.into()));
    }
}

#[test]
fn a_stranger_is_not_touched() {
    for (kind, what) in [(Some("bridge"), "of kind bridge"), (None, "a physical link")] {
        let found = Found { kind: kind.map(Into::into), ..good() };
        assert_eq!(device().fix(Some(&found)), Fix::Foreign(what.into()));
    }
}
