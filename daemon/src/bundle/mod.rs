//! `offrampd bundle`: what a bug report needs, in one file. What cannot be had is noted in it, and the rest goes on.

mod network;
mod pieces;
mod redact;

use crate::doctor::{Examination, Places, examine};
use flate2::Compression;
use flate2::write::GzEncoder;
use offramp_ledger::Store;
use pieces::PIECES;
use std::fs::OpenOptions;
use std::io::{Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of one piece; what is more is cut, at its beginning for logs.
const MOST_OF_ONE: usize = 4 << 20;
/// Bytes of all, before they are compressed.
const MOST: usize = 48 << 20;

/// What a piece says, or why it cannot be had.
type Content = std::result::Result<Vec<u8>, String>;

/// What pieces are made of.
struct Source<'a> {
    places: &'a Places,
    store: Store,
    examination: Examination,
}

/// What went into a bundle.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many pieces.
    pub pieces: usize,
    /// What could not be had, and why.
    pub failed: Vec<String>,
}

/// Writes a bundle to a new file that only its owner may read.
pub fn write_file(places: &Places, path: &Path) -> Result<Summary> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = write(places, &file).and_then(|summary| file.sync_all().map(|()| summary));
    if written.is_err() {
        let _ = std::fs::remove_file(path); // half a bundle misleads
    }
    written
}

/// Writes a bundle.
pub fn write(places: &Places, to: impl Write) -> Result<Summary> {
    let store = Store::at(places.state_dir());
    let source = Source { places, store, examination: examine(places) };
    let mut bundle = Bundle::new(to);
    bundle.put("README.txt", Ok(README.into()))?;
    for (name, make) in PIECES {
        bundle.put(name, make(&source))?;
    }
    for (name, content) in pieces::files(&source) {
        bundle.put(&name, content)?;
    }
    bundle.finish()
}

const README: &str = "\
This is what `offrampd bundle` collected on one node for a bug report.

In it: versions, the daemon's configuration, its status, what `offrampd doctor` found and all that it looked at, records of
attachments, claims on VFs and queues, links, addresses, routes, forwarding entries, netfilter rules, settings of the kernel's
network, the plugin's log. contents.txt lists the files, and says what could not be had and why.

Not in it: tokens and certificates (the configuration names files of them at most), pods' environment or data, other logs.
Of pods' annotations a record has the names of those of offramp.dev, and the texts of offload, pool and queues; other texts
are left out, cni-args for other plugins too. Values of keys that sound like secrets (password, token, ...) in network
configurations are replaced.
It does name namespaces, pods, addresses and MACs: look through it before you publish it.

The daemon's own log: kubectl -n kube-system logs ds/offramp
";

/// A tar file that is being written.
struct Bundle<W: Write> {
    tar: tar::Builder<GzEncoder<W>>,
    contents: String,
    left: usize,
    now: u64,
    summary: Summary,
}

impl<W: Write> Bundle<W> {
    fn new(to: W) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let tar = tar::Builder::new(GzEncoder::new(to, Compression::default()));
        Self { tar, contents: String::new(), left: MOST, now, summary: Summary::default() }
    }

    fn put(&mut self, name: &str, content: Content) -> Result<()> {
        let content = content.and_then(|bytes| {
            if bytes.len() > self.left { Err("the bundle is full".to_owned()) } else { Ok(bytes) }
        });
        match content {
            Ok(mut bytes) => {
                let all = bytes.len();
                bytes.truncate(MOST_OF_ONE);
                let cut = if all > bytes.len() { format!(", cut: it has {all}") } else { String::new() };
                self.contents += &format!("{name}: {} bytes{cut}\n", bytes.len());
                self.append(name, &bytes)
            }
            Err(why) => {
                self.contents += &format!("{name}: not here: {why}\n");
                self.summary.failed.push(format!("{name}: {why}"));
                Ok(())
            }
        }
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.now);
        self.left = self.left.saturating_sub(bytes.len());
        self.summary.pieces += 1;
        self.tar.append_data(&mut header, format!("offramp-bundle/{name}"), bytes)
    }

    fn finish(mut self) -> Result<Summary> {
        let contents = std::mem::take(&mut self.contents);
        self.append("contents.txt", contents.as_bytes())?;
        self.tar.into_inner()?.finish()?.flush()?;
        Ok(self.summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_bounded_and_notes_what_is_missing() {
        let mut file = Vec::new();
        let mut bundle = Bundle::new(&mut file);
        bundle.left = MOST_OF_ONE + 100;
        bundle.put("big", Ok(vec![7; MOST_OF_ONE + 1])).unwrap();
        bundle.put("more", Ok(vec![7; 200])).unwrap();
        bundle.put("none", Err("no".into())).unwrap();
        bundle.put("small", Ok(b"x".into())).unwrap();
        let summary = bundle.finish().unwrap();
        assert_eq!((summary.pieces, summary.failed.len()), (3, 2));
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&file[..]));
        let mut last = String::new();
        for entry in tar.entries().unwrap() {
            last.clear();
            std::io::Read::read_to_string(&mut entry.unwrap(), &mut last).unwrap();
        }
        assert_eq!(
            last,
            format!(
                "big: {MOST_OF_ONE} bytes, cut: it has {}\nmore: not here: the bundle is full\nnone: not here: no\n\
                 small: 1 bytes\n",
                MOST_OF_ONE + 1
            )
        );
    }
}
