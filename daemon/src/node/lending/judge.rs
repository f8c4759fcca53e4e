//! What no pod may have, whatever a pool's policy allows.

use crate::node::Node;
use ipnetwork::IpNetwork;
use offramp_core::cni::CniError;
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::networks::NETWORKS;
use offramp_core::nic::Inventory;
use offramp_core::vf::uplink::UplinkPath;
use offramp_core::wire::Prepare;
use offramp_core::wish::{INTERFACES, Offload, Wishes};
use offramp_kernel::addr;
use offramp_kernel::netlink::Socket;
use std::collections::HashSet;
use std::net::IpAddr;

/// A pod's author may not have the addresses of the node, of other nodes, or of the cluster's pods announced.
pub(super) fn check_addresses(node: &Node, wishes: &Wishes) -> Result<(), CniError> {
    let wanted = wanted(wishes);
    if wanted.is_empty() {
        return Ok(());
    }
    let whose = Owners::now(node)?;
    wanted.into_iter().try_for_each(|(annotation, name, ip)| {
        whose.refuse(ip, format_args!("annotation {annotation}: {name} cannot have {ip}"))
    })
}

impl Node {
    /// What an `ipam` gave a network, whoever has told it to: a definition that is wrong, or a plugin that lets itself be
    /// told by a pod, must not cut off the node. Error 107 names the address.
    pub fn judge(&self, network: &str, ips: &[IpAddr]) -> Result<(), CniError> {
        let whose = Owners::now(self)?;
        ips.iter().try_for_each(|ip| {
            whose.refuse(*ip, format_args!("network {network}: its ipam gave {ip}, which no pod can have"))
        })
    }
}

/// Whose an address is that no pod may have.
struct Owners {
    nodes: HashSet<IpAddr>,
    cluster: Vec<IpNetwork>,
}

impl Owners {
    fn now(node: &Node) -> Result<Self, CniError> {
        let local = addr::all(&mut Socket::open()?)?;
        let peers = node.view().peers.iter().flat_map(|p| p.endpoints.clone()).collect::<Vec<_>>();
        Ok(Self { nodes: local.into_iter().chain(peers).collect(), cluster: node.cluster_cidrs() })
    }

    fn refuse(&self, ip: IpAddr, what: std::fmt::Arguments<'_>) -> Result<(), CniError> {
        let whose = match ip {
            // An IPv4 address that looks like none.
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "IPv4",
            _ if self.nodes.contains(&ip) => "a node",
            _ if self.cluster.iter().any(|net| net.contains(ip)) => "the cluster's pods",
            _ => return Ok(()),
        };
        Err(CniError::forbidden(format!("{what}: it is an address of {whose}")))
    }
}

/// What the author asks for on VFs, by its annotation and interface. What an `ipam` gives is judged once it is given.
fn wanted(wishes: &Wishes) -> Vec<(&'static str, &IfName, IpAddr)> {
    let named = wishes
        .interfaces
        .iter()
        .flat_map(|wish| wish.addresses.iter().map(move |address| (INTERFACES, &wish.name, address.ip.ip())));
    let of_ipam = wishes.networks.iter().filter(|network| network.is_lent()).flat_map(|network| {
        let ips = network.asked.ips.iter().filter_map(|text| text.parse::<IpNetwork>().ok());
        ips.map(move |net| (NETWORKS, &network.ifname, net.ip()))
    });
    named.chain(of_ipam).collect()
}

/// Nobody gets the MAC of a port or of the node's uplink.
pub(super) fn check_macs(
    ask: &Prepare,
    wishes: &Wishes,
    inventory: &Inventory,
    path: Option<&UplinkPath>,
) -> Result<(), CniError> {
    let own = |mac: &MacAddr| {
        path.is_some_and(|p| p.mac == *mac) || inventory.ports.iter().any(|p| p.mac == Some(*mac))
    };
    let eth0 = ask.mac.filter(|_| wishes.offload != Offload::None);
    match eth0.into_iter().chain(wishes.interfaces.iter().filter_map(|i| i.settings.mac)).find(own) {
        Some(mac) => Err(CniError::forbidden(format!("MAC {mac} is one of the node's own"))),
        None => Ok(()),
    }
}
