//! `networks`: the further networks that pods can ask for.

use super::source::absolute;
use super::yaml::{Checker, Text};
use offramp_core::ids::Namespace;
use serde::Deserialize;
use std::path::PathBuf;

/// Further networks of pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    /// Where they are defined.
    pub definitions: Source,
    /// Whose networks all pods may use; `*`: all.
    pub global_namespaces: Vec<String>,
}

/// Where networks are defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: the annotation is for somebody else.
    None,
    /// In the Kubernetes API.
    Kubernetes,
    /// In a file, a list of NetworkAttachmentDefinitions.
    File(PathBuf),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawNetworks {
    pub definitions: Option<Text>,
    pub global_namespaces: Option<Vec<Text>>,
}

/// `cluster` is where the cluster's state comes from.
pub(super) fn networks(check: &mut Checker, raw: &RawNetworks, cluster: &super::Source) -> Networks {
    let has_api = matches!(cluster, super::Source::Kubernetes(_));
    let RawNetworks { definitions, global_namespaces } = raw;
    let definitions = check.opt("networks.definitions", definitions.as_ref(), |text| match text {
        "none" => Ok(Source::None),
        "kubernetes" if has_api => Ok(Source::Kubernetes),
        path if path.starts_with('/') => absolute(path).map(Source::File),
        _ => Err(format!("{text:?} is not allowed; allowed: none, the absolute path of a file, or, with cluster.source kubernetes, kubernetes")),
    });
    let namespace = |text: &str| match text {
        "*" => Ok(text.to_owned()),
        _ => text.parse::<Namespace>().map(String::from).map_err(|e| format!("{e}, or \"*\" for all")),
    };
    let global = global_namespaces.as_ref().map(|list| {
        let list = check.list("networks.globalNamespaces", list, namespace);
        list.into_iter().map(|(_, name)| name).collect()
    });
    Networks {
        definitions: definitions.unwrap_or(if has_api { Source::Kubernetes } else { Source::None }),
        global_namespaces: global.unwrap_or_else(|| vec!["default".to_owned()]),
    }
}
