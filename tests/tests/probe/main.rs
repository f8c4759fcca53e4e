//! Two nodes test what the wire between them does to packets. What they do about a NIC that breaks its promise is tried with
//! real ones in VMs too (`sriov_wired`).
#![allow(clippy::unwrap_used, reason = "a panic is a test's report")]

mod big_tcp;
mod broken;
mod cable;
mod decided;
mod nodes;
mod sound;
