//! Offramp beside a kubelet: pools that it lends, and the calls of its runtime.

#![allow(clippy::unwrap_used, reason = "a test")]

mod allocation;
mod calls;
mod networks;
mod node;
mod promised;
mod registration;
