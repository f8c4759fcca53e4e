//! The fields of `sriov-cni`, as inline mode takes them, and a few more of ours.

use super::{error::CniError, fields::Fields, runtime::RuntimeConfig};
use crate::ids::{MacAddr, Mtu, VlanId};
use crate::nic::PciAddr;
use crate::spec::Bandwidth;
use crate::vf::{LinkState, VfSettings, VlanProto, VlanTag};
use serde::Deserialize;
use serde_json::{Value, json};

/// Inline mode's description of a VF.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VfConf {
    /// The VF; GC and STATUS come without.
    pub device: Option<PciAddr>,
    /// What the configuration wants of it.
    pub settings: VfSettings,
}

/// Fields that no bridge has: a configuration with one of them wants a VF, named or not.
const OWN: [&str; 10] = [
    "deviceID",
    "pciBusID",
    "vlanQoS",
    "vlanProto",
    "spoofchk",
    "trust",
    "link_state",
    "min_tx_rate",
    "max_tx_rate",
    "allmulticast",
];

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Switch {
    On,
    Off,
}

impl VfConf {
    /// Whether a configuration is of a VF. `runtime` is its `runtimeConfig.deviceID`.
    pub fn is_meant(f: &Fields, runtime: Option<&Value>) -> bool {
        runtime.is_some() || OWN.iter().any(|key| f.has(key))
    }

    /// Takes the fields; error 7 names the one that is wrong.
    pub fn take(f: &mut Fields, runtime: Option<&Value>) -> Result<Self, CniError> {
        if f.has("bridge") {
            return Err(CniError::config("deviceID and bridge cannot both be set: it is a VF or a veth"));
        }
        Ok(Self {
            device: device(f, runtime)?,
            settings: VfSettings {
                mac: some_text(f, "mac")?,
                vlan: vlan(f)?,
                trust: switch(f, "trust")?,
                spoofchk: switch(f, "spoofchk")?,
                link_state: some_text::<LinkState>(f, "link_state")?,
                min_tx_rate: f.take("min_tx_rate")?,
                max_tx_rate: f.take("max_tx_rate")?,
                mtu: f.take::<u64>("mtu")?.filter(|m| *m != 0).map(Mtu::try_from).transpose()?,
                allmulticast: f.take("allmulticast")?,
                queues: f.take::<u32>("queues")?.filter(|n| *n != 0),
            },
        })
    }

    /// With what the runtime wants: a MAC goes before the configuration's, a limit to what the pod sends becomes the
    /// VF's rate. Error 2 names what a VF cannot do.
    pub fn with_runtime(
        &self,
        runtime: &RuntimeConfig,
        args: Option<MacAddr>,
    ) -> Result<VfSettings, CniError> {
        let mut settings = self.settings.clone();
        settings.mac = runtime.mac.or(args).or(settings.mac);
        let Bandwidth { ingress, egress } = runtime.bandwidth;
        if let Some(rate) = ingress {
            let bits = json!(rate.bytes_per_second.saturating_mul(8));
            return Err(CniError::unsupported_field("runtimeConfig.bandwidth.ingressRate", &bits)
                .with_details("a NIC limits what a VF sends, not what it receives"));
        }
        if let Some(rate) = egress {
            // What the runtime asks for holds: the rate never becomes 0, which is no limit.
            let mbits = rate.bytes_per_second.saturating_mul(8).div_ceil(1_000_000);
            let limit = u32::try_from(mbits).unwrap_or(u32::MAX);
            let configured = settings.max_tx_rate.filter(|max| *max != 0);
            settings.max_tx_rate = Some(configured.map_or(limit, |max| max.min(limit)));
        }
        if let Some(port) = runtime.host_ports.first() {
            return Err(CniError::unsupported_field("runtimeConfig.portMappings", &json!([port]))
                .with_details("a VF's traffic does not pass the node"));
        }
        match (settings.min_tx_rate, settings.max_tx_rate) {
            (Some(min), Some(max)) if max != 0 && min > max => {
                Err(CniError::config(format!("min_tx_rate {min} is greater than max_tx_rate {max}")))
            }
            _ => Ok(settings),
        }
    }
}

/// Multus puts the address into `deviceID` and, for `host-device`, into `pciBusID` too.
fn device(f: &mut Fields, runtime: Option<&Value>) -> Result<Option<PciAddr>, CniError> {
    let wrong = |e| CniError::config(format!("field \"runtimeConfig.deviceID\": {e}"));
    let runtime: Option<PciAddr> = runtime.map(|v| PciAddr::deserialize(v).map_err(wrong)).transpose()?;
    let named = [("deviceID", some_text(f, "deviceID")?), ("pciBusID", some_text(f, "pciBusID")?)];
    let device = runtime.or(named[0].1).or(named[1].1);
    match named.iter().find(|(_, other)| other.is_some() && *other != device) {
        Some((key, Some(other))) => Err(CniError::config(format!(
            "field {key:?} {other} is another device than {}",
            device.map(|d| d.to_string()).unwrap_or_default()
        ))),
        _ => Ok(device),
    }
}

fn vlan(f: &mut Fields) -> Result<Option<VlanTag>, CniError> {
    let (id, qos): (Option<u64>, Option<u8>) = (f.take("vlan")?, f.take("vlanQoS")?);
    let proto = match f.take::<String>("vlanProto")?.filter(|p| !p.is_empty()) {
        None => None,
        Some(text) => Some(match text.to_ascii_lowercase().as_str() {
            "802.1q" => VlanProto::Q,
            "802.1ad" => VlanProto::Ad,
            _ => {
                return Err(CniError::config(format!(
                    "field \"vlanProto\" with value {text:?}: it is 802.1q or 802.1ad"
                )));
            }
        }),
    };
    if let Some(qos) = qos.filter(|q| *q > 7) {
        return Err(CniError::config(format!("field \"vlanQoS\" with value {qos}: it is 0 to 7")));
    }
    let tag = VlanTag {
        id: id.filter(|id| *id != 0).map(VlanId::try_from).transpose()?,
        qos: qos.unwrap_or_default(),
        proto: proto.unwrap_or_default(),
    };
    match (id, qos, proto) {
        (None, None, None) => Ok(None),
        (None, _, _) => Err(CniError::config("vlanQoS and vlanProto need vlan")),
        (Some(0), _, _) if tag.qos != 0 || tag.proto != VlanProto::Q => {
            Err(CniError::config("vlanQoS and vlanProto need a vlan that is not 0"))
        }
        (Some(_), _, _) => Ok(Some(tag)),
    }
}

fn switch(f: &mut Fields, key: &str) -> Result<Option<bool>, CniError> {
    Ok(some_text(f, key)?.map(|s: Switch| matches!(s, Switch::On)))
}

/// A field whose empty text is none, as Go's zero values are.
fn some_text<T: serde::de::DeserializeOwned>(f: &mut Fields, key: &str) -> Result<Option<T>, CniError> {
    if f.is_empty_text(key) {
        f.ignore(&[key]);
    }
    f.take(key)
}

#[cfg(test)]
#[path = "sriov_tests.rs"]
mod tests;
