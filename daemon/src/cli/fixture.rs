//! A record as the daemon would plan it, for the tests of what is printed.

use offramp_core::cni::result::{Dns, Route};
use offramp_core::ids::VlanId;
use offramp_core::net::Family;
use offramp_core::networks::{Addresses, Delegation, Progress};
use offramp_core::nic::PortKey;
use offramp_core::plan::{Plan, host_ifname, plan};
use offramp_core::record::{FORMAT, IpamHold, Mode, NetnsRef, PodRef, Record, State};
use offramp_core::spec::{Address, Bandwidth, BridgeSpec, HostPort, PortSpec, Protocol, Rate, Spec};
use offramp_core::vf::{
    self, Claim, Plug, PodBridge, Uplink, VfMode, VfRef, VfSettings, VfSpec, VfState, VlanTag,
};
use offramp_core::{AttachmentId, MacAddr, Mtu};
use serde_json::json;

/// A ready attachment of `default/web-0`, dual stack, with a port and a limit, made at 1000.
pub fn record() -> Record {
    let id: AttachmentId = "4f1f8a0c9d2e7b6a5c4d3e2f@eth0".parse().unwrap();
    let address = |ip: &str, gateway: &str| Address {
        ip: ip.parse().unwrap(),
        gateway: Some(gateway.parse().unwrap()),
    };
    let spec = Spec {
        ifname: id.ifname.clone(),
        mac: MacAddr::local(2),
        sandbox: "/run/netns/cni-1".into(),
        host_ifname: host_ifname(&id),
        host_mac: MacAddr::local(1),
        pair: Default::default(),
        mtu: Some(Mtu::try_from(1450).unwrap()),
        bridge: BridgeSpec {
            name: "offramp0".parse().unwrap(),
            ensure: None,
            is_gateway: true,
            force_address: false,
            inform: Vec::new(),
        },
        port: PortSpec::default(),
        addresses: vec![address("10.244.1.7/24", "10.244.1.1"), address("fd00:244:1::7/64", "fd00:244:1::1")],
        routes: Family::ALL.map(|f| Route::via(f.default_route(), None)).to_vec(),
        dns: Dns { nameservers: vec!["10.96.0.10".into()], ..Dns::default() },
        enable_dad: false,
        leave_down: false,
        bandwidth: Bandwidth { ingress: Some(Rate::new(100_000_000, 0)), egress: None },
        host_ports: vec![HostPort {
            host_port: 8080,
            container_port: 80,
            protocol: Protocol::Tcp,
            host_ip: None,
            only: None,
        }],
        masquerade: false,
        mac_spoof_check: false,
    };
    Record {
        format: FORMAT,
        network: "offramp".parse().unwrap(),
        mode: Mode::Node,
        state: State::Ready,
        netns: NetnsRef { path: "/run/netns/cni-1".into(), inode: 4_026_532_201 },
        pod: Some(PodRef { namespace: "default".into(), name: "web-0".into(), uid: "u-1".into() }),
        ipam: IpamHold::Daemon,
        plan: plan(&id, &spec),
        device_info: None,
        networks: Vec::new(),
        asked: Default::default(),
        numa: Default::default(),
        created: 1000,
        attachment: id,
    }
}

/// As [`record`], with `net1` that `bridge` made, and `net2` that it has yet to make.
pub fn with_networks() -> Record {
    let network = |ifname: &str, name: &str| Delegation {
        network: format!("default/{name}"),
        ifname: ifname.parse().unwrap(),
        plugins: vec![json!({"type": "bridge", "name": name}), json!({"type": "tuning", "name": name})],
        asked: Addresses::default(),
        default_route: Vec::new(),
        check: true,
        progress: Progress::Planned,
        result: None,
        hold: IpamHold::None,
        device: None,
    };
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "br1"}, {"name": "net1", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/cni-1"}],
        "ips": [{"address": "192.168.50.2/24", "interface": 1}],
    });
    let begun = Progress::Begun { started: 2, path: Vec::new(), args: String::new() };
    let net1 = Delegation { progress: begun, result: Some(result), ..network("net1", "storage") };
    Record { networks: vec![net1, network("net2", "backup")], ..record() }
}

/// Pod `telco/dpu-0`, made at 1000: eth0 on the pod network by VF 3, net1 by VF 4, net2 by VF 5 for userspace.
pub fn with_vfs() -> Record {
    let id: AttachmentId = "9c2e4f1f8a0c9d2e7b6a5c4d@eth0".parse().unwrap();
    let spec = |ifname: &str, index: u16, mode: VfMode, ip: &str| VfSpec {
        ifname: ifname.parse().unwrap(),
        sandbox: "/run/netns/cni-2".into(),
        vf: vf(index),
        mode,
        settings: VfSettings::default(),
        present_mac: Some(MacAddr::local(u64::from(index))),
        present_mtu: Some(1500),
        addresses: vec![Address { ip: ip.parse().unwrap(), gateway: None }],
        routes: Vec::new(),
        dns: Dns::default(),
        host_ports: Vec::new(),
        link: true,
        uplink: None,
        plug: None,
    };
    let link = "ens1f0".parse().unwrap();
    let uplink = Uplink { link, mac: MacAddr::local(9), bridge: "offramp0".parse().unwrap() };
    let vlan = VlanTag { id: VlanId::try_from(100).ok(), qos: 3, ..VlanTag::default() };
    let eth0 = VfSettings { spoofchk: Some(true), trust: Some(false), ..VfSettings::default() };
    let net1 = VfSettings { vlan: Some(vlan), max_tx_rate: Some(1000), ..VfSettings::default() };
    let eth0 =
        VfSpec { settings: eth0, uplink: Some(uplink), ..spec("eth0", 3, VfMode::Netdev, "10.244.1.8/32") };
    let net1 = VfSpec { settings: net1, ..spec("net1", 4, VfMode::Netdev, "192.168.10.5/24") };
    let net2 = spec("net2", 5, VfMode::Vfio, "192.168.11.5/24");
    let plan = vf::plan(&eth0).and(vf::plan(&net1)).and(vf::plan(&net2));
    Record {
        plan: Plan { reason: format!("{} of pool fast", vf(3)), ..plan },
        netns: NetnsRef { path: "/run/netns/cni-2".into(), inode: 4_026_532_202 },
        pod: Some(PodRef { namespace: "telco".into(), name: "dpu-0".into(), uid: String::new() }),
        attachment: id,
        ..record()
    }
}

/// The same pod in switchdev mode, before it had net2: eth0's representor is on the pods' bridge, net1's on `br-telco`.
pub fn with_plugged() -> Record {
    let vfs = with_vfs();
    let plugged = |index: u16, ifname: &str, bridge: &str, pods: Option<PodBridge>| VfSpec {
        ifname: ifname.parse().unwrap(),
        sandbox: "/run/netns/cni-2".into(),
        vf: vf(index),
        mode: VfMode::Netdev,
        settings: VfSettings::default(),
        present_mac: Some(MacAddr::local(u64::from(index))),
        present_mtu: Some(1500),
        addresses: Vec::new(),
        routes: Vec::new(),
        dns: Dns::default(),
        host_ports: Vec::new(),
        link: true,
        uplink: None,
        plug: Some(Plug {
            representor: format!("pf0vf{index}").parse().unwrap(),
            bridge: bridge.parse().unwrap(),
            pods,
        }),
    };
    let inform = vec!["ens2f0".parse().unwrap()];
    let eth0 = plugged(3, "eth0", "offramp0", Some(PodBridge { hairpin: true, inform }));
    let net1 = plugged(4, "net1", "br-telco", None);
    Record { plan: vf::plan(&net1).and(vf::plan(&eth0)), ..vfs }
}

fn vf(index: u16) -> VfRef {
    VfRef {
        pci: format!("0000:02:10.{index}").parse().unwrap(),
        port: PortKey { device: "0000:02:00.0".into(), port: 0 },
        pf: "ens1f0".parse().unwrap(),
        index,
    }
}

/// The claim of a record on VF `index` from pool fast, in 2026.
pub fn claim(record: &Record, index: u16, mode: VfMode) -> Claim {
    let before = VfState::default();
    let lent = Claim::lent(vf(index), record.attachment.clone(), mode, before, 1_767_225_600);
    Claim { pod: record.pod.clone(), pool: Some("fast".into()), ..lent }
}
