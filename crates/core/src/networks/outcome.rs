//! Whether a network's result has what the pod asked for. Plugins may pass over `args`, so it is looked for.

use super::Delegation;
use crate::cni::CniError;
use crate::cni::result::{CniResult, Interface};
use ipnetwork::IpNetwork;
use std::net::IpAddr;

impl Delegation {
    /// Error 2 names the address that was asked for and not given.
    pub fn verify(&self, result: &CniResult) -> Result<(), CniError> {
        let who = match self.ipam_type() {
            Some(ipam) => format!("its ipam ({ipam}) does"),
            None => format!("its plugins ({}) do", self.types()),
        };
        let missing = |what: &str, value: &str| {
            let network = &self.network;
            CniError::unsupported(format!(
                "network {network}: {what} {value} was asked for and not given: {who} not support that",
            ))
        };
        for asked in &self.asked.ips {
            let ip: Option<IpAddr> = asked.parse::<IpNetwork>().ok().map(|net| net.ip());
            if !result.ips.iter().any(|given| Some(given.address.ip()) == ip) {
                return Err(missing("address", asked));
            }
        }
        match (&self.asked.mac, inside(result)) {
            (None, _) => Ok(()),
            (Some(asked), Some(Interface { mac: Some(mac), .. })) if mac.eq_ignore_ascii_case(asked) => {
                Ok(())
            }
            (Some(asked), _) => Err(missing("MAC", asked)),
        }
    }
}

/// The first interface in the pod.
pub(super) fn inside(result: &CniResult) -> Option<&Interface> {
    result.interfaces.iter().find(|i| i.sandbox.as_ref().is_some_and(|s| !s.is_empty()))
}
