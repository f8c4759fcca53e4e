//! The socket that plugin and command line speak to. A thread a connection: calls are short, and what they do
//! (files, netlink) blocks.

mod connection;

use crate::node::Node;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// More callers than a runtime starts pods at once have no business here.
const MAX_CONNECTIONS: usize = 256;
/// As many threads wait for callers when nobody calls.
const MAX_IDLE: usize = 4;
const STACK: usize = 256 << 10;
/// A daemon that was killed while it started a child keeps its socket until that child is what it shall be, or dead.
const DEATH: Duration = Duration::from_secs(2);

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It cannot be made.
    #[error("listen on {}: {source}", path.display())]
    Listen {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else serves it.
    #[error("another offrampd serves {}", path.display())]
    Taken {
        /// Its path.
        path: PathBuf,
    },
}

/// Takes the socket's path, from a daemon that died too, but from none that lives.
pub fn listen(path: &Path) -> Result<UnixListener, ServerError> {
    let deadline = Instant::now() + DEATH;
    while UnixStream::connect(path).is_ok() {
        if Instant::now() > deadline {
            return Err(ServerError::Taken { path: path.to_owned() });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let attempt = || -> io::Result<UnixListener> {
        if let Some(dir) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        // Made aside and moved in place: a plugin finds a socket that is served, or none.
        let aside = path.with_extension("sock.new");
        let _ = std::fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside)?;
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&aside, path)?;
        Ok(listener)
    };
    attempt().map_err(|source| ServerError::Listen { path: path.to_owned(), source })
}

/// Serves for ever: starts a first thread that waits for callers.
pub fn serve(listener: UnixListener, node: Arc<Node>) -> io::Result<()> {
    Arc::new(Server { listener, node, idle: AtomicUsize::new(0), all: AtomicUsize::new(0) }).hire()
}

/// Threads wait in accept(2) themselves, since handing a connection over costs a tenth of a millisecond. Whoever takes
/// one sees to it that somebody else waits.
struct Server {
    listener: UnixListener,
    node: Arc<Node>,
    idle: AtomicUsize,
    all: AtomicUsize,
}

impl Server {
    fn hire(self: &Arc<Self>) -> io::Result<()> {
        if self.all.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Ok(()); // the caller waits until somebody is free
        }
        self.idle.fetch_add(1, Ordering::Relaxed);
        let server = self.clone();
        let spawned = std::thread::Builder::new()
            .name("connection".into())
            .stack_size(STACK)
            .spawn(move || server.work());
        if spawned.is_err() {
            self.idle.fetch_sub(1, Ordering::Relaxed);
            self.all.fetch_sub(1, Ordering::Relaxed);
        }
        spawned.map(drop)
    }

    fn work(self: Arc<Self>) {
        loop {
            let accepted = self.listener.accept();
            if self.idle.fetch_sub(1, Ordering::Relaxed) == 1
                && let Err(e) = self.hire()
            {
                tracing::warn!(error = %e, "start a thread for connections");
            }
            match accepted {
                Ok((stream, _)) => connection::serve(&self.node, stream),
                Err(e) => {
                    tracing::warn!(error = %e, "accept");
                    std::thread::sleep(Duration::from_millis(10)); // out of descriptors: not in a hot loop
                }
            }
            if self.idle.fetch_add(1, Ordering::Relaxed) >= MAX_IDLE {
                self.idle.fetch_sub(1, Ordering::Relaxed);
                self.all.fetch_sub(1, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// The caller's user ID (SO_PEERCRED, unix(7)).
fn uid_of(stream: &UnixStream) -> io::Result<u32> {
    Ok(getsockopt(stream, PeerCredentials)?.uid())
}
