//! The CNI specification as types: what comes in by environment and stdin, what goes out by stdout.
//! Source: <https://github.com/containernetworking/cni/blob/spec-v1.1.0/SPEC.md>

pub mod args;
pub mod bridge;
pub mod config;
pub mod env;
pub mod error;
pub mod fields;
mod frugal;
pub mod ipam;
pub mod result;
pub mod runtime;
pub mod sriov;
pub mod version;

pub use config::NetConf;
pub use env::{Call, Verb};
pub use error::CniError;
pub use result::CniResult;
pub use version::Version;
