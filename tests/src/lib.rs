//! The lab of Offramp's tests on a real kernel: nodes and pods as network namespaces, the real binaries in them.
//!
//! Build the binaries first; `hack/lab` gives every test process a network of its own:
//!
//! ```text
//! cargo build -p offramp -p offrampd
//! CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$PWD/hack/lab cargo nextest run -p offramp-tests
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's report")]

pub mod api;
mod cluster;
mod daemon;
pub mod doctor;
pub mod kubelet;
mod lab;
mod netns;
mod node;
mod plugin;
mod pod;
mod rng;
mod snapshot;
mod sysfs;
pub mod traffic;
mod wait;

pub use cluster::Cluster;
pub use daemon::Daemon;
pub use lab::{Lab, binary};
pub use netns::Netns;
pub use node::{Node, in_pod, over, pods_are_routed};
pub use plugin::{Answer, Call, Failed};
pub use pod::Pod;
pub use rng::Rng;
pub use snapshot::{Snapshot, assert_same};
pub use sysfs::Sysfs;
pub use wait::{PATIENCE, until, wait_for};
