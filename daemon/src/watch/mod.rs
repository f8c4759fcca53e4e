//! Where the cluster's state comes from.

pub mod peers_file;
