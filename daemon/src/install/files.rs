//! Files that others read at any time: old or new, never half of one, also after a power cut.

use super::Put;
use offramp_kernel::crash;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes `path` a file with this content and mode, unless it is one. It is written beside and moved in place; whoever
/// dies in between leaves a file that begins with a dot, which the next call replaces and nobody reads.
pub fn put(path: &Path, mode: u32, content: &[u8]) -> Result<Put> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no file's path"));
    };
    // One at a time: an init container that is being replaced may still be at it.
    let dir = Locked::open(dir)?;
    if is(path, mode, content)? {
        return Ok(Put::UpToDate);
    }
    let aside = path.with_file_name(format!(".{name}.new"));
    let put = write(&aside, mode, content).and_then(|()| {
        crash::point("install.written");
        std::fs::rename(&aside, path)
    });
    if put.is_err() {
        let _ = std::fs::remove_file(&aside); // on a full disk it takes room
    }
    put.and_then(|()| dir.0.sync_all()).map(|()| Put::Written)
}

/// Removes a file; false if it is not there.
pub fn remove(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    }
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(true)
}

/// A directory, locked (flock(2)) until it is dropped.
struct Locked(File);

impl Locked {
    fn open(dir: &Path) -> Result<Self> {
        let file = File::open(dir)?;
        file.lock()?;
        Ok(Self(file))
    }
}

fn is(path: &Path, mode: u32, content: &[u8]) -> Result<bool> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let alike = metadata.is_file()
        && metadata.permissions().mode() & 0o7777 == mode
        && metadata.len() == content.len() as u64;
    Ok(alike && std::fs::read(path)? == content)
}

fn write(path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    remove(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // Not less than was asked for, whatever the umask.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}
