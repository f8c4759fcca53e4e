//! What is executed for one network of one pod. It is part of the attachment's record: taking it back needs no more.

use super::definition::{declares, type_of};
use super::device::{CAPABILITY, Device, DeviceInfo};
use super::given::ipam;
use super::selection::Addresses;
use super::{Definition, Kind, NETWORKS, OFFRAMP, Selection};
use crate::cni::{CniError, Version};
use crate::ids::IfName;
use crate::record::IpamHold;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::path::Path;

/// One network of a pod, decided before anything is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delegation {
    /// The definition, `NAMESPACE/NAME`.
    pub network: String,
    /// The interface in the pod.
    pub ifname: IfName,
    /// Complete configurations of the plugins, in the order of ADD, but for `prevResult`. None: the attachment's own plan
    /// makes the interface. Our own with a `pool`: so it does, and only addresses are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Value>,
    /// What the result must have, or the ADD fails.
    #[serde(default, skip_serializing_if = "Addresses::is_empty")]
    pub asked: Addresses,
    /// Default gateways by this interface.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_route: Vec<IpAddr>,
    /// Whether CHECK is for its plugins too.
    pub check: bool,
    /// How far it is.
    pub progress: Progress,
    /// What the last plugin that ended well answered: the `prevResult` of CHECK and DEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Who must be told that its addresses are free, besides plugins that were started.
    #[serde(default, skip_serializing_if = "IpamHold::is_none")]
    pub hold: IpamHold,
    /// What is told of the device that kubelet has assigned for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceInfo>,
}

/// How far a network is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Progress {
    /// No plugin was started, or each was told to take back what it did: there is nothing to undo.
    #[default]
    Planned,
    /// Plugins were started.
    Begun {
        /// So many of them, or one less.
        started: usize,
        /// With this `CNI_PATH`,
        path: Vec<String>,
        /// and these `CNI_ARGS`.
        args: String,
    },
}

impl Delegation {
    /// Whether plugins may have left something.
    pub fn is_begun(&self) -> bool {
        matches!(self.progress, Progress::Begun { .. })
    }

    /// A plugin's type.
    pub fn type_of(&self, plugin: usize) -> &str {
        self.plugins.get(plugin).and_then(Value::as_object).map_or("", type_of)
    }

    /// Whether a plugin is our own.
    pub fn is_ours(&self, plugin: usize) -> bool {
        self.type_of(plugin) == OFFRAMP
    }

    /// Whether it is a VF of a pool, whose addresses its own `ipam` gives: the attachment's plan makes the interface.
    pub fn is_lent(&self) -> bool {
        self.plugins.len() == 1 && self.is_ours(0) && self.plugins[0].get("pool").is_some()
    }

    /// Whether its plugins make the interface, and not the attachment's plan.
    pub fn makes_interface(&self) -> bool {
        !self.plugins.is_empty() && !self.is_lent()
    }

    /// The type of the `ipam` of a VF of a pool.
    pub fn ipam_type(&self) -> Option<&str> {
        self.plugins.first().filter(|_| self.is_lent())?.get("ipam")?.get("type")?.as_str()
    }

    /// Of its configuration, which was read before.
    pub(super) fn version(&self) -> Version {
        let version = self.plugins.first().and_then(|p| p.get("cniVersion")?.as_str());
        version.and_then(|v| Version::parse(v).ok()).unwrap_or(Version::NEWEST)
    }

    /// The plugins' types, for people.
    pub fn types(&self) -> String {
        (0..self.plugins.len()).map(|i| self.type_of(i)).collect::<Vec<_>>().join(", ")
    }

    /// A plugin's configuration, with the result of those before it.
    pub fn config(&self, plugin: usize) -> Value {
        let mut config = self.plugins.get(plugin).cloned().unwrap_or_default();
        if let (Value::Object(config), Some(prev)) = (&mut config, &self.result) {
            config.insert("prevResult".into(), prev.clone());
        }
        config
    }
}

impl Addresses {
    /// Whether none is asked for.
    pub fn is_empty(&self) -> bool {
        self.ips.is_empty() && self.mac.is_none()
    }
}

/// Decides. `device` is what kubelet assigned of the definition's resource.
///
/// Error 2 for a wish that needs a capability which none of the network's plugins declares.
pub fn delegation(
    wish: &Selection,
    definition: &Definition,
    device: Option<Device<'_>>,
) -> Result<Delegation, CniError> {
    let info = device.map(|d| DeviceInfo::new(d, &wish.ifname, definition.has_capability(CAPABILITY)));
    let plugins = match definition.kind {
        // What the plan makes needs no plugin but for addresses.
        Kind::Pool(_) if definition.plugins.iter().all(|p| ipam(p).is_none()) => Vec::new(),
        Kind::Pool(_) => configs(wish, definition, None),
        Kind::Plugins => {
            supported(wish, definition)?;
            let file = info.as_ref().and_then(|info| info.file.as_deref());
            configs(wish, definition, device.map(|d| (d.id, file)))
        }
    };
    Ok(Delegation {
        network: definition.nad.to_string(),
        ifname: wish.ifname.clone(),
        plugins,
        asked: wish.addresses.clone(),
        default_route: wish.default_route.clone(),
        check: definition.check,
        progress: Progress::Planned,
        result: None,
        hold: IpamHold::None,
        device: info,
    })
}

/// What cannot be found in a result must be declared. Addresses are looked for in the result: plugins may also take
/// them from `args`.
fn supported(wish: &Selection, definition: &Definition) -> Result<(), CniError> {
    let needed = [
        ("portMappings", "portMappings", wish.port_mappings.clone()),
        ("bandwidth", "bandwidth", wish.bandwidth.clone()),
        ("infiniband-guid", "infinibandGUID", wish.guid.as_ref().map(|g| json!(g))),
    ];
    for (key, capability, value) in needed {
        if let Some(value) = value.filter(|_| !definition.has_capability(capability)) {
            let field = format!("{NETWORKS}: {} of {}", key, definition.nad);
            return Err(CniError::unsupported_field(&field, &value).with_details(format!(
                "none of its plugins ({}) declares the capability {capability}",
                definition.types()
            )));
        }
    }
    Ok(())
}

/// A device, and the file in which its network's plugins may tell of it.
type WithFile<'a> = (&'a str, Option<&'a Path>);

fn configs(wish: &Selection, definition: &Definition, device: Option<WithFile<'_>>) -> Vec<Value> {
    let by_capability = definition.has_capability("deviceID");
    let each = |(i, plugin): (usize, &Map<String, Value>)| {
        let mut config = plugin.clone();
        let runtime = runtime_config(wish, plugin, device);
        if !runtime.is_empty() {
            config.insert("runtimeConfig".into(), runtime.into());
        }
        let args = cni_args(wish);
        if !args.is_empty() {
            merge(&mut config, "args", json!({"cni": args}));
        }
        // Where no plugin declares it, the first finds the device where multus puts it.
        if let Some((device, _)) = device.filter(|_| i == 0 && !by_capability) {
            config.insert("deviceID".into(), json!(device));
            config.insert("pciBusID".into(), json!(device));
        }
        Value::Object(config)
    };
    definition.plugins.iter().enumerate().map(each).collect()
}

/// A plugin is told of the capabilities that it declares.
fn runtime_config(
    wish: &Selection,
    plugin: &Map<String, Value>,
    device: Option<WithFile<'_>>,
) -> Map<String, Value> {
    let Addresses { ips, mac } = &wish.addresses;
    let values = [
        ("ips", (!ips.is_empty()).then(|| json!(ips))),
        ("mac", mac.as_ref().map(|m| json!(m))),
        ("portMappings", wish.port_mappings.clone()),
        ("bandwidth", wish.bandwidth.clone()),
        ("infinibandGUID", wish.guid.as_ref().map(|g| json!(g))),
        ("deviceID", device.map(|(id, _)| json!(id))),
        (CAPABILITY, device.and_then(|(_, file)| file).map(|file| json!(file))),
    ];
    let declared = values.into_iter().filter(|(capability, _)| declares(plugin, capability));
    declared.filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// `args.cni` (standard, 4.1.2.1.3 and 4.1.2.1.4): what was asked for, and addresses, which go before.
fn cni_args(wish: &Selection) -> Map<String, Value> {
    let mut args = wish.cni_args.clone();
    let Addresses { ips, mac } = &wish.addresses;
    if !ips.is_empty() {
        args.insert("ips".into(), json!(ips));
    }
    if let Some(mac) = mac {
        args.insert("mac".into(), json!(mac));
    }
    args
}

/// Lays `more` over the field; objects are merged.
fn merge(config: &mut Map<String, Value>, key: &str, more: Value) {
    match (config.get_mut(key), more) {
        (Some(Value::Object(there)), Value::Object(more)) => {
            for (key, value) in more {
                merge(there, &key, value);
            }
        }
        (_, more) => drop(config.insert(key.to_owned(), more)),
    }
}
