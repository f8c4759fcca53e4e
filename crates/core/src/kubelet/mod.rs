//! What is between Offramp and kubelet's device manager, without the wire: which devices suit, what a container gets of
//! them, and whose they are.

mod allocation;
pub mod cdi;
mod preferred;
mod promises;

pub use allocation::Allocation;
pub use preferred::preferred;
pub use promises::{PodDevices, Promised, Strangers};
