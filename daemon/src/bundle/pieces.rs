//! The pieces of a bundle.

use super::redact::{redact, redact_record};
use super::{Content, MOST_OF_ONE, Source, network};
use crate::cli::client::Client;
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

type Piece = (&'static str, fn(&Source<'_>) -> Content);

pub(super) const PIECES: &[Piece] = &[
    ("versions.txt", versions),
    ("config.yaml", |s| read(&s.places.config_file)),
    ("doctor.json", |s| json(&s.examination.findings)),
    ("facts.json", |s| compact(&s.examination.facts)),
    ("status.json", |s| json(&Client::new(&s.places.socket).status().map_err(text)?)),
    ("nics.json", |s| json(&Client::new(&s.places.socket).nics().map_err(text)?)),
    ("net/links.txt", |_| network::links().map_err(text)),
    ("net/addresses.txt", |_| network::addresses().map_err(text)),
    ("net/routes.txt", |_| network::routes().map_err(text)),
    ("net/fdb.txt", |_| network::forwarding().map_err(text)),
    ("net/nft.json", |s| {
        s.examination.facts.rules.as_ref().map_err(Clone::clone).and_then(|rules| json(&rules.nft))
    }),
    ("net/sysctls.txt", |s| network::sysctls(s.places.sysctl())),
    ("kernel/version.txt", |_| read(Path::new("/proc/version"))),
    ("kernel/cmdline.txt", |_| read(Path::new("/proc/cmdline"))),
    ("kernel/modules.txt", modules),
    ("kernel/cpus.txt", |s| read(&s.places.sysfs().join("devices/system/cpu/online"))),
    ("log/offramp.log", |s| read(&s.store.root().join("offramp.log"))),
];

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Records and claims, each a file, and what the runtime goes by. So many at most of each.
pub(super) fn files(s: &Source<'_>) -> Vec<(String, Content)> {
    const MOST: usize = 2000;
    type Redact = fn(&mut Value);
    let mut dirs: Vec<(&str, PathBuf, Redact)> = vec![
        ("records", s.store.attachments_dir(), redact_record),
        ("claims", s.store.claims().dir(), redact),
        ("claims/queues", s.store.root().join("queues"), redact),
    ];
    let conf_dir = s.places.config.as_ref().ok().and_then(|c| c.cni.as_ref()).map(|cni| cni.conf_dir.clone());
    dirs.extend(conf_dir.map(|dir| ("net.d", dir, redact as Redact)));
    let mut all = Vec::new();
    for (folder, dir, redact) in dirs {
        match list(&dir) {
            Ok(paths) => all.extend(paths.iter().take(MOST).map(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                (format!("{folder}/{name}"), read(path).map(|bytes| without_secrets(&bytes, redact)))
            })),
            Err(why) => all.push((folder.to_owned(), Err(why))),
        }
    }
    all
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(format!("list {}: {e}", dir.display())),
    };
    let is_file = |path: &PathBuf| path.symlink_metadata().is_ok_and(|m| m.is_file());
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(is_file).collect();
    paths.sort();
    Ok(paths)
}

/// What is no JSON stays out as a whole: it may be half of something.
fn without_secrets(bytes: &[u8], redact: fn(&mut Value)) -> Vec<u8> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(mut value) => {
            redact(&mut value);
            serde_json::to_vec_pretty(&value).unwrap_or_default()
        }
        Err(e) => format!("no JSON of {} bytes: {e}\n", bytes.len()).into_bytes(),
    }
}

fn json(value: &impl Serialize) -> Content {
    serde_json::to_vec_pretty(&redacted(value)?).map_err(text)
}

/// For what grows with the node, and would be cut.
fn compact(value: &impl Serialize) -> Content {
    serde_json::to_vec(&redacted(value)?).map_err(text)
}

fn redacted(value: &impl Serialize) -> Result<Value, String> {
    let mut value = serde_json::to_value(value).map_err(text)?;
    redact(&mut value);
    Ok(value)
}

/// The end of a file, for what matters in a log is there.
fn read(path: &Path) -> Content {
    let what = |e: std::io::Error| format!("read {}: {e}", path.display());
    let mut file = File::open(path).map_err(what)?;
    let size = file.metadata().map_err(what)?.len();
    let most = MOST_OF_ONE as u64;
    if size > most {
        file.seek(SeekFrom::End(-(MOST_OF_ONE as i64))).map_err(what)?;
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(what)?;
    Ok(bytes)
}

fn modules(_: &Source<'_>) -> Content {
    let path = Path::new("/proc/modules");
    if path.exists() { read(path) } else { Ok("this kernel has no modules\n".into()) }
}

fn versions(s: &Source<'_>) -> Content {
    let facts = &s.examination.facts;
    let shown = |look: &Result<Option<String>, String>| match look {
        Ok(Some(version)) => version.clone(),
        Ok(None) => "not to be seen from here".into(),
        Err(why) => why.clone(),
    };
    let daemon = facts.told().map_or("does not answer", |told| told.version.as_str());
    let mut text = format!(
        "offrampd (this command): {}\ndaemon: {daemon}\nplugin: {}\n",
        facts.version,
        shown(&facts.plugin)
    );
    text += &String::from_utf8_lossy(&read(Path::new("/etc/os-release")).unwrap_or_default());
    Ok(text.into_bytes())
}
