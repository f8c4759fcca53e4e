//! `offrampd attachments`: from the daemon, or from its records if it is away.

use super::CliError;
use super::client::Client;
use super::table::table;
use super::units::{join, span};
use offramp_core::record::{FORMAT, Mode, Record};
use std::path::Path;

/// Records, and what the user must know about them.
#[derive(Debug, Default)]
pub struct Found {
    /// Sorted by pod, then by attachment.
    pub records: Vec<Record>,
    /// For stderr.
    notes: Vec<String>,
}

impl Found {
    /// Tells on stderr, so that the output stays what was asked for.
    pub fn tell_notes(&self) {
        for note in &self.notes {
            eprintln!("offrampd: {note}");
        }
    }
}

/// Asks the daemon; if it is away, reads its records.
pub fn fetch(socket: &Path) -> Result<Found, CliError> {
    let mut found = match Client::new(socket).attachments() {
        Ok((records, notes)) => Found { records, notes },
        Err(client) if client.is_away() => {
            let dir = super::records_dir(socket);
            match read_records(&dir) {
                Ok(mut found) => {
                    let why = client.to_string();
                    let why = why.lines().next().unwrap_or_default();
                    found.notes.insert(0, format!("{why}; this is from the records in {}", dir.display()));
                    found
                }
                Err(source) => return Err(CliError::Records { client, dir, source }),
            }
        }
        Err(client) => return Err(client.into()),
    };
    let pod = |r: &Record| r.pod.as_ref().map(ToString::to_string);
    found.records.sort_by(|a, b| (pod(a), &a.attachment).cmp(&(pod(b), &b.attachment)));
    Ok(found)
}

/// Reads without a lock: what is just being written is complete, since files are replaced by rename.
fn read_records(dir: &Path) -> std::io::Result<Found> {
    let mut found = Found::default();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        match read_record(&path) {
            Ok(record) => found.records.extend(record),
            Err(why) => found.notes.push(format!("read record {}: {why}", path.display())),
        }
    }
    Ok(found)
}

/// None if it was removed meanwhile.
fn read_record(path: &Path) -> Result<Option<Record>, String> {
    #[derive(serde::Deserialize)]
    struct OnlyFormat {
        format: u32,
    }
    let text = match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| e.to_string())?,
    };
    match serde_json::from_slice::<OnlyFormat>(&text).map_err(|e| e.to_string())?.format {
        FORMAT => serde_json::from_slice(&text).map(Some).map_err(|e| e.to_string()),
        other => Err(format!("its format is {other}, this offrampd reads {FORMAT}")),
    }
}

/// The table; `now` in seconds since 1970.
pub fn render(records: &[Record], now: u64, wide: bool) -> String {
    if records.is_empty() {
        return "No pod is attached on this node.\n".into();
    }
    if wide {
        let rows: Vec<_> = records.iter().map(|r| wide_row(r, now)).collect();
        let headings = [
            "POD",
            "INTERFACE",
            "ADDRESSES",
            "PATH",
            "STATE",
            "AGE",
            "HOST INTERFACE",
            "NETWORK",
            "MODE",
            "NETNS",
            "CONTAINER",
        ];
        table("", headings, &rows)
    } else {
        let rows: Vec<_> = records.iter().map(|r| row(r, now)).collect();
        table("", ["POD", "CONTAINER", "INTERFACE", "ADDRESSES", "PATH", "STATE", "AGE"], &rows)
    }
}

/// As much of a container's ID as tools of container runtimes show; `explain` takes it.
fn short(id: &str) -> String {
    id.chars().take(13).collect()
}

fn pod(record: &Record) -> String {
    record.pod.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn row(r: &Record, now: u64) -> [String; 7] {
    [
        pod(r),
        short(r.attachment.container.as_str()),
        r.attachment.ifname.to_string(),
        join(r.plan.ips()),
        r.plan.path.to_string(),
        r.state.as_str().into(),
        span(now.saturating_sub(r.created)),
    ]
}

fn wide_row(r: &Record, now: u64) -> [String; 11] {
    let [pod, _, ifname, ips, path, state, age] = row(r, now);
    let mode = match r.mode {
        Mode::Inline => "inline",
        Mode::Node => "node",
    };
    let host = r.plan.host_link().map(|(name, _)| name.to_string()).unwrap_or_default();
    let netns = r.netns.path.display().to_string();
    let container = r.attachment.container.to_string();
    [pod, ifname, ips, path, state, age, host, r.network.to_string(), mode.into(), netns, container]
}

#[cfg(test)]
#[path = "attachments_tests.rs"]
mod tests;
