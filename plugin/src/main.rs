//! The Offramp CNI plugin.
fn main() {}
