//! What a NetworkAttachmentDefinition says: a network configuration or a list of them, as text.

use super::NadRef;
use crate::cni::{CniError, Version};
use crate::ids::{NetworkName, PoolName};
use serde_json::{Map, Value, json};

/// Our own plugin's `type`.
pub const OFFRAMP: &str = "offramp";
/// The annotation of a NAD that names the device resource which its pods request.
pub const RESOURCE: &str = "k8s.v1.cni.cncf.io/resourceName";

/// The largest `spec.config`: it becomes part of each pod's record.
const MAX_CONFIG: usize = 32 << 10;
/// The most plugins in one list.
const MAX_PLUGINS: usize = 16;

/// A network, ready to be asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Which.
    pub nad: NadRef,
    /// The plugins' configurations in the order of ADD, each with the network's name and version.
    pub plugins: Vec<Map<String, Value>>,
    /// The device resource, where the definition names one.
    pub resource: Option<String>,
    /// Whether its plugins know CHECK, and want it.
    pub check: bool,
    /// Who makes it.
    pub kind: Kind,
}

/// Who makes a network's interface.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// The daemon lends a VF of this pool.
    Pool(PoolName),
    /// Plugins are executed: others', and our own in inline mode.
    Plugins,
}

impl Definition {
    /// Reads `spec.config`. By the standard, a configuration without a name has the definition's; each plugin of a list
    /// has the list's name and version (CNI spec 1.1.0, section 3, "Deriving execution configuration from plugin
    /// configuration").
    ///
    /// Error 7 or 6 names the definition.
    pub fn parse(nad: NadRef, config: &str, resource: Option<&str>) -> Result<Self, CniError> {
        let what = format!("NetworkAttachmentDefinition {nad}");
        Self::read(nad, config, resource).map_err(|e| e.context(what))
    }

    fn read(nad: NadRef, config: &str, resource: Option<&str>) -> Result<Self, CniError> {
        if config.trim().is_empty() {
            return Err(CniError::config("it has no spec.config")
                .with_details("configurations on the node's disk are not searched for its name"));
        }
        if config.len() > MAX_CONFIG {
            let why = format!("spec.config has {} bytes; allowed: {MAX_CONFIG}", config.len());
            return Err(CniError::config(why));
        }
        let config: Map<String, Value> = serde_json::from_str(config)
            .map_err(|e| CniError::decode(format!("spec.config is not a JSON object: {e}")))?;
        let version = Version::parse(text(&config, "cniVersion")?.unwrap_or("0.3.1"))?;
        let name: NetworkName = text(&config, "name")?.unwrap_or(nad.name.as_str()).parse()?;
        let disable_check = config.get("disableCheck").and_then(Value::as_bool).unwrap_or(false);
        let mut plugins = match config.get("plugins") {
            None => vec![config],
            Some(list) => list_of(list)?,
        };
        for plugin in &mut plugins {
            check_type(plugin)?;
            plugin.insert("name".into(), json!(name));
            plugin.insert("cniVersion".into(), json!(version));
            plugin.remove("prevResult");
            plugin.remove("runtimeConfig");
        }
        let resource = resource.filter(|r| !r.is_empty()).map(str::to_owned);
        let kind = kind(&plugins, resource.is_some())?;
        let check = version >= Version::V0_4_0 && !disable_check;
        Ok(Self { nad, plugins, resource, check, kind })
    }

    /// The plugins' types, for messages.
    pub fn types(&self) -> String {
        self.plugins.iter().map(type_of).collect::<Vec<_>>().join(", ")
    }

    /// Whether a plugin of it declares the capability.
    pub fn has_capability(&self, name: &str) -> bool {
        self.plugins.iter().any(|p| declares(p, name))
    }
}

/// Whether the configuration declares a capability (CNI conventions).
pub(super) fn declares(plugin: &Map<String, Value>, capability: &str) -> bool {
    plugin.get("capabilities").and_then(|c| c.get(capability)).and_then(Value::as_bool).unwrap_or(false)
}

/// The plugin's type; it was checked to be there.
pub(super) fn type_of(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn text<'a>(config: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, CniError> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s.as_str()).filter(|s| !s.is_empty())),
        Some(other) => Err(CniError::config(format!("field {key:?} with value {other}: it must be a text"))),
    }
}

fn list_of(list: &Value) -> Result<Vec<Map<String, Value>>, CniError> {
    let wrong =
        || CniError::config(format!("field \"plugins\" must be a list of 1 to {MAX_PLUGINS} objects"));
    let list = list.as_array().filter(|l| (1..=MAX_PLUGINS).contains(&l.len())).ok_or_else(wrong)?;
    list.iter().map(|p| p.as_object().cloned().ok_or_else(wrong)).collect()
}

/// A plugin is a program in `CNI_PATH`, and nothing else.
fn check_type(plugin: &Map<String, Value>) -> Result<(), CniError> {
    match text(plugin, "type")? {
        None => Err(CniError::config("field \"type\" is missing")),
        Some(t) if t.contains('/') || t.starts_with('.') || t.contains('\0') => {
            Err(CniError::config(format!("field \"type\" {t:?}: it must be a plugin's file name")))
        }
        Some(_) => Ok(()),
    }
}

fn kind(plugins: &[Map<String, Value>], has_resource: bool) -> Result<Kind, CniError> {
    let ours = |p: &&Map<String, Value>| type_of(p) == OFFRAMP;
    if let Some(pool) = plugins.iter().filter(ours).find_map(|p| p.get("pool")) {
        if plugins.len() > 1 {
            return Err(CniError::config(
                "a list with other plugins cannot have a \"pool\": they would come too early",
            ));
        }
        let pool = pool.as_str().unwrap_or_default();
        return Ok(Kind::Pool(pool.parse()?));
    }
    const INLINE: [&str; 4] = ["bridge", "ipam", "deviceID", "pciBusID"];
    let inline = |p: &&Map<String, Value>| has_resource || INLINE.iter().any(|k| p.contains_key(*k));
    if plugins.iter().filter(ours).all(|p| inline(&p)) {
        Ok(Kind::Plugins)
    } else {
        Err(CniError::config(format!(
            "of type {OFFRAMP} it needs a \"pool\", or a \"bridge\" or \"deviceID\" with its \"ipam\", or the annotation {RESOURCE}"
        )))
    }
}
