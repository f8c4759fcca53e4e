//! Kubelet's interfaces, as `build.rs` makes them of the daemon's files.

#![allow(clippy::all, unused_qualifications, reason = "generated")]

pub mod v1beta1 {
    tonic::include_proto!("v1beta1");
}

pub mod v1 {
    tonic::include_proto!("v1");
}
