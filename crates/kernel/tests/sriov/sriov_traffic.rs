//! Two pods, each with a VF of its own.

use crate::lab::{Lab, Pod, apply, mac, run, vf_ref};
use offramp_core::ids::VlanId;
use offramp_core::spec::Address;
use offramp_core::step::Step;
use offramp_core::vf::{VfMode, VfRef, VfSettings, VfSpec, VlanTag, differences, plan};
use offramp_kernel::vf::{self, Host};

fn steps(vf: &VfRef, n: u8, vlan: u64) -> Vec<Step> {
    let id = VlanId::try_from(vlan).ok();
    let address = |ip: String| Address { ip: ip.parse().unwrap(), gateway: None };
    plan(&VfSpec {
        ifname: "net1".parse().unwrap(),
        sandbox: String::new(),
        vf: vf.clone(),
        mode: VfMode::Netdev,
        settings: VfSettings {
            mac: Some(mac(n)),
            vlan: Some(VlanTag { id, ..VlanTag::default() }),
            spoofchk: Some(true),
            ..VfSettings::default()
        },
        present_mac: None,
        present_mtu: None,
        addresses: vec![address(format!("10.99.0.{n}/24")), address(format!("fd99::{n}/64"))],
        routes: Vec::new(),
        dns: Default::default(),
        link: true,
        host_ports: Vec::new(),
        uplink: None,
        plug: None,
    })
    .steps
}

#[test]
fn vfs_of_one_vlan_talk_and_of_two_do_not() {
    let first = Lab::new(1);
    let (one, two) = (Pod::new("one"), Pod::new("two"));
    let other = vf_ref(2);
    let before = vf::state(&Host::default(), &other).unwrap();
    for (vlan, talks) in [(100, true), (200, false)] {
        let pods = [(&one, steps(&first.vf, 1, 100)), (&two, steps(&other, 2, vlan))];
        for (pod, steps) in &pods {
            let mut executor = pod.executor();
            steps.iter().for_each(|step| apply(&mut executor, step).unwrap());
        }
        for ip in ["10.99.0.2", "fd99::2"] {
            let ping = std::process::Command::new("ip")
                .args(["netns", "exec", "one", "ping", "-c", "1", "-W", "2", ip])
                .output()
                .unwrap();
            assert_eq!(ping.status.success(), talks, "vlan {vlan}: {ip}: {ping:?}");
        }
        for (pod, steps) in &pods {
            assert!(pod.executor().undo_all(steps).is_empty());
        }
        first.clean();
        let host = Host::default();
        vf::unbind(&host, other.pci).unwrap();
        vf::reset(&host, other.pci).unwrap();
        vf::restore(&host, &other, &before).unwrap();
        assert_eq!(differences(&before, &vf::state(&host, &other).unwrap()), [] as [String; 0]);
    }
    run("ip -n one link show lo");
}
