//! Embedded switches that are run by representors.

use crate::message::{Message, RTM_GETNEIGH, half, word};
use crate::netlink::Socket;
use crate::{Result, link};
use link::{Link, Parent};
use offramp_core::ids::{IfName, MacAddr};

/// What a port of an embedded switch stands for, by its `phys_port_name`: the kernel makes these names
/// (`__devlink_port_phys_port_name_get`, net/devlink/port.c), drivers without devlink ports the same by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortName {
    /// A port of the card, `pN`, or one whose driver gives it a name of its own, or none.
    Physical(Option<u32>),
    /// A VF's representor, `[cC]pfPvfN`.
    Vf(u16),
    /// The representor of a PF or subfunction.
    Other,
}

impl PortName {
    /// Reads it.
    pub fn parse(name: Option<&str>) -> Self {
        let Some(name) = name else { return Self::Physical(None) };
        if let Some(number) = name.strip_prefix('p').and_then(|n| n.parse().ok()) {
            return Self::Physical(Some(number));
        }
        let rest = name.strip_prefix('c').and_then(after_number).unwrap_or(name);
        match rest.strip_prefix("pf").and_then(after_number) {
            None => Self::Physical(None),
            Some(function) => match function.strip_prefix("vf").map(str::parse) {
                Some(Ok(number)) => Self::Vf(number),
                _ => Self::Other,
            },
        }
    }

    /// Whether it is a representor.
    pub fn is_representor(self) -> bool {
        !matches!(self, Self::Physical(_))
    }
}

/// What follows a number.
fn after_number(text: &str) -> Option<&str> {
    Some(text.trim_start_matches(|c: char| c.is_ascii_digit())).filter(|rest| rest.len() < text.len())
}

/// The representors of a device's VFs, with the VFs' numbers.
pub fn representors<'a>(links: &'a [Link], device: &'a Parent) -> impl Iterator<Item = (u16, IfName)> + 'a {
    links.iter().filter(|link| link.parent.as_ref() == Some(device) && link.switch_id.is_some()).filter_map(
        |link| match PortName::parse(link.port_name.as_deref()) {
            PortName::Vf(number) => Some((number, link.name.parse().ok()?)),
            PortName::Physical(_) | PortName::Other => None,
        },
    )
}

/// An entry of a bridge's forwarding table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FdbEntry {
    /// Frames to this address ...
    pub mac: MacAddr,
    /// ... in this VLAN; none: in all ...
    pub vlan: Option<u16>,
    /// ... are forwarded by the hardware, says its driver.
    pub offloaded: bool,
}

/// include/uapi/linux/neighbour.h
const NTF_SELF: u8 = 0x02;
const NTF_OFFLOADED: u8 = 0x20;
const NUD_PERMANENT: u16 = 0x80;
const NDA_LLADDR: u16 = 2;
const NDA_VLAN: u16 = 5;
/// struct ndmsg
const NDMSG: usize = 12;

/// What a bridge forwards to one of its ports. Addresses of the port itself are left out: they are not forwarded.
pub fn fdb(socket: &mut Socket, port: u32) -> Result<Vec<FdbEntry>> {
    let mut body = vec![nix::libc::AF_BRIDGE as u8, 0, 0, 0];
    body.extend(port.to_ne_bytes());
    body.resize(NDMSG, 0);
    let what = format!("list the forwarding entries of link {port}");
    let entries = socket.dump_raw(&what, Message { kind: RTM_GETNEIGH, body })?;
    Ok(entries.iter().filter_map(|entry| entry_of(&entry.body, port)).collect())
}

fn entry_of(body: &[u8], port: u32) -> Option<FdbEntry> {
    let (index, state, flags) = (word(body, 4)?, half(body, 8)?, *body.get(10)?);
    let mut mac: Option<[u8; 6]> = None;
    let mut vlan = None;
    for nla in link::attributes(body.get(NDMSG..)?) {
        match nla.kind() {
            NDA_LLADDR => mac = nla.value().try_into().ok(),
            NDA_VLAN => vlan = half(nla.value(), 0),
            _ => {}
        }
    }
    let forwarded = index == port && flags & NTF_SELF == 0 && state & NUD_PERMANENT == 0;
    let mac = mac.filter(|_| forwarded)?.try_into().ok()?;
    Some(FdbEntry { mac, vlan, offloaded: flags & NTF_OFFLOADED != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ports() {
        use PortName::{Other, Physical, Vf};
        for (name, port) in [
            ("p0", Physical(Some(0))),
            ("p12", Physical(Some(12))),
            ("p1s3", Physical(None)),
            ("pf0vf3", Vf(3)),
            ("c1pf0vf127", Vf(127)),
            ("pf1", Other),
            ("c2pf0", Other),
            ("pf0sf88", Other),
            ("cage1", Physical(None)),
            ("pfx", Physical(None)),
            ("", Physical(None)),
        ] {
            assert_eq!(PortName::parse(Some(name)), port, "{name}");
        }
        assert_eq!(PortName::parse(None), Physical(None));
    }
}
