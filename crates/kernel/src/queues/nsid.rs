//! How one network namespace calls another (rtnetlink(7), RTM_GETNSID).

use crate::message::{Message, word};
use crate::netlink::{Request, Socket};
use crate::{Error, Netns, Result, link};
use nix::errno::Errno;

// include/uapi/linux/rtnetlink.h, include/uapi/linux/net_namespace.h
const RTM_NEWNSID: u16 = 88;
const RTM_GETNSID: u16 = 90;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// struct rtgenmsg, padded
const HEADER: usize = 4;
/// `NETNSA_NSID_NOT_ASSIGNED`; to assign it is to let the kernel choose.
const NOT_ASSIGNED: i32 = -1;

/// What the socket's namespace calls `other`; one that has no name gets one. A link whose other end is there has seen to
/// that already.
pub(crate) fn nsid_of(socket: &mut Socket, other: &Netns) -> Result<i32> {
    if let Some(id) = look_up(socket, other)? {
        return Ok(id);
    }
    let name = message(RTM_NEWNSID, &[(NETNSA_FD, other.raw_fd()), (NETNSA_NSID, NOT_ASSIGNED)]);
    // Somebody else was faster.
    socket.batch(vec![Request::new("name a network namespace", name).accept(&[Errno::EEXIST as i32])])?;
    let missing = || Error::Missing { what: "the number of a network namespace".into() };
    look_up(socket, other)?.ok_or_else(missing)
}

fn look_up(socket: &mut Socket, other: &Netns) -> Result<Option<i32>> {
    let answer = socket
        .get_raw("look up a network namespace", message(RTM_GETNSID, &[(NETNSA_FD, other.raw_fd())]))?;
    let attributes = answer.body.get(HEADER..).unwrap_or_default();
    let id = link::attributes(attributes).find(|nla| nla.kind() == NETNSA_NSID);
    Ok(id.and_then(|nla| word(nla.value(), 0)).map(|id| id as i32).filter(|id| *id != NOT_ASSIGNED))
}

fn message(kind: u16, attributes: &[(u16, i32)]) -> Message {
    let mut body = vec![0; HEADER];
    for (kind, value) in attributes {
        body.extend(8u16.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value.to_ne_bytes());
    }
    Message { kind, body }
}
