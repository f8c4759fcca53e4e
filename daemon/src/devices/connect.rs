//! Unix sockets, for gRPC.

use hyper_util::rt::TokioIo;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// A socket of this machine answers at once, or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells a socket from one that was made later at the same place: inodes are used again.
pub fn identity(socket: &Path) -> io::Result<u128> {
    let meta = std::fs::metadata(socket)?;
    let changed = u128::from(meta.ctime().unsigned_abs()) * 1_000_000_000
        + u128::from(meta.ctime_nsec().unsigned_abs());
    Ok((u128::from(meta.ino()) << 64) | (changed & u128::from(u64::MAX)))
}

/// Connects. The error names the socket.
pub async fn connect(socket: &Path) -> Result<Channel, String> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let failed = |e: &dyn std::error::Error| format!("connect to {}: {}", socket.display(), causes(e));
    // The address is of no concern, but there must be one.
    let endpoint = Endpoint::from_static("http://kubelet").connect_timeout(PATIENCE).timeout(PATIENCE);
    endpoint.connect_with_connector(connector).await.map_err(|e| failed(&e))
}

/// An error and what it came from: the library's own words are "transport error".
fn causes(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string);
    all.collect::<Vec<_>>().join(": ")
}
