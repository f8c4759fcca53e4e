//! Kubelet's gRPC interfaces, without protoc.

use std::error::Error;

const PROTOS: [&str; 2] = ["deviceplugin.v1beta1.proto", "podresources.v1.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo::rerun-if-changed=proto/{proto}");
        let descriptors = protox::compile([proto], ["proto"])?;
        let serves = proto.starts_with("deviceplugin");
        // Both packages at once would share nothing but a file.
        tonic_prost_build::configure().build_server(serves).compile_fds(descriptors)?;
    }
    Ok(())
}
