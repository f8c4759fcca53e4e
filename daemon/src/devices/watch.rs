//! Hears of what changes in kubelet's folder, and of claims, whoever makes or frees them.

use super::plugins_dir;
use crate::node::Node;
use inotify::{EventMask, Inotify, WatchMask};
use std::io;
use std::time::Duration;

/// Until a folder that is not there, or was replaced, is looked for again.
const RETRY: Duration = Duration::from_secs(2);

/// Watches for ever.
pub fn run(node: &Node) {
    let mut told = false;
    loop {
        if let Err(error) = watch(node)
            && !told
        {
            // Kubelet may not be installed yet; regular looks must do.
            tracing::info!(%error, "cannot watch kubelet's folder for device plugins yet");
            told = true;
        }
        node.devices.sockets.send_replace(());
        std::thread::sleep(RETRY);
    }
}

/// Until one of the folders is gone.
fn watch(node: &Node) -> io::Result<()> {
    let mut inotify = Inotify::init()?;
    let mask = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM;
    let mask = mask | WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
    // A claim is linked into its place, replaced by a rename, and removed.
    let claims = inotify.watches().add(node.store.claims().dir(), mask)?;
    let dir = plugins_dir(&node.config.paths.kubelet);
    inotify.watches().add(&dir, mask)?;
    node.devices.sockets.send_replace(());
    node.devices.bell.ring();
    let mut buffer = [0; 4096];
    loop {
        let mut ended = false;
        for event in inotify.read_events_blocking(&mut buffer)? {
            ended |= event.mask.intersects(EventMask::IGNORED | EventMask::MOVE_SELF);
            if event.wd == claims {
                node.devices.bell.ring();
            } else {
                node.devices.sockets.send_replace(());
            }
        }
        if ended {
            return Ok(());
        }
    }
}
