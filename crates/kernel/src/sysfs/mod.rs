//! NICs as the kernel shows them: devices in sysfs, their links by netlink, their embedded switches by devlink.

mod device;
#[cfg(test)]
pub(crate) mod fixture;
mod inventory;
mod locate;
mod monitor;
mod num_vfs;
mod numa;
mod queues;
#[cfg(test)]
mod tests;
mod vf;

pub use device::Sysfs;
pub(crate) use device::{Device, entries};
pub use inventory::{Facts, assemble, read};
pub use locate::{Location, Places, locate};
pub use monitor::Monitor;
pub use num_vfs::set_num_vfs;
pub use numa::{numa_node, numa_nodes, online_cpus};
pub(crate) use vf::ports;
pub use vf::{read_vf, vf_netdev};
