//! Generic netlink (Documentation/userspace-api/netlink/intro.rst): families by name, commands, attributes.

use crate::message::{Message, half, word};
use crate::netlink::Socket;
use crate::{Error, Result, link};
use netlink_packet_core::NLA_F_NESTED;
use std::collections::BTreeMap;

// include/uapi/linux/genetlink.h
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_ATTR_OPS: u16 = 6;
const CTRL_ATTR_OP_ID: u16 = 1;
const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;
/// struct genlmsghdr
const HEADER: usize = 4;

/// A family of generic netlink, found by its name.
pub(crate) struct Family {
    pub(crate) socket: Socket,
    id: u16,
    commands: Vec<u8>,
    groups: BTreeMap<String, u32>,
}

impl Family {
    /// In the calling thread's namespace; none if the kernel has no such family (its module is not there).
    pub(crate) fn open(name: &str) -> Result<Option<Self>> {
        let what = format!("look up netlink family {name}");
        let mut socket = Socket::open_generic()?;
        let name = Attributes::default().text(CTRL_ATTR_FAMILY_NAME, name);
        let ask = message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, name);
        let answer = match socket.get_raw(&what, ask) {
            Err(e) if e.errno() == Some(nix::libc::ENOENT) => return Ok(None),
            other => other?,
        };
        let id = attribute(&answer, CTRL_ATTR_FAMILY_ID).and_then(|value| half(&value, 0));
        let id = id.ok_or_else(|| Error::Decode { what, why: "it has no number".into() })?;
        let operations = attribute(&answer, CTRL_ATTR_OPS).unwrap_or_default();
        let command =
            |op: &[u8]| value_of(op, CTRL_ATTR_OP_ID).and_then(|id| u8::try_from(word(&id, 0)?).ok());
        let commands = link::attributes(&operations).filter_map(|op| command(op.value())).collect();
        let groups = attribute(&answer, CTRL_ATTR_MCAST_GROUPS).unwrap_or_default();
        let groups = link::attributes(&groups).filter_map(|nla| group(nla.value())).collect();
        Ok(Some(Self { socket, id, commands, groups }))
    }

    /// A message to the family.
    pub(crate) fn message(&self, command: u8, attributes: Attributes) -> Message {
        message(self.id, command, attributes)
    }

    /// The number of one of its multicast groups.
    pub(crate) fn group(&self, name: &str) -> Option<u32> {
        self.groups.get(name).copied()
    }

    /// Whether this kernel's family has the command.
    pub(crate) fn has(&self, command: u8) -> bool {
        self.commands.contains(&command)
    }
}

/// A multicast group's name and number.
fn group(group: &[u8]) -> Option<(String, u32)> {
    let name = link::text(&value_of(group, CTRL_ATTR_MCAST_GRP_NAME)?);
    Some((name, word(&value_of(group, CTRL_ATTR_MCAST_GRP_ID)?, 0)?))
}

/// Attributes (struct nlattr), padded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(pub(crate) Vec<u8>);

impl Attributes {
    /// With one more.
    pub(crate) fn put(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend((4 + value.len() as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// With a number of four bytes.
    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// With a text, and the zero at its end that the kernel wants.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        self.put(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// With attributes in an attribute; families that check strictly want the flag.
    pub(crate) fn nest(self, kind: u16, inside: Self) -> Self {
        self.put(kind | NLA_F_NESTED, &inside.0)
    }
}

/// Header (struct genlmsghdr) and attributes.
fn message(kind: u16, command: u8, attributes: Attributes) -> Message {
    const VERSION: u8 = 1;
    let mut body = vec![command, VERSION, 0, 0];
    body.extend(attributes.0);
    Message { kind, body }
}

/// The attributes of an answer.
pub(crate) fn attributes(answer: &Message) -> &[u8] {
    answer.body.get(HEADER..).unwrap_or_default()
}

/// The value of an attribute of an answer.
pub(crate) fn attribute(answer: &Message, kind: u16) -> Option<Vec<u8>> {
    value_of(attributes(answer), kind)
}

/// The value of an attribute among others.
pub(crate) fn value_of(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    link::attributes(attributes).find(|nla| nla.kind() == kind).map(|nla| nla.value().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found() {
        let attributes =
            Attributes::default().text(1, "pci").text(2, "0000:01:00.0").put(25, &1u16.to_ne_bytes());
        let message = message(0x20, 5, attributes);
        assert_eq!(message.body.len() % 4, 0);
        assert_eq!(message.body[..2], [5, 1]);
        assert_eq!(attribute(&message, 2).as_deref(), Some(&b"0000:01:00.0\0"[..]));
        assert_eq!(attribute(&message, 25).and_then(|v| half(&v, 0)), Some(1));
        assert_eq!(attribute(&message, 3), None);
    }

    #[test]
    fn nested_attributes_have_their_flag() {
        let inside = Attributes::default().number(1, 7);
        let outside = Attributes::default().nest(3, inside.clone());
        assert_eq!(outside.0[..4], [[12, 0], (3u16 | 0x8000).to_ne_bytes()].concat());
        assert_eq!(value_of(&outside.0, 3), Some(inside.0));
    }
}
