use super::fixture::*;
use super::*;
use crate::cni::CniError;
use crate::nic::{Port, VfNetdev};
use crate::pair::Pair;
use crate::vf::LinkState;
use crate::wish::Offload;

/// The VFs that are chosen, as `nic1/0`.
fn chosen(
    request: &LendRequest,
    pools: &[Pool],
    inv: &Inventory,
    taken: &Taken,
    hints: &Hints,
) -> Vec<String> {
    let lent = lend(request, pools, inv, taken, hints).unwrap();
    lent.iter().map(|l| format!("{}/{}", l.vf.pf, l.vf.index)).collect()
}

fn refused(request: &LendRequest, pools: &[Pool], inv: &Inventory, taken: &Taken) -> (u32, String) {
    let error = CniError::from(lend(request, pools, inv, taken, &Hints::default()).unwrap_err());
    (error.code, error.msg)
}

fn near(numa: u32) -> Hints {
    Hints { numa: [numa].into(), ..Hints::default() }
}

fn nets(n: usize) -> LendRequest {
    request((1..=n).map(|i| want(&format!("net{i}"), None)).collect())
}

#[test]
fn near_to_the_pods_cpus_else_evenly_over_nodes_then_over_ports() {
    let pools = [pool("fast", &[])];
    let inv = inventory(vec![port(1, Some(0), 2), port(2, Some(0), 2), port(3, Some(1), 4)]);
    let none = Taken::default();
    // Each VF counts when the next one is chosen; equal shares: the lowest address.
    assert_eq!(
        chosen(&nets(4), &pools, &inv, &none, &Hints::default()),
        ["nic1/0", "nic3/0", "nic2/0", "nic3/1"]
    );
    assert_eq!(chosen(&nets(2), &pools, &inv, &none, &near(1)), ["nic3/0", "nic3/1"]);
    let all_near_taken = lent_out((0..4).map(|i| pci(3, i)));
    assert_eq!(chosen(&nets(1), &pools, &inv, &all_near_taken, &near(1)), ["nic1/0"]);
}

#[test]
fn the_port_with_the_least_part_lent_comes_first() {
    let pools = [pool("fast", &[])];
    let inv = inventory(vec![port(1, None, 2), port(2, None, 6)]);
    // 1 of 2 is more than 2 of 6; a VF that is only being cleaned is no load.
    let mut taken = lent_out([pci(1, 0), pci(2, 0), pci(2, 1)]);
    assert_eq!(chosen(&nets(1), &pools, &inv, &taken, &Hints::default()), ["nic2/2"]);
    taken.insert(pci(1, 0), holding(Hold::Quarantine(String::new())));
    assert_eq!(chosen(&nets(1), &pools, &inv, &taken, &Hints::default()), ["nic1/1"]);
}

#[test]
fn pools_in_the_order_of_the_configuration_and_nobody_left_out() {
    let pools = [pool("a", &["nic1"]), pool("b", &["nic2"])];
    let inv = inventory(vec![port(1, None, 1), port(2, None, 1)]);
    let none = Taken::default();
    assert_eq!(chosen(&nets(1), &pools, &inv, &none, &Hints::default()), ["nic1/0"]);
    // net1 would have nic1's, but net2 can have no other one.
    let both = request(vec![want("net1", None), want("net2", Some("a"))]);
    assert_eq!(chosen(&both, &pools, &inv, &none, &Hints::default()), ["nic2/0", "nic1/0"]);
}

#[test]
fn settings_are_the_pools_where_the_pod_asks_for_nothing() {
    let mut fast = pool("fast", &[]);
    fast.defaults.max_tx_rate = Some(500);
    fast.policy.mac = true;
    let mut net1 = want("net1", None);
    net1.settings.mac = Some("02:00:00:00:00:01".parse().unwrap());
    let inv = inventory(vec![port(1, None, 1)]);
    let lent = lend(&request(vec![net1]), &[fast], &inv, &Taken::default(), &Hints::default()).unwrap();
    assert_eq!(lent[0].settings.max_tx_rate, Some(500));
    assert!(lent[0].settings.mac.is_some());
    assert_eq!(lent[0].netdev.as_ref().unwrap().as_str(), "nic1v0");
}

#[test]
fn every_reason_is_told_in_one_line() {
    let mut telco = pool("telco", &["nic3"]);
    telco.policy.namespaces = vec!["telco-*".parse().unwrap()];
    let mut slow = pool("slow", &["nic2"]);
    slow.mode = VfMode::Vfio;
    let pools = [pool("fast", &["nic1"]), slow, telco];
    let mut down = port(2, None, 2);
    down.up = false;
    down.vfs[1].iommu_group = None;
    let inv = inventory(vec![port(1, None, 4), down]);
    let mut taken = lent_out([pci(1, 0), pci(1, 1), pci(1, 2)]);
    taken.insert(pci(1, 3), holding(Hold::Quarantine("vfio held open by pid 7".into())));
    assert_eq!(
        refused(&nets(1), &pools, &inv, &taken),
        (
            11,
            "no VF for net1: pool fast, nic1: 3 lent, 1 in quarantine (vfio held open by pid 7); \
         pool slow, nic2: 1 without an IOMMU group, which vfio needs, 1 of a port that is down; \
         pool telco: its policy does not let namespace team-a use it"
                .into()
        )
    );
}

#[test]
fn waiting_does_not_help_against_policy_or_lack() {
    let inv = inventory(vec![port(1, None, 1)]);
    let none = Taken::default();
    let fast = [pool("fast", &["nic1"]), pool("empty", &["nic9"])];
    let ask = |pool: &str| request(vec![want("net1", Some(pool))]);
    assert_eq!(
        refused(&nets(1), &[], &inv, &none),
        (106, "no VF for net1: this node has no pool to take it from".into())
    );
    assert_eq!(
        refused(&ask("gone"), &fast, &inv, &none),
        (106, "no VF for net1: this node has no pool gone".into())
    );
    assert_eq!(
        refused(&ask("empty"), &fast, &inv, &none),
        (106, "no VF for net1: pool empty: it has no VFs on this node".into())
    );
    let told =
        refused(&request(vec![want("net1", Some("fast")), want("net2", Some("fast"))]), &fast, &inv, &none);
    assert_eq!(
        told,
        (106, "no VF for net2: pool fast: 1 free, but needed for the pod's other interfaces".into())
    );
    let mut vlan = want("net1", Some("fast"));
    vlan.settings.vlan = Some(crate::vf::VlanTag { id: 100u64.try_into().ok(), ..Default::default() });
    assert_eq!(
        refused(&request(vec![vlan]), &fast, &inv, &none),
        (107, "no VF for net1: pool fast: its policy does not allow vlan 100 (allowed: vlans none)".into())
    );
}

#[test]
fn a_driver_that_is_missing_is_no_matter_of_waiting() {
    let fast = [pool("fast", &[])];
    let mut nic = port(1, None, 3);
    nic.vfs[0].driver = None;
    nic.vfs[0].netdev = VfNetdev::None;
    nic.vfs[1].driver = Some("vfio-pci".into());
    nic.vfs[1].netdev = VfNetdev::None;
    nic.vfs[2].netdev = VfNetdev::Elsewhere { netns: None, name: None };
    let (code, msg) = refused(&nets(1), &fast, &inventory(vec![nic.clone()]), &Taken::default());
    assert_eq!(
        (code, msg.as_str()),
        (
            11,
            "no VF for net1: pool fast, nic1: 1 with the netdev in a namespace that \
        Offramp did not put it in, 1 without a driver, 1 without a netdev (driver vfio-pci)"
        )
    );
    nic.vfs.pop();
    assert_eq!(refused(&nets(1), &fast, &inventory(vec![nic]), &Taken::default()).0, 106);
}

#[test]
fn a_link_of_its_own_needs_no_wire_but_a_port_that_is_up() {
    let mut fast = pool("fast", &[]);
    let mut nic = port(1, None, 1);
    nic.carrier = false;
    let told = |fast: &Pool, nic: &Port| {
        let pools = std::slice::from_ref(fast);
        lend(&nets(1), pools, &inventory(vec![nic.clone()]), &Taken::default(), &Hints::default()).is_ok()
    };
    assert!(!told(&fast, &nic));
    fast.defaults.link_state = Some(LinkState::Enable);
    assert!(told(&fast, &nic));
    nic.up = false;
    assert!(!told(&fast, &nic));
}

#[test]
fn a_device_is_had_by_its_address_from_its_own_pool_only() {
    let pools = [pool("a", &["nic1"]), pool("b", &["nic2"])];
    let mut off = port(3, None, 1);
    off.vfs[0].pci = pci(3, 5);
    let inv = inventory(vec![port(1, None, 2), port(2, None, 2), off]);
    let by =
        |address, name: Option<&str>| request(vec![Want { device: Some(address), ..want("net1", name) }]);
    let none = Taken::default();
    assert_eq!(chosen(&by(pci(2, 1), None), &pools, &inv, &none, &near(0)), ["nic2/1"]);
    assert_eq!(chosen(&by(pci(2, 1), Some("b")), &pools, &inv, &none, &near(0)), ["nic2/1"]);
    let told = |request: LendRequest| refused(&request, &pools, &inv, &lent_out([pci(2, 1)]));
    assert_eq!(told(by(pci(2, 1), None)), (11, "no VF for net1: pool b, nic2: 1 lent".into()));
    assert_eq!(
        told(by(pci(2, 1), Some("a"))).1,
        "no VF for net1: VF 0000:02:10.1 is not in the pool that was asked for"
    );
    assert_eq!(told(by(pci(3, 5), None)).1, "no VF for net1: VF 0000:03:10.5 is in no pool");
    assert_eq!(told(by(pci(4, 0), None)), (106, "no VF for net1: this node has no VF 0000:04:10.0".into()));
}

#[test]
fn what_two_pools_select_is_lent_by_neither() {
    let pools = [pool("a", &["nic1"]), pool("b", &["nic1#0"])];
    let inv = inventory(vec![port(1, None, 2)]);
    assert_eq!(chosen(&nets(1), &pools, &inv, &Taken::default(), &Hints::default()), ["nic1/1"]);
    let (code, msg) = refused(&request(vec![want("net1", Some("b"))]), &pools, &inv, &Taken::default());
    assert_eq!((code, msg.as_str()), (106, "no VF for net1: pool b: the pools a and b select the same VFs"));
}

fn eth0(
    offload: Offload,
    others: &LendRequest,
    pools: &[Pool],
    taken: &Taken,
    hints: &Hints,
) -> Result<Choice, Refusal> {
    let mut bonded = port(2, None, 1);
    bonded.controller = Some("bond0".parse().unwrap());
    let inv = inventory(vec![port(1, None, 2), bonded]);
    choose_eth0(offload, &want("eth0", None), others, pools, &inv, taken, hints)
}

#[test]
fn preferred_falls_back_with_the_reason_and_required_never() {
    let pools = [pool("fast", &["nic1"])];
    let (no_others, hints) = (request(vec![]), Hints::default());
    let taken = lent_out([pci(1, 0), pci(1, 1)]);
    let choose = |offload, others: &LendRequest, taken: &Taken| eth0(offload, others, &pools, taken, &hints);
    let veth =
        |reason: &str| Choice { eth0: Eth0::Pair(Pair::Veth), reason: reason.into(), others: Vec::new() };

    assert_eq!(choose(Offload::None, &no_others, &taken).unwrap(), veth("no offload was asked for"));
    let fallback = choose(Offload::Preferred, &no_others, &taken).unwrap();
    assert_eq!(fallback, veth("offload is preferred, but no VF can be eth0: pool fast, nic1: 2 lent"));
    let refusal = choose(Offload::Required, &no_others, &taken).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.to_string().as_str()),
        (11, "no VF for eth0: pool fast, nic1: 2 lent")
    );

    let error = refusal.into_error(Offload::Required, &"eth0".parse().unwrap());
    assert_eq!(error.msg, "offload of eth0 is required: no VF for eth0: pool fast, nic1: 2 lent");
    assert!(error.details.contains("preferred falls back to veth"));

    // Further interfaces have no other path: eth0 gives way.
    let two = request(vec![want("net1", None), want("net2", None)]);
    let choice = choose(Offload::Preferred, &two, &Taken::default()).unwrap();
    assert_eq!(choice.others.len(), 2);
    assert_eq!(choice.eth0, Eth0::Pair(Pair::Veth));
    assert!(choice.reason.ends_with(": pool fast: 2 free, but needed for the pod's other interfaces"));
    let one = request(vec![want("net1", None)]);
    let choice = choose(Offload::Required, &one, &Taken::default()).unwrap();
    let Eth0::Vf(vf) = choice.eth0 else { panic!("no VF") };
    assert!(vf.vf != choice.others[0].vf);
    // What further interfaces lack is not mended by a veth.
    let three = request(vec![want("net1", None), want("net2", None), want("net3", None)]);
    assert_eq!(choose(Offload::Preferred, &three, &Taken::default()).unwrap_err().code(), 106);
}

#[test]
fn eth0_is_checked_and_never_trusted() {
    let mut fast = pool("fast", &["nic1"]);
    fast.defaults = VfSettings {
        spoofchk: Some(false),
        trust: Some(true),
        vlan: Some(crate::vf::VlanTag::default()),
        ..VfSettings::default()
    };
    let (none, no_others) = (Taken::default(), request(vec![]));
    let choose = |fast: &Pool| {
        eth0(Offload::Required, &no_others, std::slice::from_ref(fast), &none, &Hints::default())
    };
    let Eth0::Vf(vf) = choose(&fast).unwrap().eth0 else { panic!("no VF") };
    assert_eq!((vf.settings.spoofchk, vf.settings.trust, vf.settings.vlan), (Some(true), Some(false), None));
    fast.mode = VfMode::Vfio;
    assert!(choose(&fast).unwrap_err().to_string().contains("userspace"));
    fast.policy.eth0 = false;
    let refusal = choose(&fast).unwrap_err();
    assert_eq!(refusal.code(), 107);
    assert!(refusal.to_string().contains("does not allow VFs as eth0"));
}

#[test]
fn eth0_on_a_bond_has_to_be_allowed() {
    let mut fast = pool("fast", &["nic2"]);
    let hints = Hints { bonds: ["bond0".parse().unwrap()].into(), ..Hints::default() };
    let (none, no_others) = (Taken::default(), request(vec![]));
    let choose = |fast: &Pool, hints: &Hints| {
        eth0(Offload::Required, &no_others, std::slice::from_ref(fast), &none, hints)
    };
    let refusal = choose(&fast, &hints).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.to_string().as_str()),
        (
            107,
            "no VF for eth0: pool fast, nic2: 1 of a port of \
        bond0: its policy does not allow eth0 on a bond (policy.allowBond)"
        )
    );
    // A port of a bridge is none of a bond.
    assert!(choose(&fast, &Hints::default()).is_ok());
    fast.policy.allow_bond = true;
    assert!(choose(&fast, &hints).is_ok());
}

mod kubelets {
    use super::*;
    use crate::lend::{Assigned, lend};

    fn pools() -> [Pool; 2] {
        let resource = "offramp.dev/fast".parse().ok();
        [Pool { resource, ..pool("fast", &["nic1"]) }, pool("slow", &["nic2"])]
    }

    fn assigned(devices: &[(u8, u16)]) -> Hints {
        let of = |(bus, index): &(u8, u16)| (pci(*bus, *index), "offramp.dev/fast".parse().unwrap());
        Hints { assigned: Assigned::Known(devices.iter().map(of).collect()), ..Hints::default() }
    }

    fn ask(wants: Vec<Want>, taken: &Taken, hints: &Hints) -> Result<Vec<String>, Refusal> {
        let nics = inventory(vec![port(1, None, 4), port(2, None, 1)]);
        let lent = lend(&request(wants), &pools(), &nics, taken, hints)?;
        Ok(lent.iter().map(|l| l.vf.pci.to_string()).collect())
    }

    #[test]
    fn exactly_what_was_assigned_is_taken() {
        let wants = || vec![want("net1", Some("fast")), want("net2", Some("fast"))];
        let lent = ask(wants(), &Taken::default(), &assigned(&[(1, 3), (1, 1)])).unwrap();
        assert_eq!(lent, ["0000:01:10.1", "0000:01:10.3"]);
        let refusal = ask(wants(), &Taken::default(), &assigned(&[(1, 3)])).unwrap_err();
        assert_eq!(refusal.code(), 106, "{refusal}");
        let by_address = Want { device: Some(pci(1, 0)), ..want("net1", None) };
        ask(vec![by_address], &Taken::default(), &assigned(&[(1, 3)])).unwrap_err();
    }

    #[test]
    fn a_pool_of_kubelets_is_not_lent_by_annotation_and_another_is() {
        let refusal = ask(vec![want("net1", Some("fast"))], &Taken::default(), &assigned(&[])).unwrap_err();
        assert_eq!(refusal.code(), 106);
        assert_eq!(refusal.kinds(), ["not-assigned"].into());
        assert!(refusal.to_string().contains("must request offramp.dev/fast"), "{refusal}");
        let any = || vec![want("net1", None)];
        assert_eq!(ask(any(), &Taken::default(), &assigned(&[])).unwrap(), ["0000:02:10.0"]);
        assert_eq!(ask(any(), &Taken::default(), &assigned(&[(1, 2)])).unwrap(), ["0000:01:10.2"]);
    }

    #[test]
    fn what_is_held_gone_or_not_known_says_so() {
        let fast = || vec![want("net1", Some("fast"))];
        let refusal = ask(fast(), &lent_out([pci(1, 2)]), &assigned(&[(1, 2)])).unwrap_err();
        assert_eq!(refusal.code(), 11, "{refusal}");
        let refusal = ask(fast(), &Taken::default(), &assigned(&[(9, 0)])).unwrap_err();
        assert!(refusal.to_string().contains("no VF 0000:09:10.0"), "{refusal}");
        let away = Hints { assigned: Assigned::Unknown("it hangs".into()), ..Hints::default() };
        let refusal = ask(fast(), &Taken::default(), &away).unwrap_err();
        assert_eq!(refusal.code(), 11, "{refusal}");
        assert!(refusal.to_string().contains("it hangs"), "{refusal}");
    }
}

/// What may come from the pod's author by way of the runtime is judged too.
#[test]
fn a_mac_for_eth0_is_the_policys_affair() {
    let mut fast = pool("fast", &["nic1"]);
    let mut wish = want("eth0", None);
    wish.settings.mac = Some("02:00:00:00:00:01".parse().unwrap());
    let (inv, none, others) = (inventory(vec![port(1, None, 1)]), Taken::default(), request(vec![]));
    let choose = |offload, fast: &Pool| {
        choose_eth0(offload, &wish, &others, std::slice::from_ref(fast), &inv, &none, &Hints::default())
    };
    let refusal = choose(Offload::Required, &fast).unwrap_err();
    assert_eq!(refusal.code(), 107);
    let words = "no VF for eth0: pool fast: its policy does not allow mac 02:00:00:00:00:01 (allowed: the one it has)";
    assert_eq!(refusal.to_string(), words);
    assert!(matches!(choose(Offload::Preferred, &fast).unwrap().eth0, Eth0::Pair(_)));
    fast.policy.mac = true;
    let Eth0::Vf(vf) = choose(Offload::Required, &fast).unwrap().eth0 else { panic!("no VF") };
    assert_eq!(vf.settings.mac, wish.settings.mac);
}

#[test]
fn an_uplink_that_is_not_known_is_waited_for() {
    let fast = [pool("fast", &["nic1"])];
    let (none, no_others) = (Taken::default(), request(vec![]));
    let choose =
        |uplink| eth0(Offload::Required, &no_others, &fast, &none, &Hints { uplink, ..Hints::default() });
    let refusal = choose(OnUplink::NoneYet("it is down".into())).unwrap_err();
    let words = "no VF for eth0: pool fast, nic1: 2 off the pod network: it is down";
    assert_eq!((refusal.code(), refusal.to_string().as_str()), (11, words));
    assert_eq!(choose(OnUplink::None("it is a tunnel".into())).unwrap_err().code(), 106);
    let other = [port(2, None, 0).key].into();
    assert!(
        choose(OnUplink::These(other)).unwrap_err().to_string().contains("that the pod network is not on")
    );
    assert!(choose(OnUplink::These([port(1, None, 0).key].into())).is_ok());
}

#[test]
fn the_runtimes_limit_lowers_the_pools_and_is_not_below_what_is_guaranteed() {
    let mut fast = pool("fast", &["nic1"]);
    fast.policy.max_tx_rate = Some(1000);
    let limited = |fast: &Pool, egress| {
        let wish = Want { egress, ..want("net1", None) };
        let inv = inventory(vec![port(1, None, 1)]);
        let pools = std::slice::from_ref(fast);
        lend(&request(vec![wish]), pools, &inv, &Taken::default(), &Hints::default())
            .map(|lent| lent[0].settings.max_tx_rate)
    };
    assert_eq!(limited(&fast, None), Ok(Some(1000)));
    assert_eq!(limited(&fast, Some(200)), Ok(Some(200)));
    assert_eq!(limited(&fast, Some(2000)), Ok(Some(1000)));
    fast.defaults.min_tx_rate = Some(300);
    assert_eq!(limited(&fast, Some(300)), Ok(Some(300)));
    let refusal = limited(&fast, Some(200)).unwrap_err();
    let words = "no VF for net1: pool fast: its policy does not allow an egress bandwidth of 200 Mbit/s \
                 (allowed: minTxRate, 300 Mbit/s, and more)";
    assert_eq!((refusal.code(), refusal.to_string().as_str()), (107, words));
}

/// A claim that cannot be read, or a lock that somebody has: the VF may have no driver meanwhile.
#[test]
fn a_vf_that_is_somebodys_by_no_claim_is_passed_over_and_waited_for() {
    let fast = [pool("fast", &["nic1"])];
    let mut nic = port(1, None, 2);
    let mut taken = Taken::default();
    taken.insert(pci(1, 0), Holding::unclear("its claim cannot be read"));
    assert_eq!(chosen(&nets(1), &fast, &inventory(vec![nic.clone()]), &taken, &Hints::default()), ["nic1/1"]);
    taken.insert(pci(1, 1), holding(Hold::Lent));
    (nic.vfs[0].driver, nic.vfs[0].netdev) = (None, VfNetdev::None);
    let words = "no VF for net1: pool fast, nic1: 1 lent, 1 somebody's (its claim cannot be read)";
    assert_eq!(refused(&nets(1), &fast, &inventory(vec![nic]), &taken), (11, words.into()));
}
