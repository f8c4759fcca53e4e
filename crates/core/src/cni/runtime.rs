//! `runtimeConfig`: what the runtime adds for the capabilities that the configuration declares
//! (CNI conventions, <https://github.com/containernetworking/cni/blob/main/CONVENTIONS.md>).

use super::{error::CniError, fields::Fields, ipam::Range, ipam::parse_range_sets, result::Dns};
use crate::ids::MacAddr;
use crate::spec::{Bandwidth, HostPort, Protocol, Rate};
use ipnetwork::IpNetwork;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// The capabilities' values; keys are read in the casing of the conventions and in Go's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuntimeConfig {
    /// `portMappings`
    pub host_ports: Vec<HostPort>,
    /// `bandwidth`
    pub bandwidth: Bandwidth,
    /// `ips`
    pub ips: Vec<IpNetwork>,
    /// `mac`
    pub mac: Option<MacAddr>,
    /// `ipRanges`
    pub ip_ranges: Vec<Vec<Range>>,
    /// `dns`
    pub dns: Option<Dns>,
    /// `CNIDeviceInfoFile`: where the pod's device is to be described.
    pub device_info: Option<PathBuf>,
    /// `io.kubernetes.cri.pod-annotations`; of stdin, only those that Offramp reads.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The capability that carries the pod's annotations.
pub const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

impl RuntimeConfig {
    /// Error 7 names a wrong field; error 2 a capability that Offramp does not have.
    pub fn parse(value: Option<Value>) -> Result<Self, CniError> {
        let Some(value) = value else { return Ok(Self::default()) };
        let mut f = Fields::new("runtimeConfig", value)?;
        let config = Self {
            host_ports: f
                .take_objects("portMappings")?
                .into_iter()
                .map(host_port)
                .collect::<Result<_, _>>()?,
            bandwidth: bandwidth(&mut f)?,
            ips: f.take_or("ips", Vec::new())?,
            mac: f.take("mac")?,
            ip_ranges: parse_range_sets("runtimeConfig.ipRanges", f.take("ipRanges")?)?,
            dns: dns(&mut f)?,
            device_info: device_info(&mut f)?,
            annotations: f.take(ANNOTATIONS)?,
        };
        // `deviceID` was read with the mode, which it decides; the others are of no concern to a plugin that makes
        // interfaces.
        f.ignore(&["deviceID", "aliases", "cgroupPath"]);
        f.finish()?;
        Ok(config)
    }
}

fn device_info(f: &mut Fields) -> Result<Option<PathBuf>, CniError> {
    match f.take::<PathBuf>("CNIDeviceInfoFile")? {
        Some(path) if !path.is_absolute() => Err(CniError::config(format!(
            "field {:?} {}: it must be an absolute path",
            f.name("CNIDeviceInfoFile"),
            path.display()
        ))),
        path => Ok(path),
    }
}

/// One entry of `portMappings`.
pub(crate) fn host_port(mut f: Fields) -> Result<HostPort, CniError> {
    let port = |f: &mut Fields, key: &str| -> Result<u16, CniError> {
        let value: u64 = f.require(key)?;
        u16::try_from(value).ok().filter(|p| *p > 0).ok_or_else(|| {
            CniError::config(format!("field {:?} with value {value}: a port is 1 to 65535", f.name(key)))
        })
    };
    let name = f.name("hostIP");
    let host_ip: String = f.take_or("hostIP", String::new())?;
    let host_ip = match host_ip.as_str() {
        "" => None,
        text => Some(
            text.parse::<IpAddr>().map_err(|e| CniError::config(format!("field {name:?} {text:?}: {e}")))?,
        ),
    };
    let protocol: String = f.take_or("protocol", "tcp".to_owned())?;
    let mapping = HostPort {
        host_port: port(&mut f, "hostPort")?,
        container_port: port(&mut f, "containerPort")?,
        protocol: Protocol::parse(&protocol).ok_or_else(|| {
            CniError::config(format!("field {:?} {protocol:?}: it is tcp, udp or sctp", f.name("protocol")))
        })?,
        host_ip: host_ip.filter(|ip| !ip.is_unspecified()),
        only: host_ip.filter(IpAddr::is_unspecified).map(crate::net::Family::of),
    };
    f.ignore(&["name"]);
    f.finish()?;
    Ok(mapping)
}

/// The field `bandwidth`.
pub(crate) fn bandwidth(f: &mut Fields) -> Result<Bandwidth, CniError> {
    let Some(value) = f.take::<Value>("bandwidth")? else { return Ok(Bandwidth::default()) };
    let mut b = Fields::new_go_cased(&f.name("bandwidth"), value)?;
    let mut rate = |rate_key: &str, burst_key: &str| -> Result<Option<Rate>, CniError> {
        let (bits, burst): (u64, u64) = (b.take_or(rate_key, 0)?, b.take_or(burst_key, 0)?);
        match (bits, burst) {
            (0, 0) => Ok(None),
            (0, _) => {
                Err(CniError::config(format!("field {:?} is 0, but a burst is given", b.name(rate_key))))
            }
            (1..8, _) => Err(CniError::config(format!(
                "field {:?} with value {bits}: less than a byte a second",
                b.name(rate_key)
            ))),
            _ => Ok(Some(Rate::new(bits, burst))),
        }
    };
    let all = Bandwidth {
        ingress: rate("ingressRate", "ingressBurst")?,
        egress: rate("egressRate", "egressBurst")?,
    };
    b.finish()?;
    Ok(all)
}

/// The convention has `servers`, `searches`, `options`; a `dns` block of the configuration has other names.
fn dns(f: &mut Fields) -> Result<Option<Dns>, CniError> {
    let Some(value) = f.take::<Value>("dns")? else { return Ok(None) };
    let mut d = Fields::new_go_cased(&f.name("dns"), value)?;
    let dns = Dns {
        nameservers: d.take_or("servers", Vec::new())?,
        search: d.take_or("searches", Vec::new())?,
        options: d.take_or("options", Vec::new())?,
        domain: None,
    };
    d.finish()?;
    Ok((dns != Dns::default()).then_some(dns))
}

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod tests;
