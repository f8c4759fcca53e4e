//! What the daemon uses.

use offramp_tests::{Daemon, Node};
use std::path::PathBuf;

/// Reads /proc.
pub struct Meter {
    proc: PathBuf,
}

impl Meter {
    pub fn of(daemon: &Daemon) -> Self {
        Self { proc: PathBuf::from(format!("/proc/{}", daemon.pid())) }
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.proc.join(file)).unwrap()
    }

    /// CPU time until now in ms: of its threads, which schedstat tells in nanoseconds, and of its children that have ended
    /// (nft), which stat tells in hundredths of a second.
    pub fn cpu_ms(&self) -> f64 {
        let threads = std::fs::read_dir(self.proc.join("task")).unwrap();
        let nanoseconds = |path: PathBuf| {
            let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or_default()
        };
        let own: f64 = threads.map(|entry| nanoseconds(entry.unwrap().path())).sum();
        let stat = self.read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let children = fields[13].parse::<f64>().unwrap() + fields[14].parse::<f64>().unwrap();
        own / 1e6 + children * 10.0
    }

    fn mib(&self, key: &str) -> f64 {
        let status = self.read("status");
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// The most that was ever resident.
    pub fn most_mib(&self) -> f64 {
        self.mib("VmHWM")
    }

    pub fn memory(&self) -> String {
        format!(
            "{:.1} MiB resident, {:.1} of them files; at most {:.1}",
            self.mib("VmRSS"),
            self.mib("RssFile"),
            self.most_mib()
        )
    }
}

/// Bytes that came by the node's wire: all of TCP, TLS, HTTP and JSON.
pub fn received(node: &Node) -> u64 {
    let link = node.ip_json("-s link show eth0");
    link[0]["stats64"]["rx"]["bytes"].as_u64().unwrap()
}
