//! Wakes the reconcile loop when the peers file changes. The directory is watched, not the file: editors and
//! ConfigMaps put a new file, or a new link, in its place.

use crate::reconcile::{Due, Waker};
use inotify::{Inotify, WatchMask};
use std::path::Path;
use std::time::Duration;

/// Watches for ever; without inotify the loop's own interval must do.
pub fn run(path: &Path, waker: &Waker) {
    loop {
        if let Err(e) = watch(path, waker) {
            tracing::warn!(path = %path.display(), error = %e, "cannot watch the peers file");
        }
        std::thread::sleep(Duration::from_secs(10));
        waker.wake(Due::Peers);
    }
}

fn watch(path: &Path, waker: &Waker) -> std::io::Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut inotify = Inotify::init()?;
    let mask = WatchMask::CLOSE_WRITE
        | WatchMask::MOVED_TO
        | WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::DELETE_SELF;
    inotify.watches().add(dir, mask)?;
    waker.wake(Due::Peers);
    let mut buffer = [0; 4096];
    loop {
        let gone =
            inotify.read_events_blocking(&mut buffer)?.any(|e| e.mask.contains(inotify::EventMask::IGNORED));
        waker.wake(Due::Peers);
        if gone {
            return Ok(()); // the directory was replaced
        }
    }
}
