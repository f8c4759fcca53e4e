//! Kubelet's side of its gRPC interfaces.

use std::error::Error;

const PROTOS: [&str; 2] = ["deviceplugin.v1beta1.proto", "podresources.v1.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let dir = "../daemon/proto";
    for proto in PROTOS {
        println!("cargo::rerun-if-changed={dir}/{proto}");
        let descriptors = protox::compile([proto], [dir])?;
        tonic_prost_build::configure().compile_fds(descriptors)?;
    }
    Ok(())
}
