//! What the daemon keeps of the cluster between two lives: below `cluster/` in the state directory. It alone writes
//! and reads it.

use crate::{Error, Result, Store, files};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::path::PathBuf;

impl Store {
    fn kept_dir(&self) -> PathBuf {
        self.root().join("cluster")
    }

    /// Keeps a value in place of what was kept; `name` is a word.
    pub fn keep<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let dir = self.kept_dir();
        let json = serde_json::to_vec(value).map_err(|e| Error::io("encode", dir.join(name))(e.into()))?;
        files::replace(&dir, &format!("{name}.json"), &format!("{name}.new"), &json)
    }

    /// What was kept; none: nothing was since the node started.
    pub fn kept<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.kept_dir().join(format!("{name}.json"));
        match files::read(&path) {
            Ok(json) => {
                serde_json::from_slice(&json).map(Some).map_err(|e| Error::io("read", path)(e.into()))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", path)(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_what_is_broken_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        assert_eq!(store.kept::<Vec<u8>>("node").unwrap(), None);
        store.keep("node", &[1, 2]).unwrap();
        store.keep("node", &[3]).unwrap();
        assert_eq!(store.kept("node").unwrap(), Some(vec![3]));
        std::fs::write(dir.path().join("cluster/node.json"), "[").unwrap();
        assert!(store.kept::<Vec<u8>>("node").unwrap_err().to_string().contains("cluster/node.json"));
    }
}
