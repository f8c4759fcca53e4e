//! Daemon, plugin, and what the runtime goes by.

use super::text;
use crate::cli::client::{Client, ClientError};
use crate::config::Config;
use crate::install::conflist;
use crate::status::{Health, KindStatus, PeerStatus, ProbeStatus, Status};
use offramp_core::doctor::{Conflist, Look, Range, Reply, Told};
use offramp_core::probe::Verdict;
use std::io::ErrorKind;
use std::path::Path;

/// Asks the daemon for its status.
pub fn daemon(socket: &Path) -> Reply {
    let first_line = |e: ClientError| e.to_string().lines().next().unwrap_or_default().to_owned();
    match Client::new(socket).status() {
        Ok(status) => Reply::Told(Box::new(told(&status))),
        Err(e @ ClientError::Permission { .. }) => Reply::Unseen(first_line(e)),
        Err(e) if e.is_away() => Reply::Away(first_line(e)),
        Err(e) => Reply::Stranger(first_line(e)),
    }
}

fn told(status: &Status) -> Told {
    let range =
        |r: &crate::status::RangeStatus| Range { subnet: r.subnet, used: r.used, capacity: r.capacity };
    Told {
        version: status.node.version.clone(),
        lost_peers: status.overlay.peers.iter().filter_map(|peer| lost(peer, &status.problems)).collect(),
        broken_offloads: broken(&status.probes),
        turned_off: status.probes.cures.iter().map(|cure| cure.device.to_string()).collect(),
        ranges: status.ranges.iter().map(range).collect(),
        problems: status.problems.clone(),
    }
}

/// What did not arrive, and is not cured.
fn broken(probes: &ProbeStatus) -> Vec<String> {
    let faulty = |kind: &KindStatus| {
        let stages = kind.stages.iter().filter(|s| s.verdict == Verdict::Faulty);
        let stages: Vec<String> = stages.map(|s| format!("{:?}", s.stage).to_lowercase()).collect();
        let text = || {
            format!(
                "{} by {}: {} left to the hardware did not arrive at any of {} peers, the same without it did",
                kind.kind,
                kind.device,
                stages.join(", "),
                kind.peers
            )
        };
        (!stages.is_empty()).then(text)
    };
    probes.kinds.iter().filter_map(faulty).collect()
}

/// In the words of the problem, if it is one.
fn lost(peer: &PeerStatus, problems: &[String]) -> Option<String> {
    let Health::Failed { reason } = &peer.health else { return None };
    let problem = problems.iter().find(|p| p.contains(&peer.name) && p.contains(reason));
    Some(problem.cloned().unwrap_or_else(|| format!("peer {}: {reason}", peer.name)))
}

/// The version of the plugin in the runtime's folder, by what it says of itself: it is not started for that.
pub fn plugin(bin_dir: &Path) -> Look<Option<String>> {
    let path = bin_dir.join("offramp");
    match std::fs::read(&path) {
        Ok(program) => Ok(version_in(&program)),
        // In the daemon's container it is not to be seen.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("read {}: {e}", path.display())),
    }
}

/// What is between the name and this.
fn version_in(program: &[u8]) -> Option<String> {
    const BEFORE: &[u8] = b"offramp ";
    const BEHIND: &[u8] = b": the Offramp CNI plugin";
    const LONGEST: usize = 64;
    let end = program.windows(BEHIND.len()).position(|w| w == BEHIND)?;
    let near = program.get(end.saturating_sub(LONGEST)..end)?;
    let start = near.windows(BEFORE.len()).rposition(|w| w == BEFORE)? + BEFORE.len();
    String::from_utf8(near.get(start..)?.to_vec()).ok()
}

/// The runtime's network configurations.
pub fn conflist(config: &Config) -> Look<Option<Conflist>> {
    let Some(cni) = &config.cni else { return Ok(None) };
    let path = cni.path();
    let before = conflist::others(cni).map_err(text)?.into_iter().filter(|other| *other < path);
    Ok(Some(Conflist {
        there: path.try_exists().map_err(|e| format!("look for {}: {e}", path.display()))?,
        before: before.map(|other| other.display().to_string()).collect(),
        path: path.display().to_string(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugins_version_is_read_from_its_text() {
        let program = b"\x7fELF offramp offramp 1.2.3-rc1: the Offramp CNI plugin. It is called";
        assert_eq!(version_in(program).as_deref(), Some("1.2.3-rc1"));
        assert_eq!(version_in(b"something else"), None);
        assert_eq!(version_in(b": the Offramp CNI plugin"), None);
    }
}
