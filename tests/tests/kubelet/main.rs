//! Offramp beside a kubelet: pools that it lends, and the calls of its runtime.

#![allow(clippy::unwrap_used, reason = "a test")]

mod allocation;
mod api;
mod calls;
mod lists;
mod networks;
mod node;
mod orders;
mod podman;
mod promised;
mod registration;
