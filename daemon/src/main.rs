//! The Offramp node daemon.
fn main() {}
