//! Pods whose eth0 is a VF, on two nodes that are wired to each other. Both run this, in step:
//!
//! ```text
//! hack/vm --two-nodes --nic igb:3 --nic igb:2 --nic e1000e --nic vmxnet3 --nic virtio --timeout 900 -- TEST_BINARY sriov_ --test-threads 1
//! ```
#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]

mod pair;
mod pods;
mod sriov_two_nodes;
mod sriov_uplinks;
mod sriov_verdicts;
