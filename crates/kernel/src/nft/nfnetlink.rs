//! The form of netfilter's netlink messages: nlmsghdr (16 bytes), nfgenmsg (4 bytes), attributes
//! (linux/netlink.h, linux/netfilter/nfnetlink.h). Numbers in the headers are in the machine's byte order.

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use std::io;

// linux/netlink.h
pub(super) const REQUEST: u16 = 1;
pub(super) const ACK: u16 = 4;
pub(super) const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// The parts of `bytes` that begin with their length, which `length` reads, and are padded to 4 bytes; up to the first
/// that is cut.
fn parts(mut bytes: &[u8], length: fn(&[u8]) -> Option<usize>) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let n = length(bytes).filter(|n| *n >= 4)?;
        let part = bytes.get(..n)?;
        bytes = bytes.get(n.next_multiple_of(4)..).unwrap_or_default();
        Some(part)
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The messages of a datagram.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    parts(datagram, |b| usize::try_from(u32::from_ne_bytes(*b.first_chunk()?)).ok())
}

/// A message's type: the subsystem in the upper byte, or one of netlink's own below 16.
pub(super) fn kind(message: &[u8]) -> u16 {
    u16_at(message, 4).unwrap_or_default()
}

/// Type and value of each attribute; the two upper bits of a type are flags.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    parts(bytes, |b| u16_at(b, 0).map(usize::from))
        .filter_map(|a| Some((u16_at(a, 2)? & 0x3fff, a.get(4..)?)))
}

/// The value of the first attribute of that type.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// An attribute, padded.
pub(super) fn encode(kind: u16, value: &[u8]) -> Vec<u8> {
    // All that are sent are a few dozen bytes long.
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute that holds attributes.
pub(super) fn nest(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    const NLA_F_NESTED: u16 = 1 << 15;
    encode(kind | NLA_F_NESTED, &parts.concat())
}

/// A request about objects of an address family.
pub(super) fn request(kind: u16, flags: u16, family: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    let body = attributes.concat();
    let length = u32::try_from(20 + body.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence and port: one request at a time on a socket of its own needs neither.
    bytes.extend([0; 8]);
    bytes.extend([family, 0, 0, 0]);
    bytes.extend(body);
    bytes
}

/// A socket for one request at a time.
pub(super) fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Sends a request; returns the messages that answer it, up to its end.
pub(super) fn exchange(socket: &Socket, request: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    socket.send_to(request, &SocketAddr::new(0, 0), 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for message in messages(&datagram) {
            match kind(message) {
                DONE => return Ok(answers),
                ERROR => {
                    match message.get(16..).and_then(|m| m.first_chunk()).map(|e| i32::from_ne_bytes(*e)) {
                        Some(0) => return Ok(answers),
                        Some(errno) => return Err(io::Error::from_raw_os_error(-errno)),
                        None => return Err(io::ErrorKind::InvalidData.into()),
                    }
                }
                _ => answers.push(message.to_vec()),
            }
        }
    }
}
