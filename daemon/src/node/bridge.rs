//! The pods' bridge.

use super::Node;
use ipnetwork::IpNetwork;
use offramp_core::ids::MacAddr;
use offramp_core::net::WithPrefix;
use offramp_core::spec::EnsureBridge;
use offramp_core::step::{Gateway, Step};
use offramp_kernel::netlink::Socket;
use offramp_kernel::{Executor, Result, addr, link};

impl Node {
    /// The gateways' addresses on the bridge.
    pub fn gateways(&self) -> Vec<IpNetwork> {
        let mut all: Vec<IpNetwork> = Vec::new();
        for range in self.ranges().iter() {
            let net = IpNetwork::from(range.gateway).with_prefix(range.subnet.prefix());
            if !all.contains(&net) {
                all.push(net);
            }
        }
        all
    }

    /// Makes or corrects the bridge; says how much was not as it should be.
    pub fn reconcile_bridge(&self) -> Result<u64> {
        let name = &self.config.bridge.name;
        let mtu = self.view().pod_mtu;
        let repairs = self.bridge_faults()?;
        let sysctl = self.sysctl();
        let mut executor = Executor::new(None)?.with_sysctl(sysctl.clone());
        // Should the bridge have to be made anew, the pods still find their gateway by the MAC that they know.
        let mac = MacAddr::of_name(&format!("{name} of {}", self.config.node.name));
        let want =
            EnsureBridge { name: name.clone(), mac: Some(mac), mtu, vlan_filtering: false, promisc: false };
        executor.apply(&Step::EnsureBridge(want))?;
        let addresses = self.gateways();
        // As long as the node has not been told its networks, the gateways of a former daemon stay.
        if !addresses.is_empty() {
            executor.apply(&Step::Gateway(Gateway { bridge: name.clone(), addresses, force: true }))?;
        }
        // The bridge takes no part in what routers announce on it.
        sysctl.set(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
        Ok(repairs)
    }

    /// What is missing before anything is mended.
    fn bridge_faults(&self) -> Result<u64> {
        let mut socket = Socket::open()?;
        let Some(bridge) = link::find(&mut socket, &self.config.bridge.name)? else { return Ok(1) };
        let has = addr::list(&mut socket, bridge.index)?;
        let missing = self.gateways().into_iter().filter(|g| !has.contains(g)).count() as u64;
        Ok(missing + u64::from(!bridge.up))
    }
}
