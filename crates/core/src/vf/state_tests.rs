use super::*;

fn state() -> VfState {
    let mac = "02:00:00:00:00:01".parse().unwrap();
    VfState {
        driver: Some("igbvf".into()),
        pf_side: PfSide { mac: Some(mac), trust: Some(false), max_tx_rate: Some(0), ..PfSide::default() },
        netdev: Some(NetdevState {
            name: "eth1".parse().unwrap(),
            mac,
            mtu: 1500,
            alias: None,
            altnames: vec!["enp1s16f2".into()],
            promisc: false,
            allmulticast: false,
            up: false,
        }),
        driver_override: Some("igbvf".into()),
        representor: Some(RepresentorState { name: "pf0vf0".parse().unwrap(), mtu: 1500, controller: None }),
        vectors: Some(3),
    }
}

/// The lines after one change.
fn after(change: impl FnOnce(&mut VfState)) -> Vec<String> {
    let mut now = state();
    change(&mut now);
    differences(&state(), &now)
}

#[test]
fn every_field_is_compared() {
    let none: [String; 0] = [];
    assert_eq!(differences(&state(), &state()), none);
    let json = serde_json::to_value(state()).unwrap();
    for side in ["pfSide", "netdev", "representor"] {
        let fields = json[side].as_object().unwrap().keys();
        // What a representor is called now is nobody's affair.
        for field in fields.filter(|field| (side, field.as_str()) != ("representor", "name")) {
            let mut changed = json.clone();
            let value = &mut changed[side][field];
            *value = match field.as_str() {
                "mac" => "02:00:00:00:00:02".into(),
                "name" | "alias" | "controller" => "other".into(),
                "altnames" => Vec::<String>::new().into(),
                "vlan" => serde_json::json!({"id": 100}),
                "linkState" => "enable".into(),
                _ if value.is_boolean() || ["trust", "spoofchk"].contains(&field.as_str()) => true.into(),
                _ => 9.into(),
            };
            let now: VfState = serde_json::from_value(changed).unwrap();
            assert_eq!(differences(&state(), &now).len(), 1, "{side} {field}");
        }
    }
}

#[test]
fn a_difference_tells_what_is_and_what_was() {
    let lines = after(|now| {
        now.driver = None;
        now.driver_override = Some("vfio-pci".into());
        now.pf_side.trust = Some(true);
        now.netdev.as_mut().unwrap().name = "net1".parse().unwrap();
    });
    assert_eq!(
        lines,
        [
            r#"driver is null, was "igbvf""#,
            r#"driver_override is "vfio-pci", was "igbvf""#,
            "trust is true, was false",
            r#"name is "net1", was "eth1""#
        ]
    );
    assert_eq!(after(|now| now.vectors = Some(9)), ["number of MSI-X vectors is 9, was 3"]);
    assert_eq!(after(|now| now.vectors = None), [] as [String; 0], "nobody shares any out any more");
    assert_eq!(after(|now| now.netdev = None), [r#"netdev is null, was "eth1""#]);
    assert_eq!(after(|now| now.representor = None), [r#"representor is null, was "pf0vf0""#]);
}

/// It was the operator's to plug in, and is the operator's to take out.
#[test]
fn a_representor_that_somebody_had_plugged_in_may_be_anywhere_later() {
    let mut before = state();
    before.representor.as_mut().unwrap().controller = "br7".parse().ok();
    assert_eq!(differences(&before, &state()), [] as [String; 0]);
    // A claim of an earlier release does not tell of it.
    before.representor = None;
    assert_eq!(differences(&before, &state()), [] as [String; 0]);
}

#[test]
fn the_netdevs_own_mac_made_administrative_is_no_difference() {
    let mut before = state();
    before.pf_side.mac = None;
    assert_eq!(differences(&before, &state()), [] as [String; 0]);
    let mut now = state();
    now.pf_side.mac = "02:00:00:00:00:02".parse().ok();
    assert_eq!(differences(&before, &now).len(), 1);
}

#[test]
fn vectors_are_got_where_they_are_what_lacks() {
    let with = |vectors| VfState { vectors, ..VfState::default() };
    assert_eq!(with(Some(3)).vectors_for(4, 8), Some(5));
    assert_eq!(with(Some(4)).vectors_for(4, 4), Some(5), "one is for no channel");
    assert_eq!(with(Some(5)).vectors_for(4, 8), None, "it has them");
    assert_eq!(with(Some(3)).vectors_for(9, 8), None, "more than CPUs");
    assert_eq!(with(Some(3)).vectors_for(u32::MAX, u32::MAX), None);
    assert_eq!(with(Some(3)).vectors_for(2048, 4096), None);
    assert_eq!(with(None).vectors_for(4, 8), None, "its port shares none out");
}
