//! A network's device, and the files that tell of it (Network Plumbing Working Group, "Device Information Specification"
//! 1.1.0): device plugins write one for each device, and CNI plugins may tell more in one of their own.

use crate::ids::{ContainerId, IfName};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where the standard has the files (`/var/run` is `/run`).
const DIR: &str = "/run/k8s.cni.cncf.io/devinfo";
/// The capability of plugins that write one.
pub(super) const CAPABILITY: &str = "CNIDeviceInfoFile";

/// A device that kubelet has assigned to a container's pod.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    /// As the device plugin calls it: a PCI address, or something else.
    pub id: &'a str,
    /// Of what resource.
    pub resource: &'a str,
    /// Whose.
    pub container: &'a ContainerId,
}

/// What is told of a network's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceInfo {
    /// The device plugin's file; it may not be there.
    pub source: PathBuf,
    /// The file for the network's plugins, which begins as a copy and goes with the network; none: they want none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What the files said once the network was attached; none: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Value>,
}

impl DeviceInfo {
    /// Of a device that is for this interface. `wanted`: its plugins write a file.
    pub(super) fn new(device: Device<'_>, ifname: &IfName, wanted: bool) -> Self {
        let Device { id, resource, container } = device;
        let plain = |text: &str| text.replace('/', "-");
        let source = format!("{}-{}-device.json", plain(resource), plain(id));
        Self {
            source: Path::new(DIR).join("dp").join(source),
            file: wanted.then(|| Path::new(DIR).join("cni").join(format!("{container}-{ifname}"))),
            told: None,
        }
    }
}
