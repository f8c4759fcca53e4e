//! What Offramp puts on a node besides its state: the plugin's program and the network configuration that leads the
//! container runtime to it. Both are replaced as a whole, and both outlive the daemon: a runtime that finds no
//! configuration makes the node NotReady, and can delete no pod.

pub mod conflist;
pub mod files;
pub mod uninstall;

use std::path::{Path, PathBuf};

/// The plugin's file name, which is the `type` in network configurations.
pub const PLUGIN: &str = "offramp";

/// Why something could not be put in its place, or taken away.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The file system.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// What is to be installed is no program.
    #[error("install {}: it is not a program of Linux (ELF)", .0.display())]
    NoProgram(PathBuf),
}

impl InstallError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}

/// What became of a file that was to be put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was written.
    Written,
    /// It was there already.
    UpToDate,
}

/// Puts the plugin into the runtime's folder. Calls that run keep the program that they were started from; one that
/// starts meanwhile gets the old one or the new one.
pub fn plugin(program: &Path, bin_dir: &Path) -> Result<(PathBuf, Put), InstallError> {
    let content = std::fs::read(program).map_err(InstallError::io("read", program))?;
    if !content.starts_with(b"\x7fELF") {
        return Err(InstallError::NoProgram(program.to_owned()));
    }
    std::fs::create_dir_all(bin_dir).map_err(InstallError::io("make directory", bin_dir))?;
    let path = bin_dir.join(PLUGIN);
    let put = files::put(&path, 0o755, &content).map_err(InstallError::io("write", &path))?;
    Ok((path, put))
}

/// The plugin as it comes with this daemon: beside it.
pub fn own_plugin() -> Result<PathBuf, InstallError> {
    let own = std::env::current_exe().map_err(InstallError::io("find", Path::new("offrampd")))?;
    Ok(own.with_file_name(PLUGIN))
}

#[cfg(test)]
mod tests;
