//! What is told of a pod's networks: `k8s.v1.cni.cncf.io/network-status` (standard, section 5).

use super::Delegation;
use super::outcome::inside;
use crate::cni::result::{CniResult, Dns, Interface};
use crate::record::Record;
use serde::Serialize;
use serde_json::{Value, json};
use std::net::IpAddr;

/// One network, as it is told of.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// The definition, `NAMESPACE/NAME`, or the cluster network's name.
    pub name: String,
    /// The interface in the pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Its addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpAddr>,
    /// Its hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether it is the cluster network.
    pub default: bool,
    /// Name resolution.
    pub dns: Dns,
    /// Gateways.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<IpAddr>,
    /// The device ("Device Information Specification" 1.1.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_info: Option<Value>,
}

/// All networks of an attachment: the cluster network first, then in the order of the interfaces.
pub fn network_status(record: &Record) -> Vec<Entry> {
    let result = &record.plan.result;
    let in_pod = result.interfaces.iter().enumerate().filter(|(_, i)| i.sandbox.is_some());
    let mut entries: Vec<Entry> = Vec::new();
    for (i, interface) in in_pod {
        let of_nad = record.networks.iter().find(|d| d.ifname.as_str() == interface.name);
        let name = of_nad.map_or_else(|| record.network.to_string(), |d| d.network.clone());
        let default = interface.name == record.attachment.ifname.as_str();
        let told = entry(name, result, Some((i, interface)));
        // What its own `ipam` says is in no plan.
        let dns = of_nad.and_then(Delegation::dns).unwrap_or_else(|| told.dns.clone());
        entries.push(Entry { default, dns, ..told });
    }
    entries.extend(record.networks.iter().filter_map(Delegation::entry));
    entries
}

impl Delegation {
    fn dns(&self) -> Option<Dns> {
        Some(CniResult::from_json(self.result.clone()?).ok()?.dns)
    }

    /// What its plugins answered; none: they have not, or the attachment's own plan makes it.
    pub fn entry(&self) -> Option<Entry> {
        let result = CniResult::from_json(self.result.clone().filter(|_| self.makes_interface())?).ok()?;
        let interface = inside(&result).and_then(|i| {
            let at = result.interfaces.iter().position(|other| other == i)?;
            Some((at, i))
        });
        let told = entry(self.network.clone(), &result, interface);
        let interface = if told.interface.is_empty() { self.ifname.to_string() } else { told.interface };
        let device_info = self.device.as_ref().and_then(|d| d.told.clone()).or(told.device_info);
        Some(Entry { interface, device_info, ..told })
    }
}

/// Of the interface; or, where the result names none in the pod, of what belongs to no interface.
fn entry(name: String, result: &CniResult, interface: Option<(usize, &Interface)>) -> Entry {
    let index = interface.map(|(i, _)| i);
    let ips: Vec<_> = result.ips.iter().filter(|ip| ip.interface == index).collect();
    let interface = interface.map(|(_, i)| i.clone()).unwrap_or_default();
    let device_info = |pci: &String| json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": pci}});
    Entry {
        name,
        ips: ips.iter().map(|ip| ip.address.ip()).collect(),
        gateway: ips.iter().filter_map(|ip| ip.gateway).collect(),
        device_info: interface.pci_id.as_ref().map(device_info),
        interface: interface.name,
        mac: interface.mac,
        mtu: interface.mtu,
        default: false,
        dns: result.dns.clone(),
    }
}
