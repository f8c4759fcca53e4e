//! Kubelet's interfaces, as `build.rs` makes them of `daemon/proto`.

#![allow(missing_docs, clippy::all, unused_qualifications, reason = "generated")]

/// Device plugins.
pub mod v1beta1 {
    tonic::include_proto!("v1beta1");
}

/// Which pod has which device.
pub mod v1 {
    tonic::include_proto!("v1");
}
