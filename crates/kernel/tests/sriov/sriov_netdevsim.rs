//! What igb refuses, and switchdev mode: `hack/vm --netdevsim --nic igb:4 --iommu`. netdevsim's VFs are settings
//! and representors only.

use crate::lab::run;
use offramp_core::ids::VlanId;
use offramp_core::nic::{Eswitch, PortKey};
use offramp_core::vf::{LinkState, PfSide, VfRef, VfSettings, VlanProto, VlanTag};
use offramp_kernel::devlink;
use offramp_kernel::link::{self, Link};
use offramp_kernel::netlink::Socket;
use offramp_kernel::vf::{Pf, Representor, VfPort};
use std::fs;
use std::time::Duration;

const DEVICE: &str = "netdevsim77";

/// A port with two VFs; gone when dropped.
struct Sim {
    socket: Socket,
    pf: String,
}

impl Sim {
    fn new() -> Self {
        fs::write("/sys/bus/netdevsim/new_device", "77 1").unwrap();
        fs::write(format!("/sys/bus/netdevsim/devices/{DEVICE}/sriov_numvfs"), "2").unwrap();
        let net = fs::read_dir(format!("/sys/bus/netdevsim/devices/{DEVICE}/net")).unwrap();
        let pf = net.map(|e| e.unwrap().file_name().into_string().unwrap()).next().unwrap();
        Self { socket: Socket::open().unwrap(), pf }
    }

    fn link(&mut self) -> Link {
        link::require(&mut self.socket, &self.pf.parse().unwrap()).unwrap()
    }

    /// VF 1; its PCI address is nobody's.
    fn vf(&self) -> VfRef {
        let port = PortKey { device: DEVICE.into(), port: 0 };
        VfRef { pci: "0000:7f:1f.7".parse().unwrap(), port, pf: self.pf.parse().unwrap(), index: 1 }
    }

    fn set(&mut self, port: &VfPort, settings: VfSettings) -> Result<PfSide, String> {
        let vf = self.vf();
        port.configure(&mut self.socket, &vf, &settings).map_err(|e| e.to_string())?;
        port.read(&mut self.socket, &vf).map_err(|e| e.to_string())
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = fs::write("/sys/bus/netdevsim/del_device", "77");
    }
}

fn vlan(id: u64, qos: u8, proto: VlanProto) -> Option<VlanTag> {
    Some(VlanTag { id: VlanId::try_from(id).ok(), qos, proto })
}

#[test]
fn what_igb_refuses_is_set_and_read_back() {
    let mut sim = Sim::new();
    let index = sim.link().index;
    let port = VfPort::Legacy(Pf { name: sim.pf.parse().unwrap(), index });
    let settings = VfSettings {
        mac: Some(crate::lab::mac(7)),
        vlan: vlan(300, 5, VlanProto::Ad),
        trust: Some(true),
        spoofchk: Some(true),
        link_state: Some(LinkState::Enable),
        min_tx_rate: Some(10),
        max_tx_rate: Some(500),
        ..VfSettings::default()
    };
    let now = sim.set(&port, settings.clone()).unwrap();
    let expected = PfSide {
        mac: settings.mac,
        vlan: settings.vlan,
        trust: settings.trust,
        spoofchk: settings.spoofchk,
        link_state: settings.link_state,
        min_tx_rate: settings.min_tx_rate,
        max_tx_rate: settings.max_tx_rate,
    };
    assert_eq!(now, expected);
}

#[test]
fn in_switchdev_mode_representor_bridge_and_devlink_are_set() {
    let mut sim = Sim::new();
    let link = sim.link();
    assert_eq!(Representor::find(&mut sim.socket, &link, 1).unwrap(), None, "in legacy mode");
    let patience = Duration::from_secs(60);
    let set = devlink::set_eswitch(&link.parent.unwrap(), Eswitch::Switchdev, patience, &[]).unwrap();
    set.within("set the mode", patience).unwrap();
    let link = sim.link();
    let representor = Representor::find(&mut sim.socket, &link, 1).unwrap().unwrap();
    let (name, port) = (representor.name.clone(), VfPort::Switchdev(representor));
    let none = VfSettings::default;
    let refusal = |setting: &str, why: &str| {
        Err(format!("set VF 1 of {} (representor {name}) {setting}: {why}", link.name))
    };

    let now = sim.set(&port, VfSettings { max_tx_rate: Some(100), min_tx_rate: Some(10), ..none() }).unwrap();
    assert_eq!((now.min_tx_rate, now.max_tx_rate), (Some(10), Some(100)));
    for state in [LinkState::Auto, LinkState::Disable] {
        let now = sim.set(&port, VfSettings { link_state: Some(state), ..none() }).unwrap();
        assert_eq!(now.link_state, Some(state));
    }
    let trust = sim.set(&port, VfSettings { trust: Some(true), ..none() });
    assert_eq!(trust, refusal("trust on", "an embedded switch in switchdev mode has no such setting"));
    let mac = VfSettings { mac: Some(crate::lab::mac(7)), ..none() };
    let words = sim.set(&port, mac).unwrap_err();
    assert!(words.starts_with(&format!("set VF 1 of {} (representor {name}) mac", link.name)), "{words}");
    println!("TOLD {words}");

    let q = VlanProto::Q;
    let tagged = |id, qos, proto| VfSettings { vlan: vlan(id, qos, proto), ..none() };
    let why = "its representor is not a port of a bridge";
    assert_eq!(sim.set(&port, tagged(100, 0, q)), refusal("vlan 100", why));
    run("ip link add simbr type bridge");
    run(&format!("ip link set {name} master simbr"));
    let why = "the bridge of its representor does not tell VLANs apart";
    assert_eq!(sim.set(&port, tagged(100, 0, q)), refusal("vlan 100", why));
    run("ip link set simbr type bridge vlan_filtering 1");
    for id in [100, 200] {
        assert_eq!(sim.set(&port, tagged(id, 0, q)).unwrap().vlan, vlan(id, 0, q));
    }
    let why = "a bridge sets neither priorities nor service tags";
    assert_eq!(sim.set(&port, tagged(100, 3, q)), refusal("vlan 100 qos 3", why));
    let shown = run(&format!("bridge vlan show dev {name}"));
    assert!(shown.contains("200 PVID Egress Untagged") && !shown.contains("100"), "{shown}");
    assert_eq!(
        sim.set(&port, VfSettings { vlan: Some(VlanTag::default()), ..none() }).unwrap().vlan,
        vlan(0, 0, q)
    );
    run("ip link del simbr");
}
