//! The steps of a plan. A step is data; `offramp-kernel` executes it, and every step knows its undo.
//! Undoing a step that was never executed, or was undone before, changes nothing.

use crate::cni::result::Route;
use crate::ids::{IfName, MacAddr, Mtu};
use crate::nic::PortKey;
use crate::queue::QueueRef;
use crate::spec::{Address, Bandwidth, EnsureBridge, PortSpec};
use crate::steer::SteerQueues;
use crate::vf::{VfRef, VfSettings, VlanTag};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// The bridge is there, up, and has these settings. Shared, so undone only where it was made by an ADD that failed.
    EnsureBridge(EnsureBridge),
    /// A veth pair, its pod end made inside the pod's netns.
    CreateVeth(CreatePair),
    /// Likewise a netkit pair, in L2 mode. A step of its own, so that who does not know it cannot make a veth of it.
    CreateNetkit(CreateNetkit),
    /// A netkit pair in L3 mode, which has no MACs: its host end's name is no other attachment's, and no other ADD's.
    CreateNetkitL3(CreateNetkitL3),
    /// The host end is a port of the bridge, without IPv6 of its own, up.
    AttachPort(AttachPort),
    /// The host end is a link that the node routes by, without IPv6 of its own, up. Not where the node would take any source
    /// address from it.
    AttachRouted(AttachRouted),
    /// The embedded switch of a PF behind the bridge knows the pod, if it has room.
    KnowMac(KnowMac),
    /// Token buckets on the host end.
    Shape(Shape),
    /// The bridge has the gateways' addresses, and the node forwards. Shared, so never undone.
    Gateway(Gateway),
    /// The pod's end has its addresses and routes and is up.
    ConfigurePod(ConfigurePod),
    /// The node knows the pod's MAC: nothing stale of an earlier holder of the address is in the way.
    Neighbours(Neighbours),
    /// Both ends have carrier, the port forwards, the addresses are usable: the first packet will pass. Bounded.
    AwaitCarrier(AwaitCarrier),
    /// The neighbours hear of addresses that may have had another MAC before (gratuitous ARP, unsolicited NA).
    Announce(Announce),
    /// The VF's representor is a port of the bridge.
    PlugRepresentor(PlugRepresentor),
    /// The PF has set the VF as asked for. Not undone as a step: a VF that was claimed is cleaned as a whole.
    ConfigureVf(ConfigureVf),
    /// The VF's driver is the one asked for, and knows what the PF has set. Not undone as a step either.
    BindVf(BindVf),
    /// The VF's netdev is in the pod, under its name there, with its settings; down.
    MoveVf(MoveVf),
    /// The node reaches the pod's addresses by a link, and answers for them on the pods' bridge.
    HostRoute(HostRoute),
    /// The pod's end of a netkit pair leases queues of a NIC. They are given back when the link is deleted.
    LeaseQueues(LeaseQueues),
    /// The NIC leads what comes for the pod's addresses to queues of the pod's own: an RSS context, and rules to it.
    SteerQueues(SteerQueues),
}

/// Two ends of one wire; see [`Step::CreateVeth`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePair {
    /// The host end.
    pub host: IfName,
    /// The host end's MAC, by which its undo knows it.
    pub host_mac: MacAddr,
    /// The pod's end.
    pub pod: IfName,
    /// The pod's MAC.
    pub pod_mac: MacAddr,
    /// Of both ends, in bytes.
    pub mtu: Option<Mtu>,
}

/// See [`Step::CreateNetkit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateNetkit {
    /// Its ends.
    #[serde(flatten)]
    pub pair: CreatePair,
    /// Receive queues that the pod's end has room for. One is its own, the others can be leased from a NIC; the kernel
    /// allows 256 (`NETKIT_NUM_RX_QUEUES_MAX`, drivers/net/netkit.c), and one queue for sending.
    pub rx_queues: u32,
}

/// See [`Step::CreateNetkitL3`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateNetkitL3 {
    /// The host end, by whose name its undo knows it.
    pub host: IfName,
    /// The pod's end.
    pub pod: IfName,
    /// Of both ends, in bytes.
    pub mtu: Option<Mtu>,
}

/// See [`Step::AttachRouted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRouted {
    /// The host end.
    pub link: IfName,
}

/// See [`Step::AttachPort`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachPort {
    /// The host end.
    pub link: IfName,
    /// The bridge.
    pub bridge: IfName,
    /// Settings.
    pub port: PortSpec,
}

/// See [`Step::KnowMac`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnowMac {
    /// The PF's netdev.
    pub port: IfName,
    /// The pod's MAC, which nobody else has put into the PF's filter.
    pub mac: MacAddr,
}

/// See [`Step::Shape`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The host end; what it sends is the pod's ingress.
    pub link: IfName,
    /// The ifb that the pod's egress passes; made only if egress is limited.
    pub ifb: IfName,
    /// The ifb's MAC, by which its undo knows it.
    pub ifb_mac: MacAddr,
    /// Limits.
    pub bandwidth: Bandwidth,
    /// Of the ifb, in bytes.
    pub mtu: Option<Mtu>,
}

/// See [`Step::Gateway`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// The bridge.
    pub bridge: IfName,
    /// Gateway addresses with the pods' prefix lengths.
    pub addresses: Vec<IpNetwork>,
    /// Another address of the same subnet is replaced; else it is an error.
    pub force: bool,
}

/// See [`Step::ConfigurePod`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurePod {
    /// The pod's end.
    pub link: IfName,
    /// Its MAC, from which the IPv6 link-local address comes.
    pub mac: MacAddr,
    /// Addresses.
    pub addresses: Vec<Address>,
    /// Routes; one without next hop takes the gateway of its family, or is on-link if there is none.
    pub routes: Vec<Route>,
    /// IPv6 addresses go through duplicate address detection.
    pub dad: bool,
    /// Permanent neighbours: next hops that answer no question for their MAC. With any, the link believes no router
    /// advertisement and no redirect, which would lead past the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<NextHop>,
}

/// A next hop and its MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// Its address.
    pub ip: IpAddr,
    /// Its MAC.
    pub mac: MacAddr,
}

impl ConfigurePod {
    /// A route's next hop; none: it is on-link.
    pub fn next_hop(&self, route: &Route) -> Option<IpAddr> {
        let same_family = |a: &&Address| a.ip.is_ipv4() == route.dst.is_ipv4();
        route.gw.or_else(|| self.addresses.iter().filter(same_family).find_map(|a| a.gateway))
    }
}

/// See [`Step::Neighbours`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours {
    /// The bridge.
    pub bridge: IfName,
    /// The pod's addresses.
    pub ips: Vec<IpAddr>,
    /// The pod's MAC.
    pub mac: MacAddr,
}

/// See [`Step::AwaitCarrier`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitCarrier {
    /// The host end; a VF has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<IfName>,
    /// The pod's end.
    pub pod: IfName,
    /// The pod's addresses.
    pub ips: Vec<IpAddr>,
}

/// See [`Step::Announce`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// The pod's end.
    pub link: IfName,
    /// Its MAC.
    pub mac: MacAddr,
    /// Addresses of its own.
    pub ips: Vec<IpAddr>,
}

/// See [`Step::PlugRepresentor`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlugRepresentor {
    /// The VF, whose embedded switch is in switchdev mode.
    pub vf: VfRef,
    /// The representor's name when this was planned, for messages; who acts looks it up by the VF.
    pub representor: IfName,
    /// The bridge.
    pub bridge: IfName,
    /// Of the representor, in bytes; none: as it is.
    pub mtu: Option<Mtu>,
    /// The port's only VLAN, in which it is before it is up; none: what the bridge puts a new port in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanTag>,
    /// The representor is up, and with it the VF's link.
    pub up: bool,
    /// The port may send back what it received, if the driver lets a bridge do so.
    pub hairpin: bool,
}

/// See [`Step::ConfigureVf`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigureVf {
    /// The VF.
    pub vf: VfRef,
    /// What of these is the PF's to set.
    pub settings: VfSettings,
}

/// See [`Step::BindVf`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindVf {
    /// The VF.
    pub vf: VfRef,
    /// The driver to be bound to.
    pub to: BindTo,
}

/// A driver for a VF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BindTo {
    /// The one it has, bound anew: a new administrative MAC reaches the netdev only so.
    SameAnew,
    /// vfio-pci, by `driver_override`.
    VfioPci,
}

/// See [`Step::MoveVf`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveVf {
    /// The VF.
    pub vf: VfRef,
    /// The netdev's name in the pod.
    pub name: IfName,
    /// Its address, which it must have by then.
    pub mac: MacAddr,
    /// What of these is the netdev's: MTU, allmulticast, queues.
    pub settings: VfSettings,
}

/// See [`Step::HostRoute`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoute {
    /// The link that leads to the VF: its PF, or a VLAN, bond or bridge on it. Else the pair's host end, which leads to
    /// nobody but the pod.
    pub link: IfName,
    /// The pods' bridge.
    pub bridge: IfName,
    /// The pod's addresses.
    pub ips: Vec<IpAddr>,
    /// The VF's MAC; none: links without MACs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
}

/// See [`Step::LeaseQueues`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseQueues {
    /// The pod's end, whose own queue is number 0; these follow it in their order.
    pub link: IfName,
    /// The NIC's port.
    pub port: PortKey,
    /// The port's netdev.
    pub nic: IfName,
    /// The queues' numbers there.
    pub queues: Vec<u32>,
}

impl LeaseQueues {
    /// The queues.
    pub fn refs(&self) -> impl Iterator<Item = QueueRef> + '_ {
        let queue = |queue| QueueRef { port: self.port.clone(), nic: self.nic.clone(), queue };
        self.queues.iter().copied().map(queue)
    }
}

/// What takes a step back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo<'a> {
    /// Delete the host's link of this name, if it has this MAC: else it is somebody else's.
    DeleteLink {
        /// Its name.
        name: &'a IfName,
        /// Its MAC; none: it has none, and its name is nobody else's.
        mac: Option<MacAddr>,
    },
    /// Delete the bridge of this name, if it has this MAC and no port.
    RemoveBridge {
        /// Its name.
        name: &'a IfName,
        /// Its MAC.
        mac: MacAddr,
    },
    /// Forget these neighbours, where they still have this MAC.
    ForgetNeighbours(&'a Neighbours),
    /// Take the pod's MAC out of the PF's filter.
    ForgetMac(&'a KnowMac),
    /// Take the VF's netdev out of the pod, wherever it is and whatever it is called.
    ReturnVf(&'a MoveVf),
    /// Take the VF's representor out of the bridge, if it is a port of it. Its other settings go when the VF is cleaned.
    UnplugRepresentor(&'a PlugRepresentor),
    /// Remove these routes, where they are still the pod's.
    RemoveHostRoute(&'a HostRoute),
    /// Remove the rules that lead the pod's packets, then the context.
    Unsteer(&'a SteerQueues),
}

impl Step {
    /// A short name for logs and timings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::EnsureBridge(_) => "ensure-bridge",
            Self::CreateVeth(_) => "create-veth",
            Self::CreateNetkit(_) => "create-netkit",
            Self::CreateNetkitL3(_) => "create-netkit-l3",
            Self::AttachRouted(_) => "attach-routed",
            Self::AttachPort(_) => "attach-port",
            Self::KnowMac(_) => "know-mac",
            Self::Shape(_) => "shape",
            Self::Gateway(_) => "gateway",
            Self::ConfigurePod(_) => "configure-pod",
            Self::Neighbours(_) => "neighbours",
            Self::AwaitCarrier(_) => "await-carrier",
            Self::Announce(_) => "announce",
            Self::PlugRepresentor(_) => "plug-representor",
            Self::ConfigureVf(_) => "configure-vf",
            Self::BindVf(_) => "bind-vf",
            Self::MoveVf(_) => "move-vf",
            Self::HostRoute(_) => "host-route",
            Self::LeaseQueues(_) => "lease-queues",
            Self::SteerQueues(_) => "steer-queues",
        }
    }

    /// The pair of links with MACs that it makes.
    pub fn pair(&self) -> Option<&CreatePair> {
        match self {
            Self::CreateVeth(pair) | Self::CreateNetkit(CreateNetkit { pair, .. }) => Some(pair),
            _ => None,
        }
    }

    /// The host end of the pair of links that it makes, and its MAC, if it has one.
    pub fn host_link(&self) -> Option<(&IfName, Option<MacAddr>)> {
        match self {
            Self::CreateNetkitL3(pair) => Some((&pair.host, None)),
            _ => self.pair().map(|pair| (&pair.host, Some(pair.host_mac))),
        }
    }

    /// What takes it back; none where nothing of the attachment's own was made.
    pub fn undo(&self) -> Option<Undo<'_>> {
        match self {
            Self::EnsureBridge(b) => b.mac.map(|mac| Undo::RemoveBridge { name: &b.name, mac }),
            Self::CreateVeth(_) | Self::CreateNetkit(_) | Self::CreateNetkitL3(_) => {
                self.host_link().map(|(name, mac)| Undo::DeleteLink { name, mac })
            }
            Self::Shape(s) if s.bandwidth.egress.is_some() => {
                Some(Undo::DeleteLink { name: &s.ifb, mac: Some(s.ifb_mac) })
            }
            Self::Neighbours(n) => Some(Undo::ForgetNeighbours(n)),
            Self::KnowMac(know) => Some(Undo::ForgetMac(know)),
            Self::PlugRepresentor(plug) => Some(Undo::UnplugRepresentor(plug)),
            Self::MoveVf(vf) => Some(Undo::ReturnVf(vf)),
            Self::HostRoute(route) => Some(Undo::RemoveHostRoute(route)),
            Self::SteerQueues(steer) => Some(Undo::Unsteer(steer)),
            // The kernel takes these along with the link, or they are shared, or the VF is cleaned as a whole.
            Self::ConfigureVf(_)
            | Self::BindVf(_)
            | Self::LeaseQueues(_)
            | Self::Shape(_)
            | Self::AttachPort(_)
            | Self::AttachRouted(_)
            | Self::Gateway(_)
            | Self::ConfigurePod(_)
            | Self::AwaitCarrier(_)
            | Self::Announce(_) => None,
        }
    }
}
