//! A record as the daemon would plan it, for the tests of what is printed.

use offramp_core::cni::result::{Dns, Route};
use offramp_core::net::Family;
use offramp_core::plan::{host_ifname, plan};
use offramp_core::record::{FORMAT, IpamHold, Mode, NetnsRef, PodRef, Record, State};
use offramp_core::spec::{Address, Bandwidth, BridgeSpec, HostPort, PortSpec, Protocol, Rate, Spec};
use offramp_core::{AttachmentId, MacAddr, Mtu};

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
        created: 1000,
        attachment: id,
    }
}
