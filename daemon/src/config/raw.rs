//! The configuration as it is written: keys are known, values are not checked yet.

use super::networks::RawNetworks;
use super::nics::{RawEmbeddedSwitch, RawNic};
use super::offloads::RawOffloads;
use super::pools::RawPool;
use super::yaml::Text;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Root {
    pub node: Option<Node>,
    pub cluster: Option<Cluster>,
    pub bridge: Option<Bridge>,
    pub path: Option<Text>,
    pub overlay: Option<Overlay>,
    pub masquerade: Option<Masquerade>,
    pub paths: Option<Paths>,
    pub cni: Option<Cni>,
    pub http: Option<Http>,
    pub log: Option<Log>,
    pub reconcile: Option<Interval>,
    pub reclaim: Option<Interval>,
    pub kubelet: Option<Kubelet>,
    pub pools: Option<Vec<RawPool>>,
    pub nics: Option<Vec<RawNic>>,
    pub embedded_switch: Option<RawEmbeddedSwitch>,
    pub networks: Option<RawNetworks>,
    pub offloads: Option<RawOffloads>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Node {
    pub name: Option<Text>,
    pub addresses: Option<Vec<Text>>,
    pub uplink: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Cluster {
    pub source: Option<Text>,
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Option<Vec<Text>>,
    #[serde(rename = "clusterCIDRs")]
    pub cluster_cidrs: Option<Vec<Text>>,
    pub peers_file: Option<Text>,
    pub kubernetes: Option<Kubernetes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Kubernetes {
    pub kubeconfig: Option<Text>,
    pub api_server: Option<Text>,
    pub unavailable_after: Option<Text>,
    pub node_labels: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Bridge {
    pub name: Option<Text>,
    pub mtu: Option<Text>,
    pub hairpin: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Overlay {
    pub mode: Option<Text>,
    pub vni: Option<Text>,
    pub port: Option<Text>,
    pub device: Option<Text>,
    pub underlay: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Masquerade {
    pub enabled: Option<Text>,
    #[serde(rename = "exceptCIDRs")]
    pub except_cidrs: Option<Vec<Text>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Paths {
    pub state_dir: Option<Text>,
    pub socket: Option<Text>,
    pub kubelet: Option<Text>,
    pub cdi: Option<Text>,
    pub sysfs: Option<Text>,
    pub sysctl: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Cni {
    pub conf_dir: Option<Text>,
    pub conf_file: Option<Text>,
    pub version: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Http {
    pub address: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Log {
    pub level: Option<Text>,
    pub format: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Interval {
    pub interval: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Kubelet {
    pub interval: Option<Text>,
    pub settling: Option<Text>,
}
