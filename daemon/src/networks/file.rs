//! Definitions in a file, for nodes without an API: a list in YAML of what would be applied there. It is read for each
//! pod that asks, so that the newest holds.
//!
//! ```yaml
//! - metadata: {namespace: default, name: macvlan}
//!   spec:
//!     config: '{"cniVersion": "1.0.0", "type": "macvlan", "master": "eth1", "ipam": {"type": "dhcp"}}'
//! ```

use super::unknown;
use crate::config::yaml;
use offramp_core::cni::CniError;
use offramp_core::networks::{Definition, NadRef, RESOURCE};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// More is no such file.
const MAX_FILE: u64 = 4 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Object {
    #[serde(default, rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default = "default_namespace")]
    namespace: String,
    name: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Spec {
    config: String,
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// The definition of that name.
pub fn get(path: &Path, nad: &NadRef) -> Result<Definition, CniError> {
    let is_it =
        |o: &Object| o.metadata.namespace == nad.namespace.as_str() && o.metadata.name == nad.name.as_str();
    let object = read(path)?.into_iter().find(is_it).ok_or_else(|| unknown(nad))?;
    let resource = object.metadata.annotations.get(RESOURCE).map(String::as_str);
    Definition::parse(nad.clone(), &object.spec.config, resource)
}

fn read(path: &Path) -> Result<Vec<Object>, CniError> {
    let failed = |e: &dyn std::fmt::Display| {
        CniError::io(format!("read networks.definitions {}: {e}", path.display()))
    };
    let size = std::fs::metadata(path).map_err(|e| failed(&e))?.len();
    if size > MAX_FILE {
        return Err(failed(&format!("it has {size} bytes; allowed: {MAX_FILE}")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| failed(&e))?;
    let objects: Option<Vec<Object>> = yaml::parse(&text).map_err(|e| failed(&e))?;
    Ok(objects.unwrap_or_default())
}
