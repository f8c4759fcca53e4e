//! The fields of the reference `bridge` plugin, as inline mode takes them.

use super::{error::CniError, fields::Fields};
use crate::ids::{IfName, Mtu, VlanId};
use crate::pair::PairWish;
use crate::spec::VlanTrunk;
use serde_json::json;

/// Inline mode's description of the bridge and the port.
#[derive(Debug, Clone, PartialEq)]
pub struct BridgeConf {
    /// The bridge's name; made if it is not there.
    pub bridge: IfName,
    /// The bridge gets the gateway's address and the node forwards.
    pub is_gateway: bool,
    /// As `is_gateway`, and the pod's default route goes there.
    pub is_default_gateway: bool,
    /// The pod's traffic to elsewhere is masqueraded.
    pub ip_masq: bool,
    /// Of bridge and pod interface; none: the kernel's default.
    pub mtu: Option<Mtu>,
    /// The port may send back what it received.
    pub hairpin: bool,
    /// The bridge is promiscuous.
    pub promisc: bool,
    /// The port's untagged VLAN.
    pub vlan: Option<VlanId>,
    /// The port's tagged VLANs.
    pub vlan_trunk: Vec<VlanTrunk>,
    /// Keep the port in the bridge's default VLAN too.
    pub preserve_default_vlan: bool,
    /// Drop frames whose source is not the pod's MAC.
    pub mac_spoof_check: bool,
    /// Isolated ports cannot reach each other.
    pub port_isolation: bool,
    /// A bridge address that is in the way is replaced.
    pub force_address: bool,
    /// IPv6 addresses go through duplicate address detection.
    pub enable_dad: bool,
    /// The pod's interface stays down.
    pub disable_container_interface: bool,
    /// What connects the pod with the bridge; a field of Offramp's own.
    pub path: PairWish,
}

impl BridgeConf {
    /// Takes the fields; error 7 or 2 names the one that is wrong.
    pub fn take(f: &mut Fields) -> Result<Self, CniError> {
        const DEFAULT: &str = "cni0"; // the reference plugin's default
        let conf = Self {
            bridge: f.take("bridge")?.map_or_else(|| DEFAULT.parse(), Ok)?,
            is_default_gateway: f.take_or("isDefaultGateway", false)?,
            is_gateway: f.take_or("isGateway", false)?,
            ip_masq: f.take_or("ipMasq", false)?,
            mtu: f.take::<u64>("mtu")?.filter(|m| *m != 0).map(Mtu::try_from).transpose()?,
            hairpin: f.take_or("hairpinMode", false)?,
            promisc: f.take_or("promiscMode", false)?,
            vlan: f.take::<u64>("vlan")?.filter(|v| *v != 0).map(VlanId::try_from).transpose()?,
            vlan_trunk: f.take_objects("vlanTrunk")?.into_iter().map(trunk).collect::<Result<_, _>>()?,
            preserve_default_vlan: f.take_or("preserveDefaultVlan", true)?,
            mac_spoof_check: f.take_or("macspoofchk", false)?,
            port_isolation: f.take_or("portIsolation", false)?,
            force_address: f.take_or("forceAddress", false)?,
            enable_dad: f.take_or("enabledad", false)?,
            disable_container_interface: f.take_or("disableContainerInterface", false)?,
            path: f.take::<String>("path")?.map_or(Ok(PairWish::Veth), |path| wish(&path))?,
        };
        let backend: String = f.take_or("ipMasqBackend", "nftables".to_owned())?;
        if backend != "nftables" {
            return Err(CniError::unsupported_field("ipMasqBackend", &json!(backend))
                .with_details("Offramp masquerades with nftables only"));
        }
        conf.checked()
    }

    /// Combinations that contradict each other. The reference plugin serves `vlan` with `isGateway` by another link,
    /// `BRIDGE.VLAN`; Offramp does not, and says so.
    fn checked(mut self) -> Result<Self, CniError> {
        self.is_gateway |= self.is_default_gateway;
        if self.hairpin && self.promisc {
            return Err(CniError::config(
                "hairpinMode and promiscMode cannot both be set: the bridge would loop frames",
            ));
        }
        if self.is_gateway && self.vlan.is_some() {
            // The gateway sits on the bridge itself, outside of the port's VLAN.
            return Err(CniError::config(
                "isGateway and vlan cannot both be set: the gateway would be in another VLAN",
            ));
        }
        if !self.preserve_default_vlan && !self.vlan_filtering() {
            return Err(CniError::config(
                "preserveDefaultVlan false needs vlan or vlanTrunk: without them the port has no other VLAN",
            ));
        }
        Ok(self)
    }

    /// Whether the bridge must tell VLANs apart.
    pub fn vlan_filtering(&self) -> bool {
        self.vlan.is_some() || !self.vlan_trunk.is_empty()
    }
}

fn wish(path: &str) -> Result<PairWish, CniError> {
    let wish = path.parse().map_err(|e: CniError| e.context("field \"path\""))?;
    if PairWish::is_routed(wish) {
        return Err(CniError::config(format!(
            "field \"path\": {path:?} is for offrampd's pods: in L3 mode netkit cannot be a port of a bridge, which this \
             configuration names"
        )));
    }
    Ok(wish)
}

fn trunk(mut f: Fields) -> Result<VlanTrunk, CniError> {
    let (id, min, max): (Option<VlanId>, Option<VlanId>, Option<VlanId>) =
        (f.take("id")?, f.take("minID")?, f.take("maxID")?);
    let name = f.name("");
    f.finish()?;
    match (id, min, max) {
        (Some(id), None, None) => Ok(VlanTrunk { min: id, max: id }),
        (None, Some(min), Some(max)) if min <= max => Ok(VlanTrunk { min, max }),
        (None, Some(_), Some(_)) => {
            Err(CniError::config(format!("field {name:?}: minID is greater than maxID")))
        }
        _ => Err(CniError::config(format!("field {name:?}: it has either id, or minID and maxID"))),
    }
}
