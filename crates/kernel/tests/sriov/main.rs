//! VFs of an emulated igb, in the initial namespace of a VM, where they live:
//! `hack/vm --nic igb:4 --iommu -- BINARY --test-threads 1 --nocapture`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod lab;
mod sriov_moves;
mod sriov_netdevsim;
mod sriov_release;
mod sriov_settings;
mod sriov_traffic;
mod sriov_vfio;
