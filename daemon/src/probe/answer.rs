//! Answers peers' questions. Who is no peer gets none, an answer is smaller than the question, and there is a bound to how
//! many are given. Over UDP it bears no checksum that hardware could get wrong; TCP has one always, so there what this node
//! sends must arrive too, or the peer finds nothing out.

use super::PROBE_STACK;
use crate::config;
use crate::node::Node;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use offramp_core::peer::Peers;
use offramp_core::probe::{ANSWER, Limit, MAX_MESSAGE, MAX_STREAM, Question};
use offramp_kernel::Result;
use offramp_kernel::probe::{Checksum, listener, udp};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Connections that are served at once.
const CONNECTIONS: usize = 8;
/// A peer that says nothing for so long has gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Packets of one socket that are read before the next one has its turn.
const AT_ONCE: usize = 64;
/// No question is longer.
const PACKET: usize = 2048;

/// Wakes whoever answers: gateways or peers may be others.
pub struct Wake(EventFd);

impl Wake {
    pub fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    pub fn ring(&self) {
        let _ = self.0.write(1); // full has rung
    }
}

/// Answers for ever, at the port of all of this node's gateways, as long as there are peers.
pub fn run(node: &Node, wake: &Wake) {
    let mut answers = Answers { doors: Vec::new(), peers: Peers::default(), known: Vec::new() };
    let mut limit = Limit::new(Instant::now());
    let serving = Arc::new(AtomicUsize::new(0));
    loop {
        let opened = answers.follow(node);
        node.ran("probe-answers", opened.map(|()| 0).map_err(|e| e.to_string()));
        answers.serve(wake, &mut limit, &serving);
        let _ = wake.0.read();
    }
}

/// A gateway's sockets.
struct Door {
    at: SocketAddr,
    udp: UdpSocket,
    tcp: TcpListener,
}

struct Answers {
    doors: Vec<Door>,
    peers: Peers,
    /// The peers' gateways, sorted: there are thousands.
    known: Vec<IpAddr>,
}

impl Answers {
    /// Sockets at all gateways, and nowhere else; none without peers.
    fn follow(&mut self, node: &Node) -> Result<()> {
        let peers = node.view().peers.clone();
        if !Arc::ptr_eq(&peers, &self.peers) {
            let cidrs = peers.iter().flat_map(|peer| &peer.pod_cidrs);
            let gateways = cidrs.filter_map(|net| config::range(*net).ok()).map(|range| range.gateway);
            self.known = gateways.collect();
            self.known.sort_unstable();
            self.peers = peers;
        }
        let gateways = if self.known.is_empty() { Vec::new() } else { node.gateways() };
        let wanted: Vec<_> =
            gateways.iter().map(|net| SocketAddr::new(net.ip(), node.config.offloads.port)).collect();
        self.doors.retain(|door| wanted.contains(&door.at));
        for at in wanted {
            if !self.doors.iter().any(|door| door.at == at) {
                self.doors.push(Door::open(at)?);
            }
        }
        Ok(())
    }

    /// Until somebody rings.
    fn serve(&self, wake: &Wake, limit: &mut Limit, serving: &Arc<AtomicUsize>) {
        loop {
            let sockets = self.doors.iter().flat_map(|door| [door.udp.as_fd(), door.tcp.as_fd()]);
            let all = std::iter::once(wake.0.as_fd()).chain(sockets);
            let mut fds: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            let polled = poll(&mut fds, PollTimeout::NONE);
            if polled.is_ok() && fds[0].any().unwrap_or(false) {
                return;
            }
            for door in &self.doors {
                self.answer(&door.udp, limit);
                self.accept(&door.tcp, serving);
            }
        }
    }

    fn knows(&self, from: SocketAddr) -> bool {
        self.known.binary_search(&from.ip()).is_ok()
    }

    fn answer(&self, socket: &UdpSocket, limit: &mut Limit) {
        let mut buffer = [0; PACKET];
        for _ in 0..AT_ONCE {
            // An error is what became of an answer: its peer asks again.
            let Ok((len, from)) = socket.recv_from(&mut buffer) else { return };
            if len < ANSWER || !self.knows(from) || !limit.allows(from.ip(), Instant::now()) {
                continue;
            }
            if let Some(answer) = Question::answer(&buffer[..len]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn accept(&self, listener: &TcpListener, serving: &Arc<AtomicUsize>) {
        while let Ok((stream, from)) = listener.accept() {
            if !self.knows(from) || serving.load(Ordering::Relaxed) >= CONNECTIONS {
                continue;
            }
            let one = One::of(serving);
            let serve = move || {
                let _one = one;
                let _ = echo(stream);
            };
            let thread = std::thread::Builder::new().name("probe-stream".into()).stack_size(PROBE_STACK);
            if let Err(e) = thread.spawn(serve) {
                tracing::warn!(error = %e, "start a thread for a probe");
            }
        }
    }
}

impl Door {
    fn open(at: SocketAddr) -> Result<Self> {
        let (udp, tcp) = (udp(at, Checksum::None)?, listener(at)?);
        let failed = |e| offramp_kernel::Error::Unfit { what: format!("port {at}"), why: format!("{e}") };
        udp.set_nonblocking(true).and_then(|()| tcp.set_nonblocking(true)).map_err(failed)?;
        Ok(Self { at, udp, tcp })
    }
}

/// One of the connections that are served.
struct One(Arc<AtomicUsize>);

impl One {
    fn of(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all.clone())
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Each message is answered by its length.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let until = Instant::now() + 2 * PATIENCE;
    let (mut left, mut buffer) = (MAX_STREAM, [0; 16 << 10]);
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut rest = u32::from_be_bytes(length);
        if rest > MAX_MESSAGE || rest > left || Instant::now() > until {
            return Ok(());
        }
        left -= rest;
        while rest > 0 {
            let part = (rest as usize).min(buffer.len());
            let read = stream.read(&mut buffer[..part])?;
            if read == 0 || Instant::now() > until {
                return Ok(());
            }
            rest -= read as u32;
        }
        stream.write_all(&length)?;
    }
}
