//! What is wrong with a file, and where: collected, so that one look at the file mends all of it.

use std::fmt;
use std::path::PathBuf;

/// A place in a file; line and column count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

impl From<serde_saphyr::Location> for Place {
    fn from(at: serde_saphyr::Location) -> Self {
        Self { line: at.line(), column: at.column() }
    }
}

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where; none for what is missing altogether.
    pub place: Option<Place>,
    /// The key's path, such as `cluster.podCIDRs[1]`; may be empty.
    pub key: String,
    /// What is wrong and what is allowed.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.why)
    }
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It has mistakes; none of it is used.
    #[error("{}: {}", path.display(), list(faults))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that was found, in the file's order.
        faults: Vec<Fault>,
    },
}

/// One fault on the same line, several on a line each.
fn list(faults: &[Fault]) -> String {
    match faults {
        [one] => one.to_string(),
        many => {
            let lines: String = many.iter().map(|f| format!("\n  {f}")).collect();
            format!("{} mistakes{lines}", many.len())
        }
    }
}
