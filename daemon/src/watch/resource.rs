//! `OfframpNode`: what a node says of itself to the others. Cluster-scoped, one a node, of its Node's name.
//!
//! Versions may differ while a cluster is upgraded, or rolled back: keys that are not known are passed over, and what
//! is known keeps its meaning. A resource that makes no sense is a fault of its node alone, so that it is decoded by
//! hand and not with the list.

use crate::node::Claim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use kube::core::ClusterResourceScope;
use offramp_core::peer::Peer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

const GROUP: &str = "offramp.dev";
const VERSION: &str = "v1alpha1";
const KIND: &str = "OfframpNode";

/// As read.
#[derive(Debug, Clone, Deserialize)]
pub struct OfframpNode {
    #[serde(default, deserialize_with = "slim")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

/// Of the metadata what is used here or by the watcher: of thousands of nodes the rest, above all who manages which
/// field, would be more than all that they say.
fn slim<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Slim {
        name: Option<String>,
        resource_version: Option<String>,
        creation_timestamp: Option<Time>,
        owner_references: Option<Vec<OwnerReference>>,
    }
    let Slim { name, resource_version, creation_timestamp, owner_references } = Slim::deserialize(from)?;
    let rest = ObjectMeta::default();
    Ok(ObjectMeta { name, resource_version, creation_timestamp, owner_references, ..rest })
}

/// As written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    spec: Said,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Said {
    #[serde(flatten)]
    needed: Spec,
    #[serde(flatten)]
    more: More,
}

/// What the others must know to reach the node's pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Its underlay addresses.
    pub endpoints: Vec<String>,
    /// Of its tunnel device; none: derived from its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Of its pods.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<String>,
}

/// What people may want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct More {
    /// Of the daemon.
    pub version: String,
    /// What it can offload.
    pub offload: Offload,
}

/// What a node can offload. Nothing here changes as pods come and go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Offload {
    /// Its pools, by name.
    pub pools: Vec<Pool>,
    /// Its NICs' ports, by name.
    pub nics: Vec<Nic>,
    /// What its kernel can do.
    pub kernel: Vec<&'static str>,
}

/// A port of a NIC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Nic {
    /// Its netdev.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// How many VFs it can have.
    pub total_vfs: u16,
    /// Offloads that are at work.
    pub offloads: Vec<&'static str>,
}

/// A pool of VFs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// `netdev` or `vfio`.
    pub mode: String,
    /// How many VFs it has, lent ones too.
    pub vfs: u64,
}

impl Published {
    /// For the Node `name` that has `uid`: it goes with it.
    pub fn new(name: &str, uid: &str, needed: Spec, more: More) -> Self {
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            ..OwnerReference::default()
        };
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        };
        Self { api_version: "offramp.dev/v1alpha1", kind: KIND, metadata, spec: Said { needed, more } }
    }
}

impl Published {
    /// Whether the object has all of it.
    pub fn is_in(&self, object: &OfframpNode) -> bool {
        let owner = &self.metadata.owner_references;
        serde_json::to_value(&self.spec).is_ok_and(|spec| has(&object.spec, &spec))
            && object.metadata.owner_references == *owner
    }
}

/// Whether an object has all members of another; all else must be equal.
fn has(all: &Value, some: &Value) -> bool {
    match (all, some) {
        (Value::Object(all), Value::Object(some)) => {
            some.iter().all(|(key, some)| all.get(key).is_some_and(|all| has(all, some)))
        }
        _ => all == some,
    }
}

impl OfframpNode {
    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// What it claims; the error says what of it makes no sense.
    pub fn claim(&self) -> Result<Claim, String> {
        let spec: Spec = if self.spec.is_null() { Spec::default() } else { decode(&self.spec)? };
        let peer = Peer {
            name: parse("metadata.name", self.name())?,
            endpoints: all("spec.endpoints", &spec.endpoints)?,
            pod_cidrs: all("spec.podCIDRs", &spec.pod_cidrs)?,
            mac: spec.mac.as_deref().map(|mac| parse("spec.mac", mac)).transpose()?,
        };
        let created = self.metadata.creation_timestamp.as_ref();
        Ok(Claim { peer: peer.into(), created: created.map(|t| t.0.to_string()).unwrap_or_default() })
    }
}

fn decode<T: DeserializeOwned>(spec: &Value) -> Result<T, String> {
    T::deserialize(spec).map_err(|e| format!("spec: {e}"))
}

fn all<T: FromStr<Err: Display>>(key: &str, texts: &[String]) -> Result<Vec<T>, String> {
    texts.iter().enumerate().map(|(i, text)| parse(&format!("{key}[{i}]"), text)).collect()
}

fn parse<T: FromStr<Err: Display>>(key: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|e| format!("{key} {text:?}: {e}"))
}

macro_rules! resource {
    ($type:ty) => {
        impl Resource for $type {
            type DynamicType = ();
            type Scope = ClusterResourceScope;
            fn kind((): &()) -> Cow<'_, str> {
                KIND.into()
            }
            fn group((): &()) -> Cow<'_, str> {
                GROUP.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                VERSION.into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                "offrampnodes".into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
resource!(OfframpNode);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(spec: Value) -> Result<Claim, String> {
        let object =
            json!({"metadata": {"name": "n2", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec});
        let object: OfframpNode = serde_json::from_value(object).unwrap();
        object.claim()
    }

    #[test]
    fn what_is_not_known_is_passed_over_and_what_makes_no_sense_is_told() {
        let spec =
            json!({"endpoints": ["192.0.2.2"], "podCIDRs": ["10.2.0.0/24"], "wireguard": {"key": "x"}});
        let good = claim(spec).unwrap();
        assert_eq!((good.peer.endpoints.len(), good.created.as_str()), (1, "2026-01-01T00:00:00Z"));
        assert_eq!(claim(json!(null)).unwrap().peer.pod_cidrs, []);
        let told = |spec| claim(spec).unwrap_err();
        assert!(told(json!({"podCIDRs": ["10.2.0.0/33"]})).starts_with("spec.podCIDRs[0] \"10.2.0.0/33\": "));
        assert!(told(json!({"mac": "x"})).starts_with("spec.mac \"x\": "));
        assert!(told(json!({"endpoints": 7})).starts_with("spec: "));
        assert!(told(json!("x")).starts_with("spec: "));
    }

    #[test]
    fn it_is_published_as_it_is_read() {
        let spec =
            Spec { endpoints: vec!["192.0.2.2".into()], mac: None, pod_cidrs: vec!["10.2.0.0/24".into()] };
        let more = More { version: "0".into(), offload: Offload::default() };
        let published = Published::new("n2", "u", spec, more);
        let text = serde_json::to_string(&published).unwrap();
        let read: OfframpNode = serde_json::from_str(&text).unwrap();
        assert!(published.is_in(&read));
        let with = |pointer: &str, value: Value| {
            let mut object: Value = serde_json::from_str(&text).unwrap();
            match (object.pointer_mut(pointer).unwrap(), value) {
                (Value::Object(there), Value::Object(more)) => there.extend(more),
                (there, value) => *there = value,
            }
            published.is_in(&serde_json::from_value(object).unwrap())
        };
        let more = json!({"more": "of somebody else"});
        assert!(with("/spec", more.clone()) && with("/spec/offload", more));
        assert!(!with("/spec/podCIDRs", json!([])) && !with("/spec", Value::Null));
        assert!(!with("/metadata/ownerReferences", json!([])));
        assert_eq!(read.claim().unwrap().peer.pod_cidrs, ["10.2.0.0/24".parse().unwrap()]);
        assert!(
            text.contains(r#""ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"n2","uid":"u"}]"#)
        );
    }
}
