//! The plugin with VFs of an emulated igb, in the initial namespace of a VM, where they live:
//! `hack/vm --nic igb:4 --netdevsim --rocker --iommu -- BINARY --test-threads 1`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod fault;
mod lab;
mod representors;
mod sriov_claims;
mod sriov_crash;
mod sriov_daemon;
mod sriov_devices;
mod sriov_doctor;
mod sriov_eth0;
mod sriov_explain;
mod sriov_faults;
mod sriov_flows;
mod sriov_inline;
mod sriov_kubelet;
mod sriov_lending;
mod sriov_manage;
mod sriov_networks;
mod sriov_node;
mod sriov_node_crash;
mod sriov_queues;
mod sriov_random;
mod sriov_release;
mod sriov_representors;
mod sriov_steer;
mod sriov_switchdev;
mod sriov_tunnel_port;
mod sriov_userspace;
mod sriov_vectors;
mod vfio;
