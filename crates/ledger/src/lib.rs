//! Offramp's durable state and what is done against it: attachment records, their locks, the address files of
//! inline mode, delegated IPAM plugins, and taking an attachment back from its record alone.
//!
//! Plugin and daemon share it, so that either can finish what the other began.

pub mod addresses;
pub mod channels;
pub mod claims;
pub mod clean;
pub mod delegate;
pub mod detach;
pub mod device_info;
mod error;
mod files;
mod folder;
mod informed;
mod kept;
pub mod lending;
pub mod queues;
mod store;

pub use claims::{Claims, VfLock};
pub use error::{Error, Result};
pub use files::{Lock, Written};
pub use queues::QueueClaims;
pub use store::{Listing, Store};
