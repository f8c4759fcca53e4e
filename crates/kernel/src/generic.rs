//! Generic netlink (Documentation/userspace-api/netlink/intro.rst): families by name, commands, attributes.

use crate::message::{Message, half};
use crate::netlink::Socket;
use crate::{Error, Result, link};

// include/uapi/linux/genetlink.h
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// struct genlmsghdr
const HEADER: usize = 4;

/// A family of generic netlink, found by its name.
pub(crate) struct Family {
    pub(crate) socket: Socket,
    id: u16,
}

impl Family {
    /// None if the kernel has no such family (its module is not there).
    pub(crate) fn open(name: &str) -> Result<Option<Self>> {
        let what = format!("look up netlink family {name}");
        let mut socket = Socket::open_generic()?;
        let ask = message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &[(CTRL_ATTR_FAMILY_NAME, &c_string(name))]);
        let answer = match socket.get_raw(&what, ask) {
            Err(e) if e.errno() == Some(nix::libc::ENOENT) => return Ok(None),
            other => other?,
        };
        let id = attribute(&answer, CTRL_ATTR_FAMILY_ID).and_then(|value| half(&value, 0));
        let id = id.ok_or_else(|| Error::Decode { what, why: "it has no number".into() })?;
        Ok(Some(Self { socket, id }))
    }

    /// A message to the family.
    pub(crate) fn message(&self, command: u8, attributes: &[(u16, &[u8])]) -> Message {
        message(self.id, command, attributes)
    }
}

/// Header (struct genlmsghdr) and attributes (struct nlattr), padded.
fn message(kind: u16, command: u8, attributes: &[(u16, &[u8])]) -> Message {
    const VERSION: u8 = 1;
    let mut body = vec![command, VERSION, 0, 0];
    for (kind, value) in attributes {
        body.extend((4 + value.len() as u16).to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    Message { kind, body }
}

/// The value of an attribute of an answer.
pub(crate) fn attribute(answer: &Message, kind: u16) -> Option<Vec<u8>> {
    let attributes = answer.body.get(HEADER..)?;
    link::attributes(attributes).find(|nla| nla.kind() == kind).map(|nla| nla.value().to_vec())
}

/// With the zero at its end that the kernel wants.
pub(crate) fn c_string(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found() {
        let message = message(0x20, 5, &[(1, b"pci\0"), (2, b"0000:01:00.0\0"), (25, &1u16.to_ne_bytes())]);
        assert_eq!(message.body.len() % 4, 0);
        assert_eq!(message.body[..2], [5, 1]);
        assert_eq!(attribute(&message, 2).as_deref(), Some(&b"0000:01:00.0\0"[..]));
        assert_eq!(attribute(&message, 25).and_then(|v| half(&v, 0)), Some(1));
        assert_eq!(attribute(&message, 3), None);
    }
}
