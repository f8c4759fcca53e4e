//! NICs of the VM lab: an igb PF called nic0, in the VM's initial network namespace; netdevsim and rocker beside it.
//! `hack/vm --nic igb:4 --netdevsim --rocker --iommu -- TEST_BINARY --test-threads 1 sriov_`
#![allow(clippy::unwrap_used, reason = "a test")]

mod lab;
mod sriov_inventory;
mod sriov_num_vfs;
mod sriov_offload;
mod sriov_queues;
mod sriov_rocker;
mod sriov_switchdev;
