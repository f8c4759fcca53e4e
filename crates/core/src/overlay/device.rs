//! The VXLAN device: what it should be, and how one that is different is put right.

use crate::ids::{IfName, MacAddr, Vni};
use crate::net::Family;
use std::net::IpAddr;

/// What the device should be. The rest is the same for everybody: no learning (peers are known), UDP checksums on
/// (IPv6 demands them, RFC 8200 section 8.1, and receivers merge packets by them; with checksum offload of the
/// inner packet they cost nothing, Documentation/networking/checksum-offloads.rst), TTL and TOS the kernel's
/// own (a pod does not choose how the underlay treats it), no group policy, no IPv6 address of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: IfName,
    /// The network identifier.
    pub vni: Vni,
    /// UDP port it sends to and hears on.
    pub port: u16,
    /// Source of what it sends.
    pub local: IpAddr,
    /// The uplink's number.
    pub uplink: u32,
    /// Its hardware address, which the peers know.
    pub mac: MacAddr,
    /// Bytes.
    pub mtu: u32,
}

/// A link of the device's name, as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// `vxlan` or something else; none for a physical link.
    pub kind: Option<String>,
    /// Its number.
    pub index: u32,
    /// The network identifier.
    pub vni: Option<u32>,
    /// UDP port.
    pub port: Option<u16>,
    /// Source of what it sends.
    pub local: Option<IpAddr>,
    /// The uplink's number.
    pub uplink: Option<u32>,
    /// Its hardware address.
    pub mac: Vec<u8>,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// It learns addresses from what it hears, or has a TTL, TOS or DF of its own.
    pub drifted: bool,
    /// It makes itself IPv6 addresses.
    pub autoconf: bool,
    /// It takes all VNIs of its port (metadata mode).
    pub external: bool,
    /// A setting that no device of ours has and that cannot be changed, by name.
    pub strange: Option<&'static str>,
}

/// What must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// There is none: make it.
    Create,
    /// It is as it should be, but for these.
    Adjust(Vec<Setting>),
    /// It must be deleted and made anew, since this cannot be changed.
    Recreate(String),
    /// The name is taken by a link of another kind, which is not touched.
    Foreign(String),
}

/// Something that can be changed on a living device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Source, uplink, learning, TTL, TOS and DF: one message sets them all.
    Tunnel,
    /// The hardware address.
    Mac,
    /// The MTU.
    Mtu,
    /// No IPv6 addresses of its own.
    NoAutoconf,
    /// Up.
    Up,
}

impl Device {
    /// What makes `found` into this device (vxlan_nl2conf, drivers/net/vxlan/vxlan_core.c, says what can change).
    pub fn fix(&self, found: Option<&Found>) -> Fix {
        let Some(found) = found else { return Fix::Create };
        if found.kind.as_deref() != Some("vxlan") {
            return Fix::Foreign(match &found.kind {
                Some(kind) => format!("of kind {kind}"),
                None => "a physical link".into(),
            });
        }
        match self.fixed_for_life(found) {
            Some(why) => Fix::Recreate(why),
            None => Fix::Adjust(self.adjustments(found)),
        }
    }

    fn fixed_for_life(&self, found: &Found) -> Option<String> {
        if found.vni != Some(self.vni.get()) {
            return Some(format!("its VNI is {}, not {}", or_none(found.vni), self.vni));
        }
        if found.port != Some(self.port) {
            return Some(format!("its port is {}, not {}", or_none(found.port), self.port));
        }
        if found.local.map(Family::of) != Some(Family::of(self.local)) {
            return Some(format!("its local address is {}, not {}", or_none(found.local), self.local));
        }
        found.strange.map(|what| format!("it has {what}"))
    }

    fn adjustments(&self, found: &Found) -> Vec<Setting> {
        let tunnel = found.local != Some(self.local) || found.uplink != Some(self.uplink) || found.drifted;
        // The tunnel before the MTU, whose bound follows the uplink's; "no autoconf" before "up".
        [
            (tunnel, Setting::Tunnel),
            (found.mac != self.mac.octets(), Setting::Mac),
            (found.mtu != self.mtu, Setting::Mtu),
            (found.autoconf, Setting::NoAutoconf),
            (!found.up, Setting::Up),
        ]
        .into_iter()
        .filter_map(|(wrong, setting)| wrong.then_some(setting))
        .collect()
    }
}

fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "none".into(), |v| v.to_string())
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
