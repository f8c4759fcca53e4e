//! A blocking netlink socket, for rtnetlink mostly. Several requests go in one `sendmsg`, each is answered by its sequence
//! number if it fails; a batch is not a transaction, so the caller learns which requests failed.

use crate::message::{Message, half, word};
use crate::stubborn::{self, Written};
use crate::{Error, Netns, Result};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{
    Socket as RawSocket, SocketAddr,
    protocols::{NETLINK_GENERIC, NETLINK_ROUTE},
};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// struct nlmsghdr (include/uapi/linux/netlink.h).
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_ACK_TLVS`: attributes follow the acknowledgement.
const ACK_TLVS: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`: the extended acknowledgement's text.
const ERR_ATTR_MSG: u16 = 1;
/// The kernel fills dumps up to 32 KiB when the reader offers as much (net/netlink/af_netlink.c); a PF with 256 VFs is
/// one message of twice that. Pages that no answer reaches are never touched.
const BUFFER: usize = 256 << 10;
/// No request takes that long; a kernel that is stuck must not hold us for ever.
const PATIENCE_SECONDS: i64 = 60;
/// A dump that the kernel interrupts again and again.
const MAX_DUMPS: usize = 20;

/// One request of a batch.
pub struct Request {
    /// What is tried, on what; for the error.
    pub what: String,
    /// The message.
    pub message: Message,
    /// `NLM_F_*` beside REQUEST and ACK.
    pub flags: u16,
    /// Error numbers that mean that it was so already.
    pub accept: &'static [i32],
}

impl Request {
    /// A request with no flags of its own, of which no error is accepted.
    pub fn new(what: impl Into<String>, message: impl Into<Message>) -> Self {
        Self { what: what.into(), message: message.into(), flags: 0, accept: &[] }
    }

    /// With these `NLM_F_*`.
    pub fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    /// These errors are none.
    pub fn accept(mut self, errnos: &'static [i32]) -> Self {
        self.accept = errnos;
        self
    }
}

/// A blocking netlink socket in one namespace.
pub struct Socket {
    raw: RawSocket,
    sequence: u32,
}

/// What answers are received in, between two of them: whichever socket's, since each buffer is a mapping of its own.
static SPARE: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// What came back for one message.
enum Reply {
    Message { message: Message, interrupted: bool },
    Ack,
    Failed { errno: i32, extack: Option<String> },
    Done { interrupted: bool },
}

impl Socket {
    /// Opens one for rtnetlink in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        Self::of_protocol(NETLINK_ROUTE)
    }

    /// Opens one for generic netlink in the calling thread's namespace.
    pub fn open_generic() -> Result<Self> {
        Self::of_protocol(NETLINK_GENERIC)
    }

    fn of_protocol(protocol: isize) -> Result<Self> {
        let fail = |e: std::io::Error| Error::io("open a netlink socket", &e);
        let raw = RawSocket::new(protocol).map_err(fail)?;
        // Which also binds it (netlink_connect, net/netlink/af_netlink.c).
        raw.connect(&SocketAddr::new(0, 0)).map_err(fail)?;
        raw.set_ext_ack(true).map_err(fail)?;
        raw.set_cap_ack(true).map_err(fail)?;
        // Without it the kernel passes over the filter of a dump.
        raw.set_netlink_get_strict_chk(true).map_err(fail)?;
        setsockopt(&raw, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE_SECONDS, 0))
            .map_err(|e| Error::sys("set a netlink socket's time-out", e))?;
        Ok(Self { raw, sequence: 0 })
    }

    /// Opens one inside `netns`.
    pub fn open_in(netns: &Netns) -> Result<Self> {
        netns.inside(Self::open)
    }

    /// Sends all requests at once. All are executed in order, also those behind one that failed;
    /// the first failure is returned.
    pub fn batch(&mut self, requests: Vec<Request>) -> Result<()> {
        self.batch_each(requests)?.into_iter().collect()
    }

    /// Like [`Socket::batch`], with the outcome of each request. Only the last asks for an acknowledgement: requests are
    /// executed in order, and an error is told unasked (netlink_rcv_skb, net/netlink/af_netlink.c).
    pub fn batch_each(&mut self, requests: Vec<Request>) -> Result<Vec<Result<()>>> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(requests.len() * 128);
        let mut notes = Vec::with_capacity(requests.len());
        let Some(last) = requests.len().checked_sub(1) else { return Ok(Vec::new()) };
        for (at, request) in requests.into_iter().enumerate() {
            let ack = if at == last { NLM_F_ACK } else { 0 };
            self.encode(&request.message, request.flags | ack, &mut bytes);
            notes.push((request.what, request.accept));
        }
        self.send(&bytes, &notes[0].0)?;
        crate::crash::point("netlink.sent");
        let mut outcomes: Vec<Result<()>> = notes.iter().map(|_| Ok(())).collect();
        let mut answered = false;
        while !answered {
            for (sequence, reply) in self.receive(&notes[last].0)? {
                let at = sequence.wrapping_sub(first) as usize;
                let Some((what, accept)) = notes.get(at) else { continue };
                match reply {
                    Reply::Ack => {}
                    Reply::Failed { errno, .. } if accept.contains(&errno) => {}
                    Reply::Failed { errno, extack } => {
                        outcomes[at] = Err(Error::Refused { what: what.clone(), errno, extack });
                    }
                    Reply::Message { .. } | Reply::Done { .. } => continue,
                }
                answered |= at == last;
            }
        }
        Ok(outcomes)
    }

    /// Executes one request, whose execution may never end, by a child that keeps `keep` open ([`stubborn`]). After
    /// [`Written::Stuck`] the socket is of no use any more.
    pub(crate) fn stubborn(
        mut self,
        request: Request,
        patience: Duration,
        keep: &[BorrowedFd<'_>],
    ) -> Result<Written> {
        let Request { what, message, flags, accept } = request;
        let mut bytes = Vec::with_capacity(128);
        let sequence = self.encode(&message, flags | NLM_F_ACK, &mut bytes);
        if let stuck @ Written::Stuck { .. } = stubborn::send(&what, self.as_fd(), &bytes, patience, keep)? {
            return Ok(stuck);
        }
        loop {
            for (seq, reply) in self.receive(&what)? {
                match reply {
                    _ if seq != sequence => {}
                    Reply::Ack => return Ok(Written::Done),
                    Reply::Failed { errno, .. } if accept.contains(&errno) => return Ok(Written::Done),
                    Reply::Failed { errno, extack } => return Err(Error::Refused { what, errno, extack }),
                    Reply::Message { .. } | Reply::Done { .. } => {}
                }
            }
        }
    }

    /// Sends one request that is answered by a message, such as RTM_GETLINK; the answer decoded in full.
    pub fn get(&mut self, what: &str, message: impl Into<Message>) -> Result<RouteNetlinkMessage> {
        decode(what, &self.get_raw(what, message)?)
    }

    /// As [`Socket::get`], not decoded.
    pub fn get_raw(&mut self, what: &str, message: impl Into<Message>) -> Result<Message> {
        let mut bytes = Vec::with_capacity(128);
        let sequence = self.encode(&message.into(), 0, &mut bytes);
        self.send(&bytes, what)?;
        loop {
            for (seq, reply) in self.receive(what)? {
                match reply {
                    _ if seq != sequence => {}
                    Reply::Message { message, .. } => return Ok(message),
                    Reply::Failed { errno, extack } => {
                        return Err(Error::Refused { what: what.to_owned(), errno, extack });
                    }
                    Reply::Ack | Reply::Done { .. } => {}
                }
            }
        }
    }

    /// Dumps; begins again when the kernel says that the dump was interrupted by a change.
    pub fn dump(&mut self, what: &str, message: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>> {
        self.dump_map(what, message.clone(), Some)
    }

    /// As [`Socket::dump`], of which `take` says what to keep: of thousands of messages only some are in memory at a time.
    pub fn dump_map<T>(
        &mut self,
        what: &str,
        message: impl Into<Message>,
        take: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>> {
        self.dump_whole(what, &message.into(), |m| decode(what, &m).map(&take))
    }

    /// As [`Socket::dump`], not decoded.
    pub fn dump_raw(&mut self, what: &str, message: impl Into<Message>) -> Result<Vec<Message>> {
        self.dump_whole(what, &message.into(), |m| Ok(Some(m)))
    }

    fn dump_whole<T>(
        &mut self,
        what: &str,
        message: &Message,
        take: impl Fn(Message) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        for _ in 0..MAX_DUMPS {
            let mut all = Vec::new();
            let whole = self.dump_once(what, message, &mut |m| {
                all.extend(take(m)?);
                Ok(())
            })?;
            if whole {
                return Ok(all);
            }
        }
        Err(Error::refused(
            format!("{what}: the dump was interrupted {MAX_DUMPS} times"),
            Errno::EINTR as i32,
        ))
    }

    /// Whether no change interrupted it.
    fn dump_once(
        &mut self,
        what: &str,
        message: &Message,
        take: &mut dyn FnMut(Message) -> Result<()>,
    ) -> Result<bool> {
        let mut bytes = Vec::with_capacity(128);
        let sequence = self.encode(message, NLM_F_DUMP, &mut bytes);
        self.send(&bytes, what)?;
        let (mut torn, mut taken) = (false, Ok(()));
        loop {
            for (seq, reply) in self.receive(what)? {
                match reply {
                    _ if seq != sequence => {}
                    Reply::Message { message, interrupted } => {
                        torn |= interrupted;
                        // All is read nevertheless: until then the kernel begins no other dump on this socket.
                        taken = taken.and_then(|()| take(message));
                    }
                    Reply::Done { interrupted } => return taken.map(|()| !torn && !interrupted),
                    Reply::Failed { errno, extack } => {
                        return Err(Error::Refused { what: what.to_owned(), errno, extack });
                    }
                    Reply::Ack => {}
                }
            }
        }
    }

    /// By which the kernel names this socket as the origin of a change.
    pub fn port(&self) -> Result<u32> {
        let mut address = SocketAddr::new(0, 0);
        self.raw.get_address(&mut address).map_err(|e| Error::io("ask for a netlink socket's port", &e))?;
        Ok(address.port_number())
    }

    /// Header (struct nlmsghdr) and message, padded; returns its sequence number.
    fn encode(&mut self, message: &Message, flags: u16, bytes: &mut Vec<u8>) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let len = HEADER + message.body.len();
        bytes.extend((len as u32).to_ne_bytes());
        bytes.extend(message.kind.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend(self.sequence.to_ne_bytes());
        bytes.extend([0; 4]); // to the kernel
        bytes.extend(&message.body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.sequence
    }

    fn send(&mut self, bytes: &[u8], what: &str) -> Result<()> {
        loop {
            match send(self.raw.as_raw_fd(), bytes, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::sys(what, e)),
                Ok(_) => return Ok(()),
            }
        }
    }

    fn receive(&mut self, what: &str) -> Result<Vec<(u32, Reply)>> {
        let spare = || SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = spare().take().unwrap_or_else(|| Vec::with_capacity(BUFFER));
        loop {
            buffer.clear();
            match self.raw.recv(&mut buffer, 0) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(format!("{what}: wait for the kernel's answer"), &e)),
                Ok(_) => break,
            }
        }
        let replies = parse_replies(&buffer, what);
        *spare() = Some(buffer);
        replies
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

fn decode(what: &str, message: &Message) -> Result<RouteNetlinkMessage> {
    message.decode().map_err(|e| Error::Decode { what: what.to_owned(), why: e.to_string() })
}

/// Cuts a datagram into messages (struct nlmsghdr, include/uapi/linux/netlink.h).
fn parse_replies(mut rest: &[u8], what: &str) -> Result<Vec<(u32, Reply)>> {
    let wrong = |why: String| Error::Decode { what: what.to_owned(), why };
    let mut replies = Vec::new();
    while rest.len() >= 16 {
        // The kernel flags the first message behind a change, whichever that is.
        let header = (word(rest, 0), half(rest, 4), half(rest, 6), word(rest, 8));
        let (Some(len), Some(kind), Some(flags), Some(sequence)) = header else { break };
        let message =
            rest.get(..len as usize).filter(|m| m.len() >= 16).ok_or_else(|| wrong("cut short".into()))?;
        let interrupted = flags & NLM_F_DUMP_INTR != 0;
        let reply = match kind {
            NLMSG_DONE => match word(message, 16).map_or(0, |code| code as i32) {
                code if code < 0 => Reply::Failed { errno: -code, extack: None },
                _ => Reply::Done { interrupted },
            },
            NLMSG_ERROR => match word(message, 16).map_or(0, |code| code as i32) {
                0 => Reply::Ack,
                code => Reply::Failed { errno: -code, extack: extack(message, flags) },
            },
            kind => {
                Reply::Message { message: Message { kind, body: message[HEADER..].to_vec() }, interrupted }
            }
        };
        replies.push((sequence, reply));
        rest = rest.get((len as usize).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(replies)
}

/// The text behind a capped acknowledgement: header 16, error 4, the request's header 16, then attributes.
fn extack(message: &[u8], flags: u16) -> Option<String> {
    if flags & ACK_TLVS == 0 {
        return None;
    }
    let mut rest = message.get(36..)?;
    while rest.len() >= 4 {
        let (len, kind) = (half(rest, 0)? as usize, half(rest, 2)?);
        let value = rest.get(4..len)?;
        if kind == ERR_ATTR_MSG {
            return Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
    None
}
