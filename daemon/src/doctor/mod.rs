//! `offrampd doctor`: gathers what an expert would look at. What is wrong with it is judged in
//! [`offramp_core::doctor`]. Nothing is changed, and no daemon is needed.

mod gather;

pub use gather::gather;

use crate::config::Config;
use offramp_core::doctor::{Facts, Finding, check};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where to look.
pub struct Places {
    /// The daemon's configuration, or why it cannot be read.
    pub config: Result<Config, String>,
    /// The file that it is in.
    pub config_file: PathBuf,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The runtime's folder for plugins.
    pub bin_dir: PathBuf,
}

impl Places {
    /// As the configuration says, but for a socket that is named.
    pub fn new(
        config: Result<Config, String>,
        config_file: PathBuf,
        socket: Option<PathBuf>,
        bin_dir: PathBuf,
    ) -> Self {
        let of_config = || config.as_ref().ok().map(|c| c.paths.socket.clone());
        let default = || Path::new(crate::DEFAULT_STATE_DIR).join(crate::SOCKET_NAME);
        Self { socket: socket.or_else(of_config).unwrap_or_else(default), config, config_file, bin_dir }
    }

    /// Where records and claims are.
    pub fn state_dir(&self) -> &Path {
        match &self.config {
            Ok(config) => &config.paths.state_dir,
            Err(_) => self.socket.parent().unwrap_or(Path::new(crate::DEFAULT_STATE_DIR)),
        }
    }

    /// Where sysfs is mounted.
    pub fn sysfs(&self) -> &Path {
        self.config.as_ref().map_or(Path::new("/sys"), |c| &c.paths.sysfs)
    }

    /// Where the settings of `/proc/sys/net` are.
    pub fn sysctl(&self) -> &Path {
        self.config.as_ref().map_or(Path::new("/proc/sys/net"), |c| &c.paths.sysctl)
    }
}

/// What was seen, and what is wrong with it.
pub struct Examination {
    /// What was seen.
    pub facts: Facts,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Between two looks: what the daemon mends, it mends within that.
const PAUSE: Duration = Duration::from_millis(1500);

/// Looks; and where something is wrong, once more: what is just being done or mended is gone by then.
pub fn examine(places: &Places) -> Examination {
    let facts = gather(places);
    let first = check(&facts);
    if first.is_empty() {
        return Examination { facts, findings: first };
    }
    std::thread::sleep(PAUSE);
    let facts = gather(places);
    let findings = check(&facts).into_iter().filter(|f| first.iter().any(|was| was.id == f.id)).collect();
    Examination { facts, findings }
}
