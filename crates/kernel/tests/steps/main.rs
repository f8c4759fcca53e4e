//! The steps of an inline plan on a real kernel: what they leave behind, how they fail, how they are taken back.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../lab/mod.rs"]
mod lab;

mod bridge;
mod errors;
mod links;
mod netkit;
mod netns;
mod offload;
mod pod;
mod undo;
mod uplink;
mod vlan;
