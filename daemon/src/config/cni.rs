//! The network configuration that the daemon writes for the container runtime.

use super::raw;
use super::source::absolute;
use super::yaml::{Checker, one_of};
use std::path::PathBuf;

/// Before those of flannel and Calico: runtimes take the first.
const DEFAULT_FILE: &str = "05-offramp.conflist";

/// Where the network configuration is written, and for which runtimes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cni {
    /// The folder that the runtime reads.
    pub conf_dir: PathBuf,
    /// The file's name in it.
    pub conf_file: String,
    /// Which version of CNI it asks for.
    pub version: CniVersion,
}

impl Cni {
    /// The file.
    pub fn path(&self) -> PathBuf {
        self.conf_dir.join(&self.conf_file)
    }
}

/// Which version of CNI a network configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CniVersion {
    /// 1.1.0 where the runtime speaks it, else 1.0.0.
    Negotiated,
    /// 1.0.0: a runtime never asks for STATUS.
    V1_0,
    /// 1.1.0; a runtime that does not speak it fails.
    V1_1,
}

pub(super) fn cni(check: &mut Checker, raw: raw::Cni) -> Option<Cni> {
    let raw::Cni { conf_dir, conf_file, version } = raw;
    let dir = check.opt("cni.confDir", conf_dir.as_ref(), |text| match text {
        "none" => Ok(None),
        _ => absolute(text).map(Some).map_err(|why| format!("{why}, or none")),
    });
    let file = check.opt("cni.confFile", conf_file.as_ref(), file_name);
    let versions =
        [("auto", CniVersion::Negotiated), ("1.0.0", CniVersion::V1_0), ("1.1.0", CniVersion::V1_1)];
    let version = check.opt("cni.version", version.as_ref(), one_of(&versions));
    Some(Cni {
        conf_dir: dir.flatten()?,
        conf_file: file.unwrap_or_else(|| DEFAULT_FILE.to_owned()),
        version: version.unwrap_or(CniVersion::Negotiated),
    })
}

/// Runtimes pass over other names.
fn file_name(text: &str) -> Result<String, String> {
    let is_name = !text.contains('/') && !text.starts_with('.') && text.len() <= 200;
    match text.strip_suffix(".conflist") {
        Some(stem) if is_name && !stem.is_empty() => Ok(text.to_owned()),
        _ => Err(format!(
            "{text:?} is not allowed; allowed: a file name that ends with .conflist, such as {DEFAULT_FILE}"
        )),
    }
}
