//! Two pods, and what connects them. What Offramp makes is made by its own plan and steps.

use ipnetwork::IpNetwork;
use netlink_packet_route::link::{InfoData, InfoKind, InfoNetkit, LinkAttribute, NetkitMode};
use offramp_core::cni::result::Route;
use offramp_core::ids::{AttachmentId, IfName, MacAddr};
use offramp_core::net::Family;
use offramp_core::pair::{Chosen, Pair};
use offramp_core::plan::{host_ifname, plan};
use offramp_core::spec::{Address, Bandwidth, BridgeSpec, EnsureBridge, PortSpec, Spec};
use offramp_kernel::netlink::Socket;
use offramp_kernel::{Executor, Netns, link, netkit};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

/// What connects them.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    VethBridge,
    NetkitBridge,
    NetkitRouted,
    Direct,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::VethBridge, Self::NetkitBridge, Self::NetkitRouted, Self::Direct];

    /// Names of namespaces and bridges, and the addresses, are by number.
    fn number(self) -> u8 {
        Self::ALL.iter().position(|k| *k == self).map_or(0, |n| n as u8)
    }

    fn address(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 80 + self.number(), 0, host)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::VethBridge => "veth + bridge",
            Self::NetkitBridge => "netkit (L2) + bridge",
            Self::NetkitRouted => "netkit (L3), routed",
            Self::Direct => "veth from pod to pod",
        })
    }
}

/// Two namespaces that reach each other, or why they cannot.
pub enum Wire {
    Ends { a: Netns, b: Netns, to: IpAddr },
    Lacking(String),
}

impl Wire {
    /// Makes it, in the namespace of the calling thread.
    pub fn new(kind: Kind) -> Result<Self, String> {
        if matches!(kind, Kind::NetkitBridge | Kind::NetkitRouted) {
            let lacking =
                Socket::open().and_then(|mut s| netkit::lacking(&mut s)).map_err(|e| e.to_string())?;
            if let Some(why) = lacking {
                return Ok(Self::Lacking(why));
            }
        }
        let pods = [2, 3].map(|host| pod(kind, host));
        let [a, b] = pods;
        let (a, b) = (a?, b?);
        match kind {
            Kind::VethBridge => on_bridge(kind, Pair::Veth, [&a, &b])?,
            Kind::NetkitBridge => on_bridge(kind, Pair::Netkit { rx_queues: 1 }, [&a, &b])?,
            Kind::NetkitRouted => routed(kind, [&a, &b])?,
            Kind::Direct => direct(kind)?,
        }
        Ok(Self::Ends { a, b, to: kind.address(3).into() })
    }
}

fn name(kind: Kind, host: u8) -> String {
    format!("path{}-{host}", kind.number())
}

fn pod(kind: Kind, host: u8) -> Result<Netns, String> {
    let name = name(kind, host);
    ip(&format!("netns add {name}"))?;
    ip(&format!("-n {name} link set lo up"))?;
    Netns::open(format!("/run/netns/{name}")).map_err(|e| e.to_string())
}

/// As Offramp makes it in inline mode.
fn on_bridge(kind: Kind, pair: Pair, pods: [&Netns; 2]) -> Result<(), String> {
    for (netns, host) in pods.into_iter().zip([2, 3]) {
        let id: AttachmentId = format!("{}@eth0", name(kind, host)).parse().map_err(|e| format!("{e}"))?;
        let plan = plan(&id, &spec(kind, pair, host, &id)?);
        let mut executor = Executor::new(Some(netns)).map_err(|e| e.to_string())?;
        plan.steps.iter().try_for_each(|step| executor.apply(step)).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn spec(kind: Kind, pair: Pair, host: u8, id: &AttachmentId) -> Result<Spec, String> {
    let bridge: IfName = format!("path{}", kind.number()).parse().map_err(|e| format!("{e}"))?;
    let ip = IpNetwork::new(kind.address(host).into(), 24).map_err(|e| e.to_string())?;
    let ensure =
        EnsureBridge { name: bridge.clone(), mac: None, mtu: None, vlan_filtering: false, promisc: false };
    Ok(Spec {
        ifname: id.ifname.clone(),
        mac: MacAddr::of_ip(ip.ip()),
        sandbox: String::new(),
        host_ifname: host_ifname(id),
        host_mac: MacAddr::local(u64::from(kind.number()) << 8 | u64::from(host)),
        pair: Chosen { pair, why: None },
        mtu: None,
        bridge: BridgeSpec {
            name: bridge,
            ensure: Some(ensure),
            is_gateway: true,
            force_address: false,
            inform: Vec::new(),
        },
        port: PortSpec::default(),
        addresses: vec![Address { ip, gateway: Some(kind.address(1).into()) }],
        routes: vec![Route::via(Family::V4.default_route(), None)],
        dns: Default::default(),
        enable_dad: false,
        leave_down: false,
        bandwidth: Bandwidth::default(),
        host_ports: Vec::new(),
        masquerade: false,
        mac_spoof_check: false,
    })
}

/// Without a bridge: there are no frames, hence nobody to ask for a MAC, and routes of /32 lead to the pods.
fn routed(kind: Kind, pods: [&Netns; 2]) -> Result<(), String> {
    for (netns, host) in pods.into_iter().zip([2, 3]) {
        let (link, pod, address) =
            (format!("path{}-{host}", kind.number()), name(kind, host), kind.address(host));
        let mut peer = link::named(&parsed("eth0")?);
        peer.attributes.push(LinkAttribute::NetNsFd(netns.raw_fd()));
        let data = vec![InfoNetkit::Mode(NetkitMode::L3), InfoNetkit::Peer(peer)];
        let mut message = link::named(&parsed(&link)?);
        message.attributes.push(link::info(InfoKind::Netkit, Some(InfoData::Netkit(data))));
        let request = link::create(format!("create netkit {link}"), message);
        Socket::open().and_then(|mut s| s.batch(vec![request])).map_err(|e| e.to_string())?;
        ip(&format!("-n {pod} addr add {address}/32 dev eth0"))?;
        ip(&format!("-n {pod} link set eth0 up"))?;
        ip(&format!("-n {pod} route add default dev eth0"))?;
        ip(&format!("link set {link} up"))?;
        ip(&format!("route add {address}/32 dev {link}"))?;
    }
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").map_err(|e| format!("let the node forward: {e}"))
}

fn direct(kind: Kind) -> Result<(), String> {
    let (a, b) = (name(kind, 2), name(kind, 3));
    ip(&format!("-n {a} link add eth0 type veth peer name eth0 netns {b}"))?;
    for (pod, host) in [(a, 2), (b, 3)] {
        ip(&format!("-n {pod} addr add {}/24 dev eth0", kind.address(host)))?;
        ip(&format!("-n {pod} link set eth0 up"))?;
    }
    Ok(())
}

fn parsed(name: &str) -> Result<IfName, String> {
    name.parse().map_err(|e| format!("{e}"))
}

fn ip(line: &str) -> Result<(), String> {
    let output = Command::new("ip").args(line.split(' ')).output().map_err(|e| format!("start ip: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {line}: {}", said.trim())) }
}
