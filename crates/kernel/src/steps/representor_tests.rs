use super::*;
use offramp_core::ids::VlanId;
use offramp_core::nic::PortKey;
use offramp_core::vf::VlanTag;

const BRIDGE: u32 = 7;

fn want() -> PlugRepresentor {
    PlugRepresentor {
        vf: VfRef {
            pci: "0000:02:10.0".parse().unwrap(),
            port: PortKey { device: "0000:02:00.0".into(), port: 0 },
            pf: "ens1f0".parse().unwrap(),
            index: 0,
        },
        representor: "pf0vf0".parse().unwrap(),
        bridge: "br0".parse().unwrap(),
        mtu: 1400u64.try_into().ok(),
        vlan: Some(VlanTag { id: VlanId::try_from(100).ok(), ..VlanTag::default() }),
        up: true,
        hairpin: true,
    }
}

/// What is done before the VLAN is set, and after.
fn told(want: &PlugRepresentor, now: &Link, in_place: bool) -> [Vec<String>; 2] {
    let before = prepare(want, now, BRIDGE, in_place, "plug".into());
    [before, bring_up(want, now, in_place)].map(|all| all.into_iter().map(|r| r.what).collect())
}

#[test]
fn it_is_down_until_its_vlan_is_set() {
    let up = Link { index: 3, name: "pf0vf0".into(), mtu: 1500, up: true, ..Link::default() };
    let hairpin = "set bridge port pf0vf0 hairpin on";
    let before = vec!["set pf0vf0 down", "set pf0vf0 mtu 1400", "plug", hairpin];
    assert_eq!(told(&want(), &up, false), [before.clone(), vec!["set pf0vf0 up"]]);
    let down = Link { up: false, ..up.clone() };
    assert_eq!(told(&want(), &down, false), [before[1..].to_vec(), vec!["set pf0vf0 up"]]);
    let disabled = PlugRepresentor { up: false, ..want() };
    assert_eq!(told(&disabled, &up, false), [before, vec![]]);
    // One in another VLAN than its own, and one that is as it should be, whose link is not touched.
    let port = Link { controller: Some(BRIDGE), mtu: 1400, ..up };
    assert_eq!(told(&want(), &port, false), [vec!["set pf0vf0 down", hairpin], vec!["set pf0vf0 up"]]);
    assert_eq!(told(&want(), &port, true), [vec![hairpin], vec![]]);
}
