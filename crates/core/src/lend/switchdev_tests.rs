//! VFs whose representors are to be ports of a bridge.

use super::fixture::*;
use super::*;
use crate::ids::IfName;
use crate::nic::{Eswitch, Port};
use crate::wish::Offload;

/// With two VFs in switchdev mode, of which the first has a representor.
fn nic() -> Port {
    let mut nic = Port { eswitch: Eswitch::Switchdev, ..port(1, None, 2) };
    nic.vfs[0].representor = "pf0vf0".parse().ok();
    nic
}

fn eth0(ports: Vec<Port>, hints: &Hints) -> Result<PciAddr, Refusal> {
    let (pools, wish, none) = ([pool("fast", &[])], want("eth0", None), Taken::default());
    let others = request(vec![]);
    let inv = inventory(ports);
    match choose_eth0(Offload::Required, &wish, &others, &pools, &inv, &none, hints)?.eth0 {
        Eth0::Vf(lent) => Ok(lent.vf.pci),
        veth => panic!("{veth:?}"),
    }
}

/// On the pods' bridge it is on the pod network, wherever the uplink is, and whatever that is.
#[test]
fn eth0_asks_for_a_representor_and_not_for_the_uplink() {
    let uplinks = [
        OnUplink::None("it is a tunnel".into()),
        OnUplink::NoneYet("it is down".into()),
        OnUplink::These([port(2, None, 0).key].into()),
    ];
    for uplink in uplinks {
        assert_eq!(eth0(vec![nic()], &Hints { uplink, ..Hints::default() }), Ok(pci(1, 0)));
    }
    let mut bonded = Port { controller: "bond0".parse().ok(), ..nic() };
    let hints = Hints { bonds: ["bond0".parse().unwrap()].into(), ..Hints::default() };
    assert_eq!(eth0(vec![bonded.clone()], &hints), Ok(pci(1, 0)));
    bonded.vfs[0].representor = None;
    let refusal = eth0(vec![bonded], &hints).unwrap_err();
    let words = "no VF for eth0: pool fast, nic1: 2 without a representor";
    assert_eq!((refusal.code(), refusal.to_string().as_str()), (11, words));
}

#[test]
fn what_no_vf_can_be_it_cannot_be_in_switchdev_mode_either() {
    let hints = Hints { no_eth0: Some("it limits".into()), ..Hints::default() };
    for nic in [nic(), port(1, None, 2)] {
        let refusal = eth0(vec![nic], &hints).unwrap_err();
        let words = "no VF for eth0: pool fast, nic1: 2 off the pod network: it limits";
        assert_eq!((refusal.code(), refusal.to_string().as_str()), (106, words));
    }
}

#[test]
fn another_interface_asks_for_a_representor_where_its_pool_has_a_bridge() {
    let net1 = |bridge: Option<IfName>, nic: Port| {
        let pools = [Pool { bridge, ..pool("fast", &["nic1"]) }];
        let wishes = request(vec![want("net1", None), want("net2", None)]);
        let lent = lend(&wishes, &pools, &inventory(vec![nic]), &Taken::default(), &Hints::default());
        lent.map(|lent| lent.len()).map_err(|refusal| refusal.to_string())
    };
    let bridge: Option<IfName> = "br0".parse().ok();
    assert_eq!(net1(None, nic()), Ok(2));
    let refusal = net1(bridge.clone(), nic()).unwrap_err();
    assert!(refusal.contains("nic1: 1 without a representor"), "{refusal}");
    assert_eq!(net1(bridge, port(1, None, 2)), Ok(2), "in legacy mode a VF has none");
}
