//! The plugin's side of the daemon's socket: blocking, one connection a call.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use offramp_core::cni::CniError;
use offramp_core::ids::AttachmentId;
use offramp_core::wire::{Envelope, Request, Response, frame_header, frame_len};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a daemon that restarts is waited for; an upgrade takes less.
const RESTART: Duration = Duration::from_secs(20);

/// A connection to the daemon.
pub struct Client {
    stream: UnixStream,
}

/// Why there is no answer.
pub enum Failure {
    /// The daemon is away, or went away: it may be back soon, and what it did is unknown.
    Away(String),
    /// The daemon said no, or something that cannot be understood; and what it has for a plugin to take back.
    Refused(CniError, Vec<AttachmentId>),
}

impl Failure {
    fn refused(error: CniError) -> Self {
        Self::Refused(error, Vec::new())
    }
}

impl From<Failure> for CniError {
    fn from(f: Failure) -> Self {
        match f {
            Failure::Refused(e, _) => e,
            Failure::Away(why) => CniError::try_again(format!("offrampd does not answer: {why}"))
                .with_details("is the daemon running on this node? `offrampd status` tells"),
        }
    }
}

impl Client {
    /// Connects at once or not; an answer is waited for at most `patience`.
    pub fn connect(socket: &Path, patience: Duration) -> Result<Self, Failure> {
        let away = |e: std::io::Error| Failure::Away(format!("{}: {e}", socket.display()));
        let stream = connect_now(socket).map_err(away)?;
        stream
            .set_read_timeout(Some(patience))
            .and_then(|()| stream.set_write_timeout(Some(patience)))
            .map_err(away)?;
        Ok(Self { stream })
    }

    /// Sends a request and returns the daemon's answer; a refusal is an error.
    pub fn ask(&mut self, request: Request) -> Result<Response, Failure> {
        let answer = self.exchange(&frame(request).map_err(Failure::refused)?)?;
        match serde_json::from_slice(&answer) {
            Ok(Response::Refused { error, leftovers }) => Err(Failure::Refused(error, leftovers)),
            Ok(response) => Ok(response),
            Err(e) => {
                Err(Failure::refused(CniError::protocol(format!("offrampd's answer is not understood: {e}"))))
            }
        }
    }

    /// Sends a request that is not answered; nothing depends on its arrival.
    pub fn tell(&mut self, request: Request) {
        if let Ok(frame) = frame(request) {
            let _ = self.stream.write_all(&frame);
        }
    }

    fn exchange(&mut self, frame: &[u8]) -> Result<Vec<u8>, Failure> {
        let away = |e: std::io::Error| {
            Failure::Away(match e.kind() {
                ErrorKind::WouldBlock => "no answer in time".to_owned(),
                ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
                _ => e.to_string(),
            })
        };
        self.stream.write_all(frame).map_err(away)?;
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).map_err(away)?;
        let mut answer = vec![0; frame_len(header).map_err(Failure::refused)?];
        self.stream.read_exact(&mut answer).map_err(away)?;
        Ok(answer)
    }
}

/// The standard library's connect waits for ever while a daemon that hangs has its queue full; this one fails then.
fn connect_now(path: &Path) -> std::io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(fd);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn frame(request: Request) -> Result<Vec<u8>, CniError> {
    let json = serde_json::to_vec(&Envelope::new(request))
        .map_err(|e| CniError::internal(format!("encode a request: {e}")))?;
    let header = frame_header(json.len())?;
    let mut frame = Vec::with_capacity(json.len() + header.len());
    frame.extend(header);
    frame.extend(json);
    Ok(frame)
}

/// Connects and asks, and does so again while the daemon is away, until it was for [`RESTART`].
/// `request` must bear repetition. The connection comes with the answer.
pub fn ask_patiently(socket: &Path, request: &Request) -> Result<(Client, Response), Failure> {
    const PAUSE: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + RESTART;
    loop {
        let attempt =
            Client::connect(socket, RESTART).and_then(|mut c| c.ask(request.clone()).map(|r| (c, r)));
        match attempt {
            Err(Failure::Away(_)) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
}
