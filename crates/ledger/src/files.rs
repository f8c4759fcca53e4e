//! Files that are whole or not there, and locks that die with their holder.

use crate::{Error, Result};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// A lock on a file (flock(2)). The kernel gives it back when nobody has the file open any more: neither its holder,
/// who drops it or dies, nor a child that the holder let keep it.
#[derive(Debug)]
pub struct Lock(File);

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes a directory that only root may enter.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("make directory", path))
}

/// Runs `work`, which fails with "not found" if its directory is not there yet; then makes that and tries again.
pub(crate) fn with_dir<T>(dir: &Path, work: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    match work() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            work()
        }
        other => other,
    }
}

/// Replaces `dir/name` as a whole: a reader finds the old content or the new, also after a crash. It is written to
/// `dir/temporary` first, which a writer that dies leaves behind.
pub(crate) fn replace(dir: &Path, name: &str, temporary: &str, content: &[u8]) -> Result<()> {
    replace_kept(dir, name, temporary, content).map(drop)
}

/// The same, and keeps the file open.
pub(crate) fn replace_kept(dir: &Path, name: &str, temporary: &str, content: &[u8]) -> Result<Written> {
    let path = dir.join(name);
    let temporary = dir.join(temporary);
    let write = || {
        let file = write_file(&temporary, content)?;
        fs::rename(&temporary, &path)?;
        Ok(Written(file))
    };
    with_dir(dir, write).map_err(|source| {
        let _ = fs::remove_file(&temporary); // on a full disk it takes room
        Error::Io { what: "write", path, source }
    })
}

/// Makes `dir/name` with its content, by way of `dir/temporary`; false if it is there already.
pub(crate) fn create(dir: &Path, name: &str, temporary: &str, content: &[u8]) -> Result<bool> {
    let path = dir.join(name);
    let temporary = dir.join(temporary);
    let made =
        with_dir(dir, || write_file(&temporary, content).and_then(|_| fs::hard_link(&temporary, &path)));
    let _ = fs::remove_file(&temporary);
    match made {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(Error::Io { what: "make", path, source }),
    }
}

fn write_file(path: &Path, content: &[u8]) -> std::io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_data()?;
    offramp_kernel::crash::point("file.written");
    Ok(file)
}

/// A file as it was written. While it is open no other has its inode number: what is found in its place is it, with
/// what was written, or another.
#[derive(Debug)]
pub struct Written(File);

impl Written {
    /// Whether it is what is at `path`. False also if that cannot be found out.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let identity = |m: Metadata| (m.dev(), m.ino());
        let (own, there) = (self.0.metadata().map(identity), fs::symlink_metadata(path).map(identity));
        matches!((own, there), (Ok(own), Ok(there)) if own == there)
    }
}

/// More is no record.
const MAX_RECORD: u64 = 4 << 20;

/// Reads a regular file: no link, and nothing that would block, such as a FIFO.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let size = file.metadata().and_then(|m| if m.is_file() { Ok(m.len()) } else { Err(not_a_file()) })?;
    let mut bytes = Vec::with_capacity(size.min(MAX_RECORD) as usize);
    file.take(MAX_RECORD).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn not_a_file() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not a regular file")
}

/// Removes a file; one that is not there is removed.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Locks `dir/name`, waiting at most `patience`. `what` is named if somebody else keeps it.
pub(crate) fn lock(dir: &Path, name: &str, what: &str, patience: Duration) -> Result<Lock> {
    lock_by(dir, name, what, patience, File::try_lock)
}

/// The same, beside others who share it.
pub(crate) fn lock_shared(dir: &Path, name: &str, what: &str, patience: Duration) -> Result<Lock> {
    lock_by(dir, name, what, patience, File::try_lock_shared)
}

fn lock_by(
    dir: &Path,
    name: &str,
    what: &str,
    patience: Duration,
    attempt: fn(&File) -> std::result::Result<(), TryLockError>,
) -> Result<Lock> {
    const LONGEST_PAUSE: Duration = Duration::from_millis(10);
    let path = dir.join(name);
    let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = with_dir(dir, open).map_err(Error::io("open lock", &path))?;
    let (start, mut pause) = (Instant::now(), Duration::from_micros(100));
    loop {
        match attempt(&file) {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
        }
        if start.elapsed() >= patience {
            return Err(Error::Locked { what: what.to_owned(), after: patience });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
