//! The socket that plugin and command line speak to. A thread a connection: calls are short, and what they do
//! (files, netlink) blocks.

mod session;

use crate::node::Node;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More callers than a runtime starts pods at once have no business here.
const MAX_CONNECTIONS: usize = 256;
const STACK: usize = 256 << 10;

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
    if UnixStream::connect(path).is_ok() {
        return Err(ServerError::Taken { path: path.to_owned() });
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

/// Serves for ever.
pub fn serve(listener: &UnixListener, node: &Arc<Node>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream.inspect_err(|e| tracing::warn!(error = %e, "accept")) else {
            std::thread::sleep(std::time::Duration::from_millis(10)); // out of descriptors: not in a hot loop
            continue;
        };
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue; // closed: the plugin tries again
        }
        let (node, count) = (node.clone(), open.clone());
        let work = move || {
            session::serve(&node, stream);
            count.fetch_sub(1, Ordering::Relaxed);
        };
        if let Err(e) = std::thread::Builder::new().name("session".into()).stack_size(STACK).spawn(work) {
            tracing::warn!(error = %e, "start a session");
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The caller's user ID (SO_PEERCRED, unix(7)).
fn uid_of(stream: &UnixStream) -> io::Result<u32> {
    Ok(getsockopt(stream, PeerCredentials)?.uid())
}
