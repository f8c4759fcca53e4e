//! Addresses for a VF of a pool from the network's own `ipam`. The VF is planned without any, since only the plugin, in
//! the node's mount namespace, can ask for them; what is given becomes part of the plan, as if the pod had named it.

use super::{Delegation, NETWORKS};
use crate::cni::CniError;
use crate::cni::result::{CniResult, Dns, Ip, Route};
use crate::ids::IfName;
use crate::net::Family;
use crate::plan::Plan;
use crate::record::Record;
use crate::spec::Address;
use crate::step::{Announce, Step};
use serde_json::{Map, Value};
use std::net::IpAddr;

/// What an IPAM gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// With the gateways of their subnets.
    pub addresses: Vec<Address>,
    /// Routes for the pod.
    pub routes: Vec<Route>,
    /// Name resolution.
    pub dns: Dns,
}

impl Record {
    /// The interface of network `n` has these addresses: they are in the plan, and in the network's result. Answers the
    /// steps that put them there; those that were executed without addresses are to be executed once more.
    ///
    /// Error 7 if the pod wants a default route that these addresses cannot have; nothing is changed then.
    pub fn give(&mut self, n: usize, given: Given) -> Result<Vec<Step>, CniError> {
        let Some(network) = self.networks.get_mut(n) else { return Ok(Vec::new()) };
        let Given { addresses, mut routes, dns } = given;
        let defaults = network.default_routes(&addresses)?;
        // What the pod asks for goes before what its IPAM says.
        routes.retain(|route| !defaults.iter().any(|default| default.dst == route.dst));
        routes.extend(defaults);
        let ifname = network.ifname.clone();
        let place = self.plan.result.interfaces.iter().position(|i| i.name == ifname.as_str());
        let ip = |a: &Address, interface| Ip { address: a.ip, gateway: a.gateway, interface };
        let result = CniResult {
            interfaces: place.map(|i| self.plan.result.interfaces[i].clone()).into_iter().collect(),
            ips: addresses.iter().map(|a| ip(a, place.map(|_| 0))).collect(),
            routes: routes.clone(),
            dns,
        };
        network.result = Some(result.to_json(network.version()));
        self.plan.result.ips.extend(addresses.iter().map(|a| ip(a, place)));
        self.plan.result.routes.extend(routes.iter().cloned());
        Ok(address(&mut self.plan, &ifname, addresses, routes))
    }
}

impl Delegation {
    /// The addresses in its result.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let result = self.result.clone().and_then(|result| CniResult::from_json(result).ok());
        result.unwrap_or_default().ips.into_iter().map(|ip| ip.address.ip())
    }

    /// Default routes that the pod asks for by this interface. Their gateways must be neighbours.
    fn default_routes(&self, given: &[Address]) -> Result<Vec<Route>, CniError> {
        let reached = |gateway: &IpAddr| given.iter().any(|address| address.ip.contains(*gateway));
        if let Some(gateway) = self.default_route.iter().find(|gateway| !reached(gateway)) {
            let nets: Vec<String> = given.iter().map(|address| address.ip.to_string()).collect();
            return Err(CniError::config(format!(
                "annotation {NETWORKS}: default-route {gateway} of {}: it is in no subnet of its addresses, {}",
                self.network,
                nets.join(", ")
            )));
        }
        let default = |gateway: &IpAddr| Route::via(Family::of(*gateway).default_route(), Some(*gateway));
        Ok(self.default_route.iter().map(default).collect())
    }
}

fn address(plan: &mut Plan, ifname: &IfName, addresses: Vec<Address>, routes: Vec<Route>) -> Vec<Step> {
    let ips: Vec<IpAddr> = addresses.iter().map(|a| a.ip.ip()).collect();
    let (mut again, mut mac, mut link_is_up) = (Vec::new(), None, None);
    for (place, step) in plan.steps.iter_mut().enumerate() {
        match step {
            Step::ConfigurePod(pod) if pod.link == *ifname => {
                (pod.addresses, pod.routes) = (addresses.clone(), routes.clone());
                mac = Some(pod.mac);
            }
            Step::AwaitCarrier(wait) if wait.pod == *ifname => {
                wait.ips.clone_from(&ips);
                link_is_up = Some(place);
            }
            _ => continue,
        }
        again.push(step.clone());
    }
    if let (Some(place), Some(mac), [_, ..]) = (link_is_up, mac, &*ips) {
        let announce = Step::Announce(Announce { link: ifname.clone(), mac, ips });
        plan.steps.insert(place + 1, announce.clone());
        again.push(announce);
    }
    again
}

/// The network's configuration, if it has an `ipam`: `{}` is none.
pub(super) fn ipam(plugin: &Map<String, Value>) -> Option<&Value> {
    plugin.get("ipam").filter(|i| !i.is_null() && i.as_object().is_none_or(|o| !o.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MacAddr;
    use crate::networks::network_status;
    use crate::nic::PortKey;
    use crate::record::{FORMAT, IpamHold, Mode, NetnsRef, State};
    use crate::vf::{VfMode, VfRef, VfSpec, plan};
    use serde_json::json;

    fn spec(mode: VfMode, addresses: Vec<Address>, routes: Vec<Route>) -> VfSpec {
        let port = PortKey { device: "0000:02:00.0".into(), port: 0 };
        let pci = "0000:02:10.0".parse().unwrap();
        VfSpec {
            ifname: "net1".parse().unwrap(),
            sandbox: "/run/netns/x".into(),
            vf: VfRef { pci, port, pf: "ens1f0".parse().unwrap(), index: 0 },
            mode,
            settings: Default::default(),
            present_mac: Some(MacAddr::local(7)),
            present_mtu: Some(1500),
            addresses,
            routes,
            dns: Dns::default(),
            host_ports: Vec::new(),
            link: true,
            uplink: None,
            plug: None,
        }
    }

    fn record(plan: Plan) -> Record {
        let network = json!({
            "network": "default/a", "ifname": "net1", "check": true, "progress": {"state": "planned"},
            "plugins": [{"cniVersion": "1.0.0", "name": "a", "type": "offramp", "pool": "p", "ipam": {"type": "x"}}],
            "defaultRoute": ["10.0.0.1"],
        });
        Record {
            format: FORMAT,
            attachment: "c@eth0".parse().unwrap(),
            network: "pods".parse().unwrap(),
            mode: Mode::Node,
            state: State::Adding,
            netns: NetnsRef { path: "/run/netns/x".into(), inode: 1 },
            pod: None,
            ipam: IpamHold::Daemon,
            plan,
            device_info: None,
            networks: vec![serde_json::from_value(network).unwrap()],
            asked: Default::default(),
            numa: Default::default(),
            created: 0,
        }
    }

    #[test]
    fn the_plan_is_that_of_a_vf_whose_addresses_the_pod_named() {
        let address = |ip: &str, gw: &str| Address { ip: ip.parse().unwrap(), gateway: gw.parse().ok() };
        let addresses = vec![address("10.0.0.5/24", "10.0.0.1"), address("fd00::5/64", "fd00::1")];
        let routes = vec![Route::via("10.9.0.0/16".parse().unwrap(), None)];
        let default = Route::via(Family::V4.default_route(), "10.0.0.1".parse().ok());
        let all = [routes.clone(), vec![default]].concat();
        for mode in [VfMode::Netdev, VfMode::Vfio] {
            let named = plan(&spec(mode, addresses.clone(), all.clone()));
            let mut record = record(plan(&spec(mode, Vec::new(), Vec::new())));
            let given = Given { addresses: addresses.clone(), routes: routes.clone(), dns: Dns::default() };
            let steps = record.give(0, given).unwrap();
            assert_eq!(record.plan, named);
            let names: Vec<&str> = steps.iter().map(Step::name).collect();
            let expected: &[&str] = &["configure-pod", "await-carrier", "announce"];
            // One for userspace has no link: its addresses are for the result alone.
            assert_eq!(names, if mode == VfMode::Netdev { expected } else { &[] });
            let network = &record.networks[0];
            assert!(network.is_lent() && !network.makes_interface());
            assert_eq!(network.ips().collect::<Vec<_>>(), record.plan.ips().collect::<Vec<_>>());
            assert_eq!(network.entry(), None, "it is told of with the plan's interfaces");
        }
    }

    #[test]
    fn a_default_route_goes_before_the_ipams_and_by_a_neighbour() {
        let given = |ip: &str| Given {
            addresses: vec![Address { ip: ip.parse().unwrap(), gateway: None }],
            routes: vec![Route::via(Family::V4.default_route(), "10.0.0.254".parse().ok())],
            dns: Dns::default(),
        };
        let fresh = || record(plan(&spec(VfMode::Netdev, Vec::new(), Vec::new())));
        let mut chosen = fresh();
        chosen.give(0, given("10.0.0.5/24")).unwrap();
        let wanted = Route::via(Family::V4.default_route(), "10.0.0.1".parse().ok());
        assert_eq!(chosen.plan.result.routes, [wanted]);
        for elsewhere in ["10.0.1.5/24", "fd00::5/64"] {
            let mut record = fresh();
            let e = record.give(0, given(elsewhere)).unwrap_err();
            assert!(e.code == 7 && e.msg.contains("10.0.0.1") && e.msg.contains(elsewhere), "{e}");
            assert_eq!(record, fresh());
        }
    }

    #[test]
    fn its_name_resolution_is_told() {
        let mut record = record(plan(&spec(VfMode::Netdev, Vec::new(), Vec::new())));
        let dns = Dns { nameservers: vec!["10.0.0.53".into()], ..Dns::default() };
        let addresses = vec![Address { ip: "10.0.0.5/24".parse().unwrap(), gateway: None }];
        record.give(0, Given { addresses, routes: Vec::new(), dns: dns.clone() }).unwrap();
        let entries = network_status(&record);
        let told: Vec<(&str, &Dns)> = entries.iter().map(|e| (e.interface.as_str(), &e.dns)).collect();
        assert_eq!(told, [("net1", &dns)]);
    }
}
