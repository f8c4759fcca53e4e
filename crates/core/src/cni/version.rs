//! The versions of the CNI specification that Offramp speaks.

use super::error::CniError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A version of the specification; ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// 0.3.0
    #[serde(rename = "0.3.0")]
    V0_3_0,
    /// 0.3.1
    #[serde(rename = "0.3.1")]
    V0_3_1,
    /// 0.4.0
    #[serde(rename = "0.4.0")]
    V0_4_0,
    /// 1.0.0
    #[serde(rename = "1.0.0")]
    V1_0_0,
    /// 1.1.0
    #[serde(rename = "1.1.0")]
    V1_1_0,
}

impl Version {
    /// All of them, oldest first: the answer to VERSION.
    pub const ALL: [Version; 5] = [Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];
    /// The newest.
    pub const NEWEST: Version = Self::V1_1_0;

    /// As the specification writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Error 1 (incompatible version) if Offramp does not speak `text`.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        Self::ALL.into_iter().find(|v| v.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            CniError::version(format!("cniVersion {text:?} is not supported: Offramp speaks {known}"))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
