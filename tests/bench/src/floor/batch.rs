//! Several netlink requests in one `sendmsg`, and their answers.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::sched::{CloneFlags, setns};

/// One request: the message, its extra flags, and what it is, for errors.
pub struct Request {
    pub what: &'static str,
    pub message: RouteNetlinkMessage,
    pub flags: u16,
}

/// A socket in this process's network namespace.
pub fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    Ok(socket)
}

/// A socket in another network namespace; this thread goes there and comes back.
pub fn open_in(netns: &File) -> io::Result<Socket> {
    let here = File::open("/proc/thread-self/ns/net")?;
    setns(netns, CloneFlags::CLONE_NEWNET)?;
    let socket = open();
    setns(&here, CloneFlags::CLONE_NEWNET)?;
    socket
}

/// Sends all requests at once and waits for an ack of each. The kernel runs every request of a batch, also
/// those behind a failed one; the first error is returned.
pub fn run(socket: &Socket, requests: Vec<Request>) -> Result<(), String> {
    let names: Vec<&str> = requests.iter().map(|request| request.what).collect();
    let mut bytes = Vec::with_capacity(1024);
    for (index, request) in requests.into_iter().enumerate() {
        append(&mut bytes, request, index as u32, NLM_F_ACK);
    }
    socket.send(&bytes, 0).map_err(|e| format!("send {}: {e}", names.join(", ")))?;

    let mut acked = 0;
    while acked < names.len() {
        for message in receive(socket).map_err(|e| format!("receive acks: {e}"))? {
            let NetlinkPayload::Error(ack) = &message.payload else { continue };
            acked += 1;
            if ack.code.is_some() {
                let what = names.get(message.header.sequence_number as usize).unwrap_or(&"?");
                return Err(format!("{what}: {}", ack.to_io()));
            }
        }
    }
    Ok(())
}

/// Sends one request whose answer is a message, not an ack.
pub fn ask(socket: &Socket, request: Request) -> Result<RouteNetlinkMessage, String> {
    let what = request.what;
    let mut bytes = Vec::with_capacity(64);
    append(&mut bytes, request, 0, 0);
    socket.send(&bytes, 0).map_err(|e| format!("send {what}: {e}"))?;
    for message in receive(socket).map_err(|e| format!("receive {what}: {e}"))? {
        match message.payload {
            NetlinkPayload::InnerMessage(answer) => return Ok(answer),
            NetlinkPayload::Error(error) => return Err(format!("{what}: {}", error.to_io())),
            _ => {}
        }
    }
    Err(format!("{what}: no answer"))
}

/// The messages of one datagram.
pub fn receive(socket: &Socket) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    socket.recv(&mut buffer, 0)?;
    let mut messages = Vec::new();
    let mut rest = buffer.as_slice();
    while !rest.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
        let length = (message.header.length as usize).next_multiple_of(4).clamp(4, rest.len());
        rest = &rest[length..];
        messages.push(message);
    }
    Ok(messages)
}

fn append(bytes: &mut Vec<u8>, request: Request, sequence: u32, ack: u16) {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | ack | request.flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request.message));
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut bytes[start..start + message.buffer_len()]);
}

/// The interface index of a name, in the socket's namespace.
pub fn index_of(socket: &Socket, name: &str) -> Result<u32, String> {
    // SAFETY: an all-zero ifreq is a valid one; it is plain data.
    let mut request: nix::libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(format!("{name}: too long for an interface name"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as nix::libc::c_char;
    }
    // SAFETY: the descriptor is open and the kernel writes within the ifreq it is given.
    let result = unsafe { nix::libc::ioctl(socket.as_raw_fd(), nix::libc::SIOCGIFINDEX as _, &mut request) };
    if result < 0 {
        return Err(format!("find {name}: {}", io::Error::last_os_error()));
    }
    // SAFETY: SIOCGIFINDEX fills this member of the union.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex } as u32)
}
