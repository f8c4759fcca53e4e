//! One file for each thing that is lent: it is there with its content, or not at all, whoever else tries at the same time.

use crate::files;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What is in a file.
pub(crate) trait Entry: Serialize + DeserializeOwned {
    /// The version of the files' format.
    const FORMAT: u32;
    /// The name of the file.
    fn file_name(&self) -> String;
    /// What is lent, for messages.
    fn what(&self) -> String;
}

/// The files.
#[derive(Debug, Clone)]
pub(crate) struct Folder<E> {
    dir: PathBuf,
    of: PhantomData<fn() -> E>,
}

/// All entries, in the order of their files' names, and the files that are none.
pub(crate) struct Entries<E> {
    pub entries: Vec<E>,
    pub unreadable: Vec<Error>,
}

impl<E: Entry> Folder<E> {
    pub fn at(dir: PathBuf) -> Self {
        Self { dir, of: PhantomData }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// By link(2): false if there is one already.
    pub fn create(&self, entry: &E) -> Result<bool> {
        let (name, temporary) = self.names_of(entry)?;
        files::create(&self.dir, &name, &temporary, &self.encode(entry)?)
    }

    /// Replaces an entry as a whole.
    pub fn set(&self, entry: &E) -> Result<()> {
        let (name, temporary) = self.names_of(entry)?;
        files::replace(&self.dir, &name, &temporary, &self.encode(entry)?)
    }

    /// None: there is none.
    pub fn read(&self, name: &str) -> Result<Option<E>> {
        let path = self.dir.join(name);
        match files::read(&path) {
            Ok(bytes) => decode(&path, name, &bytes).map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", path)(e)),
        }
    }

    pub fn remove(&self, name: &str) -> Result<()> {
        files::remove(&self.dir.join(name))
    }

    /// Those whose names are `meant`.
    pub fn list(&self, meant: impl Fn(&str) -> bool) -> Result<Entries<E>> {
        let mut all = Entries { entries: Vec::new(), unreadable: Vec::new() };
        let mut names: Vec<String> = self.names()?.into_iter().filter(|name| meant(name)).collect();
        names.sort();
        for name in names {
            match self.read(&name) {
                Ok(entry) => all.entries.extend(entry),
                Err(e) => all.unreadable.push(e),
            }
        }
        Ok(all)
    }

    /// Removes what writers that died left behind.
    pub fn remove_torn(&self) -> Result<()> {
        const IN_USE: Duration = Duration::from_secs(60); // writing takes microseconds
        for name in self.names()?.iter().filter(|n| n.starts_with('.')) {
            let path = self.dir.join(name);
            let written = fs::metadata(&path).and_then(|m| m.modified());
            if written.is_ok_and(|t| SystemTime::now().duration_since(t).is_ok_and(|age| age > IN_USE)) {
                files::remove(&path)?;
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>> {
        match fs::read_dir(&self.dir) {
            Ok(entries) => Ok(entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Error::io("list", &self.dir)(e)),
        }
    }

    /// Of the file, and of the one that it is written to first. That one has not the process's number: plugin and daemon
    /// may count theirs apart.
    fn names_of(&self, entry: &E) -> Result<(String, String)> {
        let name = entry.file_name();
        let failed = |e| Error::io("write", self.dir.join(&name))(std::io::Error::other(e));
        let temporary = format!(".{name}.{:016x}", offramp_kernel::random::bits64().map_err(failed)?);
        Ok((name, temporary))
    }

    fn encode(&self, entry: &E) -> Result<Vec<u8>> {
        serde_json::to_vec(entry).map_err(|e| Error::io("encode", self.dir.join(entry.file_name()))(e.into()))
    }
}

fn decode<E: Entry>(path: &Path, name: &str, bytes: &[u8]) -> Result<E> {
    #[derive(Deserialize)]
    struct OnlyFormat {
        format: u32,
    }
    let unreadable = |why: String| Error::Unreadable { path: path.to_owned(), why };
    let no_claim = |e| unreadable(format!("it is no claim: {e}"));
    let OnlyFormat { format } = serde_json::from_slice(bytes).map_err(no_claim)?;
    if format != E::FORMAT {
        return Err(unreadable(format!("its format is {format}, this Offramp reads {}", E::FORMAT)));
    }
    let entry: E = serde_json::from_slice(bytes).map_err(no_claim)?;
    if entry.file_name() != name {
        return Err(unreadable(format!("it is of {}", entry.what())));
    }
    Ok(entry)
}
