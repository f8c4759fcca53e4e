//! The result of an ADD: one internal form, and the exact shape of each version on the wire.

use super::{error::CniError, version::Version};
use crate::ids::MacAddr;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// An interface that an ADD made, or made use of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Bytes; from 1.1.0 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The netns path of a pod's interface; none on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// A vhost-user socket; from 1.1.0 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_path: Option<String>,
    /// The PCI address of a device; from 1.1.0 on.
    #[serde(rename = "pciID", skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// Address and prefix length.
    pub address: IpNetwork,
    /// The default gateway of its subnet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gateway: Option<IpAddr>,
    /// Index in `interfaces`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interface: Option<usize>,
}

/// A route of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination.
    pub dst: IpNetwork,
    /// Next hop; none: the gateway of the address of the same family.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gw: Option<IpAddr>,
    /// Bytes; this and what follows from 1.1.0 on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mtu: Option<u32>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub advmss: Option<u32>,
    /// Lower is preferred.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub priority: Option<u32>,
    /// Routing table.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub table: Option<u32>,
    /// rtnetlink scope: 0 universe, 253 link.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<u8>,
}

impl Route {
    /// A route with nothing but its destination and next hop.
    pub fn via(dst: IpNetwork, gw: Option<IpAddr>) -> Self {
        Self { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

/// Name resolution for the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Servers' addresses.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Search list.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub search: Vec<String>,
    /// resolv.conf(5) options.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub options: Vec<String>,
}

/// Go's nil slices arrive as `null`.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// What an ADD answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CniResult {
    /// Interfaces, host's and pod's.
    pub interfaces: Vec<Interface>,
    /// Addresses.
    pub ips: Vec<Ip>,
    /// Routes.
    pub routes: Vec<Route>,
    /// Name resolution.
    pub dns: Dns,
}

impl CniResult {
    /// Reads a result in any version's shape (`prevResult`, or a delegated plugin's answer).
    /// Error 6 if it is not a result; error 1 for a version that Offramp does not speak.
    pub fn from_json(mut value: Value) -> Result<Self, CniError> {
        let version = value.get("cniVersion").and_then(Value::as_str).unwrap_or("0.3.1").to_owned();
        Version::parse(&version)?;
        for key in ["interfaces", "ips", "routes", "dns"] {
            // Go's nil slices arrive as null.
            if value.get(key).is_some_and(Value::is_null)
                && let Some(map) = value.as_object_mut()
            {
                map.remove(key);
            }
        }
        serde_json::from_value(value)
            .map_err(|e| CniError::decode(format!("not a CNI {version} result: {e}")))
    }

    /// The result in the shape of `version`, keys that the version does not know left out.
    pub fn to_json(&self, version: Version) -> Value {
        let mut out = Map::new();
        out.insert("cniVersion".into(), json!(version));
        let interfaces: Vec<Value> = self.interfaces.iter().map(|i| interface_json(i, version)).collect();
        let ips: Vec<Value> = self.ips.iter().map(|ip| ip_json(ip, version)).collect();
        let routes: Vec<Value> = self.routes.iter().map(|r| route_json(r, version)).collect();
        for (key, list) in [("interfaces", interfaces), ("ips", ips), ("routes", routes)] {
            if !list.is_empty() {
                out.insert(key.into(), list.into());
            }
        }
        out.insert("dns".into(), json!(self.dns));
        out.into()
    }

    /// This result behind an earlier plugin's: lists are joined and interface indices moved.
    pub fn after(mut self, prev: Option<CniResult>) -> Self {
        let Some(mut all) = prev else { return self };
        let offset = all.interfaces.len();
        for ip in &mut self.ips {
            ip.interface = ip.interface.map(|i| i + offset);
        }
        all.interfaces.append(&mut self.interfaces);
        all.ips.append(&mut self.ips);
        all.routes.append(&mut self.routes);
        if self.dns != Dns::default() {
            all.dns = self.dns;
        }
        all
    }

    /// Whether the result names an interface `name` with this MAC, in any sandbox.
    pub fn has_interface(&self, name: &str, mac: MacAddr) -> bool {
        let mac = mac.to_string();
        self.interfaces
            .iter()
            .any(|i| i.name == name && i.mac.as_deref().is_none_or(|m| m.eq_ignore_ascii_case(&mac)))
    }
}

/// Fields of 1.1.0 that older shapes do not have.
fn without_newer(mut value: Value, version: Version, newer: &[&str]) -> Value {
    if version < Version::V1_1_0
        && let Some(map) = value.as_object_mut()
    {
        newer.iter().for_each(|key| {
            map.remove(*key);
        });
    }
    value
}

fn interface_json(interface: &Interface, version: Version) -> Value {
    without_newer(json!(interface), version, &["mtu", "socketPath", "pciID"])
}

fn route_json(route: &Route, version: Version) -> Value {
    without_newer(json!(route), version, &["mtu", "advmss", "priority", "table", "scope"])
}

fn ip_json(ip: &Ip, version: Version) -> Value {
    let mut value = json!(ip);
    if version < Version::V1_0_0 {
        value["version"] = json!(if ip.address.is_ipv4() { "4" } else { "6" });
    }
    value
}

#[cfg(test)]
#[path = "result_tests.rs"]
mod tests;
