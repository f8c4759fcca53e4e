use super::*;

/// What is set reads back, as far as the kernel's answer has the request's form: it has, but for the kind.
fn told(setting: Setting) -> PfSide {
    let mac = set(7, 3, Setting::Mac(None));
    let other = set(7, 3, setting);
    // One VF's attributes: the MAC, which the kernel puts first, and the other.
    let inside = |m: &Message| m.body[16 + 8..].to_vec();
    let info = attribute(IFLA_VF_INFO, &[inside(&mac), inside(&other)].concat());
    read(&message(16, 7, &attribute(IFLA_VFINFO_LIST, &info)), 3).unwrap()
}

#[test]
fn each_setting_is_read_as_it_is_written() {
    let mac = "02:00:00:00:00:11".parse().ok();
    assert_eq!(told(Setting::Mac(mac)), PfSide { mac, ..PfSide::default() });
    assert_eq!(told(Setting::Mac(None)), PfSide::default());
    for proto in [VlanProto::Q, VlanProto::Ad] {
        let vlan = VlanTag { id: VlanId::try_from(4094).ok(), qos: 7, proto };
        assert_eq!(told(Setting::Vlan(vlan)).vlan, Some(vlan));
    }
    assert_eq!(told(Setting::Vlan(VlanTag::default())).vlan, Some(VlanTag::default()));
    for on in [true, false] {
        assert_eq!(told(Setting::Spoofchk(on)).spoofchk, Some(on));
        assert_eq!(told(Setting::Trust(on)).trust, Some(on));
    }
    for state in [LinkState::Auto, LinkState::Enable, LinkState::Disable] {
        assert_eq!(told(Setting::Link(state)).link_state, Some(state));
    }
    let rates = told(Setting::Rate { min: 10, max: 1000 });
    assert_eq!((rates.min_tx_rate, rates.max_tx_rate), (Some(10), Some(1000)));
}

#[test]
fn what_a_driver_does_not_tell_is_none() {
    let minus_one = [3u32, u32::MAX].iter().flat_map(|n| n.to_ne_bytes()).collect::<Vec<u8>>();
    let info = [attribute(IFLA_VF_SPOOFCHK, &minus_one), attribute(IFLA_VF_TRUST, &minus_one)].concat();
    assert_eq!(read_info(&info, 3), Some(PfSide::default()));
}

#[test]
fn another_vf_is_not_taken_for_it() {
    let one = set(7, 3, Setting::Mac(None));
    assert!(read(&one, 3).is_some());
    assert_eq!(read(&one, 2), None);
    assert_eq!(read(&Message { kind: 16, body: vec![0; 3] }, 3), None);
}

#[test]
fn settings_are_named_as_ip_names_them() {
    let vlan = VlanTag { id: VlanId::try_from(100).ok(), qos: 0, proto: VlanProto::Ad };
    assert_eq!(Setting::Vlan(vlan).to_string(), "vlan 100 proto 802.1ad");
    assert_eq!(Setting::Rate { min: 5, max: 9 }.to_string(), "min_tx_rate 5 max_tx_rate 9");
    assert_eq!(Setting::Mac(None).to_string(), "mac 00:00:00:00:00:00");
}
