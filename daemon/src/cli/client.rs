//! The command line's side of the daemon's socket: blocking, a request and its answer.

use crate::nics::Nics;
use crate::status::{ProbeStatus, Status};
use offramp_core::CniError;
use offramp_core::cni::error::codes;
use offramp_core::record::Record;
use offramp_core::wire::{Envelope, Request, Response, frame_header, frame_len};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A healthy daemon answers within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);
/// To test what hardware does takes some seconds, and longer where peers are silent.
const PROBE_TIMEOUT: Duration = Duration::from_secs(120);

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "offrampd is not running on this node (connect {}: {source})\n\
         Start it: offrampd run --config /etc/offramp/offrampd.yaml; if its socket is elsewhere, name it with --socket",
        socket.display()
    )]
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// ENOENT or ECONNREFUSED.
        source: std::io::Error,
    },
    /// Somebody listens, but not to us.
    #[error("connect {}: {source}\nOnly root may talk to offrampd: try sudo", socket.display())]
    Permission {
        /// The socket.
        socket: PathBuf,
        /// EACCES or EPERM.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("offrampd at {} gave no answer within {} seconds: its log may tell why", socket.display(), TIMEOUT.as_secs())]
    Silent {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection broke.
    #[error("talk to offrampd at {}: {source}", socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The daemon is of another release.
    #[error(
        "offrampd is of another release than this command: {0}\nRestart the daemon after an upgrade, or use its own command line"
    )]
    Protocol(String),
    /// The daemon says no.
    #[error("offrampd refused: {0}")]
    Refused(CniError),
}

impl ClientError {
    /// Whether the daemon is away, so that its records are the next best source.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::NotRunning { .. } | Self::Silent { .. } | Self::Io { .. })
    }
}

/// A daemon's address.
pub struct Client<'a> {
    socket: &'a Path,
}

impl<'a> Client<'a> {
    /// The daemon that listens on `socket`.
    pub fn new(socket: &'a Path) -> Self {
        Self { socket }
    }

    /// The node's state.
    pub fn status(&self) -> Result<Status, ClientError> {
        let mut connection = self.ask(Request::Status)?;
        match self.answer(&mut connection)? {
            Response::Status { status } => {
                serde_json::from_value(status).map_err(|e| ClientError::Protocol(format!("its status: {e}")))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The node's NICs.
    pub fn nics(&self) -> Result<Nics, ClientError> {
        let mut connection = self.ask(Request::Nics)?;
        match self.answer(&mut connection)? {
            Response::Nics { nics } => {
                serde_json::from_value(nics).map_err(|e| ClientError::Protocol(format!("its NICs: {e}")))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// What NICs promise, tested now; see [`Request::Probe`].
    pub fn probe(&self, undo: bool) -> Result<ProbeStatus, ClientError> {
        let mut connection = self.ask(Request::Probe { undo })?;
        connection.set_read_timeout(Some(PROBE_TIMEOUT)).map_err(|e| self.io_error(e))?;
        match self.answer(&mut connection)? {
            Response::Probed { probes } => serde_json::from_value(probes)
                .map_err(|e| ClientError::Protocol(format!("what it found: {e}"))),
            other => Err(unexpected(&other)),
        }
    }

    /// All records, and what could not be read.
    pub fn attachments(&self) -> Result<(Vec<Record>, Vec<String>), ClientError> {
        let mut connection = self.ask(Request::Attachments)?;
        let (mut all, mut notes) = (Vec::new(), Vec::new());
        loop {
            match self.answer(&mut connection)? {
                Response::Attachments { records, unreadable, more } => {
                    all.extend(records);
                    notes.extend(unreadable);
                    if !more {
                        return Ok((all, notes));
                    }
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// A connection on which the request was sent.
    fn ask(&self, request: Request) -> Result<UnixStream, ClientError> {
        let mut stream = UnixStream::connect(self.socket).map_err(|e| self.connect_error(e))?;
        send(&mut stream, &Envelope::new(request)).map_err(|e| self.io_error(e))?;
        Ok(stream)
    }

    fn answer(&self, stream: &mut UnixStream) -> Result<Response, ClientError> {
        let frame = receive(stream).map_err(|e| self.io_error(e))?;
        match serde_json::from_slice(&frame) {
            Ok(Response::Refused { error, .. }) if error.code == codes::PROTOCOL => {
                Err(ClientError::Protocol(error.to_string()))
            }
            Ok(Response::Refused { error, .. }) => Err(ClientError::Refused(error)),
            Ok(response) => Ok(response),
            Err(e) => Err(ClientError::Protocol(format!("its answer: {e}"))),
        }
    }

    fn connect_error(&self, source: std::io::Error) -> ClientError {
        let socket = self.socket.to_owned();
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NotRunning { socket, source },
            ErrorKind::PermissionDenied => ClientError::Permission { socket, source },
            _ => ClientError::Io { socket, source },
        }
    }

    fn io_error(&self, source: std::io::Error) -> ClientError {
        let socket = self.socket.to_owned();
        match source.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Silent { socket },
            _ => ClientError::Io { socket, source },
        }
    }
}

fn send(stream: &mut UnixStream, envelope: &Envelope) -> std::io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let payload = serde_json::to_vec(envelope)?;
    stream.write_all(&frame_header(payload.len()).map_err(invalid)?)?;
    stream.write_all(&payload)
}

fn receive(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let mut frame = vec![0; frame_len(header).map_err(invalid)?];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn invalid(e: CniError) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, e.to_string())
}

fn unexpected(response: &Response) -> ClientError {
    let text: String = format!("{response:?}").chars().take(80).collect();
    ClientError::Protocol(format!("an answer to another question: {text}"))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
