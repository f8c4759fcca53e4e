//! Offramp's only door to the kernel: namespaces, netlink, sysctls, nftables. It executes the steps of a plan
//! and takes them back; what to do is decided elsewhere.

pub mod addr;
mod aside;
pub mod boot;
pub mod child;
pub mod counters;
pub mod crash;
pub mod delete;
pub mod devlink;
pub mod error;
pub mod ethtool;
pub mod executor;
pub mod fdb;
mod filter;
mod generic;
pub mod legacy;
pub mod link;
pub mod message;
pub mod neigh;
pub mod netkit;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod offload;
pub mod overlay;
pub mod probe;
pub mod queues;
pub mod random;
pub mod route;
pub mod steering;
mod steps;
pub mod stubborn;
pub mod switchdev;
pub mod sysctl;
pub mod sysfs;
pub mod tc;
pub mod uplink;
pub mod vf;
mod wait;

pub use error::{Error, Result};
pub use executor::Executor;
pub use netns::Netns;
