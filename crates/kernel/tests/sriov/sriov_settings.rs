//! Every setting, and every refusal in the driver's words.

use crate::lab::{Lab, apply, mac};
use offramp_core::ids::VlanId;
use offramp_core::step::BindTo;
use offramp_core::vf::{LinkState, PfSide, VfSettings, VlanProto, VlanTag};
use offramp_kernel::Executor;
use offramp_kernel::vf::{self, Host};

fn vlan(id: u64, qos: u8, proto: VlanProto) -> Option<VlanTag> {
    Some(VlanTag { id: VlanId::try_from(id).ok(), qos, proto })
}

#[test]
fn each_setting_is_set_and_read_back() {
    let lab = Lab::new(1);
    let mut executor = Executor::new(None).unwrap();
    let none = VfSettings::default;
    let was = || lab.before.pf_side.clone();
    let q = VlanProto::Q;
    let cases: [(VfSettings, PfSide); 6] = [
        (VfSettings { vlan: vlan(100, 3, q), ..none() }, PfSide { vlan: vlan(100, 3, q), ..was() }),
        (VfSettings { spoofchk: Some(false), ..none() }, PfSide { spoofchk: Some(false), ..was() }),
        (VfSettings { trust: Some(true), ..none() }, PfSide { trust: Some(true), ..was() }),
        (VfSettings { max_tx_rate: Some(100), ..none() }, PfSide { max_tx_rate: Some(100), ..was() }),
        (VfSettings { link_state: Some(LinkState::Auto), min_tx_rate: Some(0), ..none() }, was()),
        (VfSettings { mac: Some(mac(1)), ..none() }, PfSide { mac: Some(mac(1)), ..was() }),
    ];
    for (settings, expected) in cases {
        apply(&mut executor, &lab.configure(settings)).unwrap();
        assert_eq!(lab.state().pf_side, expected);
        lab.clean();
    }
}

#[test]
fn what_the_driver_refuses_is_told_in_its_words() {
    let lab = Lab::new(1);
    let mut executor = Executor::new(None).unwrap();
    let cases = [
        (
            VfSettings { vlan: vlan(100, 0, VlanProto::Ad), ..VfSettings::default() },
            "set VF 1 of nic0 vlan 100 proto 802.1ad: Protocol not supported (93)",
        ),
        (
            VfSettings { link_state: Some(LinkState::Enable), ..VfSettings::default() },
            "set VF 1 of nic0 state enable: Operation not supported on transport endpoint (95)",
        ),
        (
            VfSettings { min_tx_rate: Some(50), max_tx_rate: Some(100), ..VfSettings::default() },
            "set VF 1 of nic0 min_tx_rate 50 max_tx_rate 100: Invalid argument (22)",
        ),
    ];
    for (settings, words) in cases {
        assert_eq!(apply(&mut executor, &lab.configure(settings)).unwrap_err(), words);
        lab.is_as_before();
    }
}

/// The PF of no lab NIC shares interrupts out: its driver's refusal comes through, and the VF has its driver again.
#[test]
fn interrupts_that_the_port_does_not_share_out_are_refused() {
    let lab = Lab::new(1);
    let host = Host::default();
    assert_eq!(vf::vectors(&host, &lab.vf).unwrap(), None);
    let refused = vf::set_vectors(&host, &lab.vf, 5).unwrap_err().to_string();
    let words =
        format!("give {} 5 MSI-X vectors: Operation not supported on transport endpoint (95)", lab.vf);
    assert_eq!(refused, words);
    assert_eq!(lab.state().driver, lab.before.driver);
    lab.name();
    lab.clean();
}

/// The first time the netdev takes the MAC because there is no administrative one, the second time because the PF
/// forgets that, and after both a trusted VF keeps the new one.
#[test]
fn a_new_mac_reaches_the_netdev() {
    let lab = Lab::new(2);
    let mut executor = Executor::new(None).unwrap();
    for n in [1, 2, 3] {
        let settings = VfSettings { mac: Some(mac(n)), trust: Some(true), ..VfSettings::default() };
        apply(&mut executor, &lab.configure(settings)).unwrap();
        apply(&mut executor, &lab.bind(BindTo::SameAnew)).unwrap();
        let now = lab.state();
        assert_eq!((now.pf_side.mac, now.netdev.unwrap().mac), (Some(mac(n)), mac(n)));
        assert_eq!(now.pf_side.trust, Some(true));
        lab.clean();
    }
}

/// As set by hand: the netdev refuses the administrative MAC until it is bound anew; if it is trusted, it takes it.
#[test]
fn an_administrative_mac_reaches_the_netdev_by_binding_anew() {
    let lab = Lab::new(2);
    let mut executor = Executor::new(None).unwrap();
    for trust in ["off", "on"] {
        crate::lab::run(&format!("ip link set nic0 vf 2 mac {}", mac(4)));
        crate::lab::run(&format!("ip link set nic0 vf 2 trust {trust}"));
        assert_eq!(lab.state().netdev.unwrap().mac, lab.before.netdev.as_ref().unwrap().mac);
        apply(&mut executor, &lab.bind(BindTo::SameAnew)).unwrap();
        let now = lab.state();
        assert_eq!((now.pf_side.mac, now.netdev.unwrap().mac), (Some(mac(4)), mac(4)));
        assert_eq!(now.pf_side.trust, Some(trust == "on"));
        lab.clean();
    }
}

#[test]
fn a_vf_that_was_counted_anew_is_not_touched() {
    let mut lab = Lab::new(1);
    lab.vf.index = 2;
    let mut executor = Executor::new(None).unwrap();
    let step = lab.configure(VfSettings { trust: Some(true), ..VfSettings::default() });
    let error = apply(&mut executor, &step).unwrap_err();
    assert_eq!(error, format!("{}: it is {} now", lab.vf, crate::lab::vf_ref(2).pci));
    lab.vf.index = 1;
    lab.is_as_before();
}
