//! The embedded switch of a real NIC (igb, emulated) kept informed of what is behind a bridge. Runs in the VM, on its
//! own network, one test at a time:
//!
//! ```text
//! hack/vm --nic igb:3 -- TEST_BINARY sriov_ --test-threads 1
//! ```
#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]

mod bench;
mod sriov_fdb;
