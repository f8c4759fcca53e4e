//! Settings under `/proc/sys/net`, of the calling thread's namespace.

use crate::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where the settings are; a value, since a container finds them at another place.
#[derive(Debug, Clone)]
pub struct Sysctl {
    root: PathBuf,
}

impl Default for Sysctl {
    fn default() -> Self {
        Self { root: "/proc/sys/net".into() }
    }
}

impl Sysctl {
    /// Settings below `root`.
    pub fn at(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().to_owned() }
    }

    /// Reads `key`, such as `ipv4/ip_forward`; none where the kernel does not have it.
    pub fn get(&self, key: &str) -> Result<Option<String>> {
        match std::fs::read_to_string(self.root.join(key)) {
            Ok(value) => Ok(Some(value.trim().to_owned())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(format!("read sysctl net/{key}"), &e)),
        }
    }

    /// Writes `key` unless it has the value; says whether it was written. A key that the kernel does not have
    /// (IPv6 turned off) is left.
    pub fn set(&self, key: &str, value: &str) -> Result<bool> {
        match self.get(key)? {
            Some(now) if now != value => std::fs::write(self.root.join(key), value)
                .map(|()| true)
                .map_err(|e| Error::io(format!("set sysctl net/{key} = {value}"), &e)),
            _ => Ok(false),
        }
    }

    /// Writes `key` of something that is new: nobody has set it. A key that the kernel does not have is left.
    pub fn write(&self, key: &str, value: &str) -> Result<()> {
        match File::options()
            .write(true)
            .open(self.root.join(key))
            .and_then(|mut f| f.write_all(value.as_bytes()))
        {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(Error::io(format!("set sysctl net/{key} = {value}"), &e))
            }
            _ => Ok(()),
        }
    }

    /// Has the node forward packets of a family. IPv6 forwarding makes the kernel deaf to router advertisements
    /// unless accept_ra is 2 (Documentation/networking/ip-sysctl.rst): a node that got its default route from one
    /// must not lose it.
    pub fn forward(&self, family: offramp_core::net::Family) -> Result<bool> {
        match family {
            offramp_core::net::Family::V4 => self.set("ipv4/ip_forward", "1"),
            offramp_core::net::Family::V6 => {
                if self.get("ipv6/conf/all/forwarding")?.as_deref() == Some("0") {
                    self.keep_router_advertisements()?;
                }
                self.set("ipv6/conf/all/forwarding", "1")
            }
        }
    }

    fn keep_router_advertisements(&self) -> Result<()> {
        let Ok(links) = std::fs::read_dir(self.root.join("ipv6/conf")) else { return Ok(()) };
        for link in links.flatten() {
            let name = link.file_name();
            let Some(name) = name.to_str().filter(|n| !["all", "default", "lo"].contains(n)) else {
                continue;
            };
            let key = format!("ipv6/conf/{name}/accept_ra");
            if self.get(&key)?.as_deref() == Some("1") {
                self.set(&key, "2")?;
            }
        }
        Ok(())
    }
}
