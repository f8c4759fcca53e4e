use super::*;
use crate::ids::VlanId;
use crate::nic::PortKey;
use crate::step::Undo;
use crate::vf::VlanTag;

fn name(name: &str) -> IfName {
    name.parse().unwrap()
}

/// A VF in switchdev mode, as interface `ifname`.
fn spec(ifname: &str, address: &str, plug: Plug) -> VfSpec {
    let vf = VfRef {
        pci: "0000:02:10.0".parse().unwrap(),
        port: PortKey { device: "0000:02:00.0".into(), port: 0 },
        pf: name("ens1f0"),
        index: 0,
    };
    VfSpec {
        ifname: name(ifname),
        sandbox: "/run/netns/x".into(),
        vf,
        mode: VfMode::Netdev,
        settings: VfSettings { mtu: 1400u64.try_into().ok(), ..VfSettings::default() },
        present_mac: Some(MacAddr::local(7)),
        present_mtu: Some(1500),
        addresses: vec![Address { ip: address.parse().unwrap(), gateway: "10.244.1.1".parse().ok() }],
        routes: Vec::new(),
        dns: Dns::default(),
        host_ports: Vec::new(),
        link: true,
        uplink: None,
        plug: Some(plug),
    }
}

fn plug(bridge: &str, pods: Option<PodBridge>) -> Plug {
    Plug { representor: name("pf0vf0"), bridge: name(bridge), pods }
}

fn of<T>(plan: &Plan, pick: impl Fn(&Step) -> Option<T>) -> T {
    plan.steps.iter().find_map(pick).unwrap()
}

fn names(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(Step::name).collect()
}

#[test]
fn eth0_by_a_representor_is_a_pod_of_the_bridge() {
    let pods = PodBridge { hairpin: true, inform: vec![name("ens2f0")] };
    let spec = spec("eth0", "10.244.1.5/24", plug("offramp0", Some(pods)));
    let plan = plan(&spec);
    assert_eq!(
        names(&plan),
        [
            "plug-representor",
            "configure-vf",
            "move-vf",
            "know-mac",
            "neighbours",
            "configure-pod",
            "await-carrier",
            "announce"
        ]
    );
    let plugged = of(&plan, |s| if let Step::PlugRepresentor(p) = s { Some(p.clone()) } else { None });
    let expected = PlugRepresentor {
        vf: spec.vf.clone(),
        representor: name("pf0vf0"),
        bridge: name("offramp0"),
        mtu: spec.settings.mtu,
        vlan: None,
        up: true,
        hairpin: true,
    };
    assert_eq!(plugged, expected);
    assert_eq!(Step::PlugRepresentor(expected.clone()).undo(), Some(Undo::UnplugRepresentor(&expected)));
    let pod = of(&plan, |s| if let Step::ConfigurePod(p) = s { Some(p.clone()) } else { None });
    assert_eq!((pod.addresses, pod.neighbours), (spec.addresses, Vec::new()));
    let carrier = of(&plan, |s| if let Step::AwaitCarrier(c) = s { Some(c.clone()) } else { None });
    assert_eq!(carrier.host, Some(name("pf0vf0")));
    let check = SpoofCheck { link: name("pf0vf0"), mac: MacAddr::local(7) };
    assert_eq!(plan.firewall.spoof_check, Some(check));
}

#[test]
fn another_interface_by_a_representor_has_its_vlan_set_on_the_port() {
    let vlan = VlanTag { id: VlanId::try_from(100).ok(), ..VlanTag::default() };
    let settings =
        VfSettings { vlan: Some(vlan), link_state: Some(LinkState::Disable), ..VfSettings::default() };
    let spec = VfSpec { settings, link: false, ..spec("net1", "192.168.1.5/24", plug("br0", None)) };
    let plan = plan(&spec);
    assert_eq!(names(&plan), ["plug-representor", "configure-vf", "move-vf", "configure-pod"]);
    let plugged = of(&plan, |s| if let Step::PlugRepresentor(p) = s { Some(p.clone()) } else { None });
    assert_eq!((plugged.up, plugged.hairpin, plugged.mtu), (false, false, None));
    assert_eq!(plugged.vlan, Some(vlan), "no frame passes before");
    let set = of(&plan, |s| if let Step::ConfigureVf(c) = s { Some(c.settings.vlan) } else { None });
    assert_eq!(set, Some(vlan));
    assert!(plan.firewall.is_empty());
    let userspace = super::plan(&VfSpec { mode: VfMode::Vfio, ..spec });
    assert_eq!(names(&userspace), ["plug-representor", "configure-vf", "bind-vf"]);
}
