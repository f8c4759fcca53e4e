//! The pure part of Offramp: names that cannot be wrong, CNI types, plans and their steps, records and
//! the wire types between plugin and daemon. No I/O, no unsafe: everything here can be tested by values.
#![forbid(unsafe_code)]

pub mod cni;
pub mod doctor;
pub mod eswitch;
pub mod firewall;
pub mod ids;
pub mod ipam;
pub mod kubelet;
pub mod lend;
pub mod net;
pub mod networks;
pub mod nic;
pub mod offload;
pub mod overlay;
pub mod pair;
pub mod peer;
pub mod plan;
pub mod pool;
pub mod probe;
pub mod queue;
pub mod record;
pub mod spec;
pub mod steer;
pub mod step;
pub mod traffic;
pub mod vf;
pub mod wire;
pub mod wish;

pub use cni::error::CniError;
pub use ids::{
    AttachmentId, ContainerId, IfName, MacAddr, Mtu, NetworkName, NodeName, PoolName, ResourceName, VlanId,
    Vni,
};
