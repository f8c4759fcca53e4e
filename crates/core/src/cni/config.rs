//! The network configuration on stdin.

use super::{
    bridge::BridgeConf, error::CniError, fields::Fields, frugal, ipam::Ipam, result::CniResult, result::Dns,
    runtime::RuntimeConfig, sriov::VfConf, version::Version,
};
use crate::ids::{AttachmentId, ContainerId, IfName, NetworkName};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The most that is read from stdin: twice the annotations that Kubernetes allows a pod (256 KiB).
pub const MAX_STDIN: usize = 512 * 1024;

/// The network configuration, parsed; nothing in it was passed over.
#[derive(Debug, Clone)]
pub struct NetConf {
    /// The version to answer in.
    pub version: Version,
    /// `name`
    pub name: NetworkName,
    /// Node mode or inline mode.
    pub mode: ModeConf,
    /// `dns`
    pub dns: Dns,
    /// `runtimeConfig`
    pub runtime: RuntimeConfig,
    /// `prevResult`; for DEL an unreadable one is none, since DEL never acts on it.
    pub prev_result: Option<CniResult>,
    /// `cni.dev/valid-attachments`; none where the key is absent.
    pub valid_attachments: Option<Vec<AttachmentId>>,
    /// Offramp's own keys.
    pub local: Local,
    /// The configuration as it came, for the delegated plugin; null where there is none.
    pub raw: Value,
}

/// Who decides.
#[derive(Debug, Clone, PartialEq)]
pub enum ModeConf {
    /// The daemon.
    Node,
    /// This configuration.
    Inline {
        /// What the pod's interface is.
        link: Link,
        /// Addresses.
        ipam: Box<Ipam>,
    },
}

/// What an interface is made of in inline mode.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// A veth, and its port on a bridge.
    Bridge(Box<BridgeConf>),
    /// A VF.
    Vf(Box<VfConf>),
}

/// Offramp's own keys in a configuration: places and logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// `stateDir`, default `/run/offramp`.
    pub state_dir: PathBuf,
    /// `socket`, default `offrampd.sock` in the state directory.
    pub socket: PathBuf,
    /// `logFile`, default `offramp.log` in the state directory.
    pub log_file: PathBuf,
    /// `logLevel`: `none`, `error`, `info` (default) or `debug`.
    pub log_level: LogLevel,
    /// `logMaxBytes`: at this size the file is rotated once; default 1 MiB.
    pub log_max_bytes: u64,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    None,
    /// Calls that failed.
    #[serde(alias = "warning", alias = "panic")]
    Error,
    /// One line a call.
    Info,
    /// One line a call, with its netns, its arguments and the size of its configuration.
    Debug,
}

impl Local {
    /// The keys in a configuration that may be wrong otherwise; none if these are wrong too.
    pub fn of(stdin: &[u8]) -> Option<Self> {
        let mut f = Fields::new("", frugal::parse(stdin).ok()?).ok()?;
        Self::take(&mut f).ok()
    }

    fn take(f: &mut Fields) -> Result<Self, CniError> {
        let absolute = |f: &mut Fields, key: &str| -> Result<Option<PathBuf>, CniError> {
            match f.take::<PathBuf>(key)? {
                Some(path) if !path.is_absolute() => Err(CniError::config(format!(
                    "field {key:?} {}: it must be an absolute path",
                    path.display()
                ))),
                path => Ok(path),
            }
        };
        let state_dir = absolute(f, "stateDir")?.unwrap_or_else(|| "/run/offramp".into());
        Ok(Self {
            socket: absolute(f, "socket")?.unwrap_or_else(|| state_dir.join("offrampd.sock")),
            log_file: absolute(f, "logFile")?.unwrap_or_else(|| state_dir.join("offramp.log")),
            log_level: f.take_or("logLevel", LogLevel::Info)?,
            log_max_bytes: f.take_or("logMaxBytes", 1 << 20)?,
            state_dir,
        })
    }
}

impl NetConf {
    /// Parses stdin. `lenient` (DEL, GC) passes over what only ADD needs: a broken `runtimeConfig` or
    /// `prevResult` must not stop a release.
    pub fn parse(stdin: &[u8], lenient: bool) -> Result<Self, CniError> {
        let decode = |e| CniError::decode(format!("stdin is not a network configuration: {e}"));
        let mut f = Fields::new("", frugal::parse(stdin).map_err(decode)?)?;
        let version = Version::parse(&f.take_or("cniVersion", String::new())?)?;
        let name = f.require("name")?;
        let local = Local::take(&mut f)?;
        let runtime = f.take::<Value>("runtimeConfig")?;
        let mode = match ModeConf::take(
            &mut f,
            runtime.as_ref().and_then(|r| r.get("deviceID")).filter(|d| !d.is_null()),
        ) {
            Err(_) if lenient => ModeConf::Node, // no ADD with it can have succeeded
            mode => mode?,
        };
        let runtime = or_default(runtime_config(runtime, &mode), lenient)?;
        let runtime = or_default(with_args(runtime, &mut f), lenient)?;
        let prev_result = or_default(f.take("prevResult")?.map(CniResult::from_json).transpose(), lenient)?;
        let valid_attachments = valid_attachments(&mut f)?;
        let dns = f.take_or("dns", Dns::default())?;
        f.ignore(&[
            "type",
            "capabilities",
            "cni.dev/attachments",
            "cniVersions",
            "disableCheck",
            "disableGC",
        ]);
        if !lenient {
            f.finish()?;
        }
        let raw = if mode.delegates() { serde_json::from_slice(stdin).map_err(decode)? } else { Value::Null };
        Ok(Self { version, name, mode, dns, runtime, prev_result, valid_attachments, local, raw })
    }

    /// The version that an error about `stdin` should carry, whatever else is wrong with it.
    pub fn version_of(stdin: &[u8]) -> Version {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct OnlyVersion {
            cni_version: Version,
        }
        serde_json::from_slice(stdin).map_or(Version::NEWEST, |v: OnlyVersion| v.cni_version)
    }
}

/// The capabilities. In node mode the daemon's pools decide: a runtime's ranges would be passed over.
fn runtime_config(value: Option<Value>, mode: &ModeConf) -> Result<RuntimeConfig, CniError> {
    let ranges = value.as_ref().and_then(|v| v.get("ipRanges")).cloned();
    let runtime = RuntimeConfig::parse(value)?;
    match ranges {
        Some(ranges) if *mode == ModeConf::Node && !runtime.ip_ranges.is_empty() => {
            Err(CniError::unsupported_field("runtimeConfig.ipRanges", &ranges)
                .with_details("in node mode the daemon's configuration names the ranges"))
        }
        _ => match &runtime.device_info {
            // In node mode the pod's wishes decide whether there is a device.
            Some(path) if matches!(mode, ModeConf::Inline { link: Link::Bridge(_), .. }) => {
                Err(CniError::unsupported_field("runtimeConfig.CNIDeviceInfoFile", &json!(path))
                    .with_details("a veth is no device"))
            }
            _ => Ok(runtime),
        },
    }
}

/// `args.cni` (CNI conventions): `ips` and `mac`, where no capability says otherwise. What else an orchestrator puts
/// there is, by the conventions, for others.
fn with_args(mut runtime: RuntimeConfig, f: &mut Fields) -> Result<RuntimeConfig, CniError> {
    let Some(mut args) = f.take_object("args")? else { return Ok(runtime) };
    let Some(mut cni) = args.take_object("cni")? else { return Ok(runtime) };
    let (ips, mac) = (cni.take("ips")?, cni.take("mac")?);
    if runtime.ips.is_empty() {
        runtime.ips = ips.unwrap_or_default();
    }
    runtime.mac = runtime.mac.or(mac);
    Ok(runtime)
}

fn or_default<T: Default>(result: Result<T, CniError>, lenient: bool) -> Result<T, CniError> {
    if lenient { Ok(result.unwrap_or_default()) } else { result }
}

impl ModeConf {
    /// A configuration that names a VF, a bridge or an IPAM decides by itself; any other asks the daemon.
    /// `runtime_device` is `runtimeConfig.deviceID`.
    fn take(f: &mut Fields, runtime_device: Option<&Value>) -> Result<Self, CniError> {
        if VfConf::is_meant(f, runtime_device) {
            let vf = VfConf::take(f, runtime_device)?;
            return Ok(Self::Inline { link: Link::Vf(Box::new(vf)), ipam: Box::new(Ipam::take(f)?) });
        }
        if !f.has("bridge") && !f.has("ipam") {
            return Ok(Self::Node);
        }
        let bridge = BridgeConf::take(f)?;
        let ipam = Ipam::take(f)?;
        if bridge.disable_container_interface && ipam != Ipam::None {
            return Err(CniError::config(
                "disableContainerInterface and ipam cannot both be set: a link that is down has no addresses",
            ));
        }
        Ok(Self::Inline { link: Link::Bridge(Box::new(bridge)), ipam: Box::new(ipam) })
    }

    fn delegates(&self) -> bool {
        matches!(self, Self::Inline { ipam, .. } if matches!(**ipam, Ipam::Delegate { .. }))
    }
}

fn valid_attachments(f: &mut Fields) -> Result<Option<Vec<AttachmentId>>, CniError> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(rename = "containerID")]
        container: ContainerId,
        ifname: IfName,
    }
    let list: Option<Vec<Wire>> = f.take("cni.dev/valid-attachments")?;
    Ok(list
        .map(|l| l.into_iter().map(|w| AttachmentId { container: w.container, ifname: w.ifname }).collect()))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
