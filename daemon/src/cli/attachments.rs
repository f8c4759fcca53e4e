//! `offrampd attachments`: from the daemon, or from its records if it is away.

use super::CliError;
use super::client::Client;
use super::table::table;
use super::units::{join, span};
use super::vfs;
use offramp_core::IfName;
use offramp_core::networks::Delegation;
use offramp_core::record::{FORMAT, Mode, Record};
use offramp_core::vf::Claim;
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

/// The table: a row an interface of the pod; `now` in seconds since 1970.
pub fn render(records: &[Record], claims: &[Claim], now: u64, wide: bool) -> String {
    if records.is_empty() {
        return "No pod is attached on this node.\n".into();
    }
    if wide {
        let rows = rows(records, |r, i| wide_row(r, i, claims, now));
        let headings = [
            "POD",
            "INTERFACE",
            "ADDRESSES",
            "PATH",
            "STATE",
            "AGE",
            "VF",
            "POOL",
            "HOST INTERFACE",
            "NETWORK",
            "MODE",
            "NETNS",
            "CONTAINER",
        ];
        table("", headings, &rows)
    } else {
        let rows = rows(records, |r, i| row(r, i, now));
        table("", ["POD", "CONTAINER", "INTERFACE", "ADDRESSES", "PATH", "STATE", "AGE"], &rows)
    }
}

/// An interface of an attachment's pod.
#[derive(Clone, Copy)]
enum Of<'a> {
    /// By its place in the result.
    Plan(usize),
    /// The attachment as such, of which no interface is told.
    Attachment,
    /// Other plugins made it.
    Network(&'a Delegation),
}

fn rows<const N: usize>(
    records: &[Record],
    row: impl Fn(&Record, Of<'_>) -> [String; N],
) -> Vec<[String; N]> {
    // What our own plugin made inline has a record too.
    let has_record = |r: &Record, ifname: &IfName| {
        records
            .iter()
            .any(|o| o.attachment.container == r.attachment.container && o.attachment.ifname == *ifname)
    };
    let of = |r: &Record| {
        let networks = r.networks.iter().filter(|d| d.makes_interface() && !has_record(r, &d.ifname));
        own(r).into_iter().chain(networks.map(Of::Network)).map(|of| row(r, of)).collect::<Vec<_>>()
    };
    records.iter().flat_map(of).collect()
}

fn own(r: &Record) -> Vec<Of<'_>> {
    let all = r.plan.result.interfaces.iter().enumerate();
    let found: Vec<_> = all.filter(|(_, i)| i.sandbox.is_some()).map(|(place, _)| Of::Plan(place)).collect();
    if found.is_empty() { vec![Of::Attachment] } else { found }
}

/// As much of a container's ID as tools of container runtimes show; `explain` takes it.
fn short(id: &str) -> String {
    id.chars().take(13).collect()
}

fn pod(record: &Record) -> String {
    record.pod.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn row(r: &Record, of: Of<'_>, now: u64) -> [String; 7] {
    let result = &r.plan.result;
    let (name, ips, path) = match of {
        Of::Plan(place) => {
            let (interface, ips) = (&result.interfaces[place], result.ips.iter());
            let ips = ips.filter(|ip| ip.interface == Some(place)).map(|ip| ip.address.ip());
            (interface.name.clone(), join(ips), r.plan.path_of(interface).to_string())
        }
        Of::Attachment => {
            let ips = join(result.ips.iter().map(|ip| ip.address.ip()));
            (r.attachment.ifname.to_string(), ips, r.plan.path.to_string())
        }
        // As in the pod's annotation offramp.dev/status.
        Of::Network(network) => {
            let ips = join(network.entry().unwrap_or_default().ips);
            (network.ifname.to_string(), ips, "plugins".to_owned())
        }
    };
    let state = r.state.as_str().into();
    [
        pod(r),
        short(r.attachment.container.as_str()),
        name,
        ips,
        path,
        state,
        span(now.saturating_sub(r.created)),
    ]
}

fn wide_row(r: &Record, of: Of<'_>, claims: &[Claim], now: u64) -> [String; 13] {
    let [pod, _, ifname, ips, path, state, age] = row(r, of, now);
    let mode = match r.mode {
        Mode::Inline => "inline",
        Mode::Node => "node",
    };
    let (vf, network) = match of {
        Of::Plan(place) => {
            let interface = &r.plan.result.interfaces[place];
            let network = r.networks.iter().find(|d| d.ifname.as_str() == interface.name);
            (interface.pci_id.clone(), network.map(|d| d.network.clone()))
        }
        Of::Attachment => (None, None),
        Of::Network(d) => (None, Some(format!("{} ({})", d.network, d.types()))),
    };
    let claim = vf.as_ref().and_then(|pci| vfs::of(claims, r, pci.parse().ok()?));
    let pool = claim.and_then(|c| c.pool.clone()).unwrap_or_default();
    let host = r.plan.host_link().filter(|_| vf.is_none() && !matches!(of, Of::Network(_)));
    let host = host.map(|(name, _)| name.to_string()).unwrap_or_default();
    let netns = r.netns.path.display().to_string();
    let (network, container) =
        (network.unwrap_or_else(|| r.network.to_string()), r.attachment.container.to_string());
    let vf = vf.unwrap_or_default();
    [pod, ifname, ips, path, state, age, vf, pool, host, network, mode.into(), netns, container]
}

#[cfg(test)]
#[path = "attachments_tests.rs"]
mod tests;
