//! Why a command failed.

use super::client::ClientError;
use super::{doctor, explain};
use crate::config::FileError;
use crate::install::InstallError;
use crate::install::uninstall::UninstallError;
use std::path::PathBuf;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] FileError),
    /// The daemon.
    #[error(transparent)]
    Run(#[from] crate::run::RunError),
    /// A file that could not be put in its place.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// What is still needed, or could not be removed.
    #[error(transparent)]
    Uninstall(#[from] UninstallError),
    /// The daemon's answer, or none.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The daemon is away, and the records cannot be read either.
    #[error("{client}\nread the records in {}: {source}", dir.display())]
    Records {
        /// Why the daemon could not be asked.
        client: ClientError,
        /// Where records were looked for.
        dir: PathBuf,
        /// Why they could not be read.
        source: std::io::Error,
    },
    /// The daemon is away, and the kernel does not tell either.
    #[error("{client}\n{source}")]
    Nics {
        /// Why the daemon could not be asked.
        client: ClientError,
        /// Why the NICs could not be read.
        source: offramp_kernel::Error,
    },
    /// `doctor` found something, or could not look.
    #[error(transparent)]
    Unwell(#[from] doctor::Unwell),
    /// The bundle's file.
    #[error("write the bundle {}: {source}", file.display())]
    Bundle {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// `nics` found nothing.
    #[error("this node has no NIC {0:?}; `offrampd nics` lists them, and what is on them")]
    NoNic(String),
    /// `explain` found nothing.
    #[error("no attachment on this node matches {0}; `offrampd attachments` lists them all")]
    NotFound(explain::Target),
    /// Standard output.
    #[error("write the output: {0}")]
    Output(#[from] std::io::Error),
}

impl CliError {
    /// The program's exit code.
    pub fn code(&self) -> u8 {
        if let Self::Unwell(unwell) = self { unwell.code() } else { 1 }
    }
}
