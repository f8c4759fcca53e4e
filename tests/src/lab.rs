//! One test's machine.

use crate::netns::Netns;
use crate::node::Node;
use crate::pod::Pod;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where nodes and pods can be made. What they make goes with them.
pub struct Lab(());

impl Lab {
    /// Refuses to work on the machine's own network: a test runs below `hack/lab`.
    pub fn new() -> Self {
        assert!(
            std::env::var("OFFRAMP_LAB").is_ok_and(|v| v == "1"),
            "this test changes the network: run it by hack/lab, or with hack/lab as cargo's runner"
        );
        Self(())
    }

    /// In a virtual machine with a PF nic0 of an emulated igb, the network of which may be changed as a whole.
    pub fn of_vm() -> Self {
        let driver = std::fs::read_link("/sys/class/net/nic0/device/driver").unwrap_or_default();
        assert!(driver.ends_with("igb"), "there is no igb PF nic0: run it by hack/vm --nic igb:4");
        Self(())
    }

    /// The virtual machine itself as a node.
    pub fn machine(&self, name: &str) -> Node {
        Node::new(Netns::initial(&unused(name)), name)
    }

    /// A node without links, without a daemon.
    pub fn node(&self, name: &str) -> Node {
        Node::new(self.netns(name), name)
    }

    /// A pod: a namespace and a container ID.
    pub fn pod(&self, name: &str) -> Pod {
        let netns = self.netns(name);
        Pod { container: format!("container-{}", netns.name()), netns, ifname: "eth0".into() }
    }

    /// A namespace of an unused name that begins with `name`.
    pub fn netns(&self, name: &str) -> Netns {
        Netns::create(&unused(name))
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

/// Labs of one process share its namespaces, so names carry a number.
fn unused(name: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A binary of Offramp: in `OFFRAMP_BIN_DIR`, or in cargo's target directory, built before the tests.
pub fn binary(name: &str) -> PathBuf {
    let dir = std::env::var_os("OFFRAMP_BIN_DIR").map_or_else(
        || {
            let test = std::env::current_exe().expect("this test's own path");
            test.ancestors().nth(2).expect("target/PROFILE/deps/TEST").to_owned()
        },
        PathBuf::from,
    );
    let path = dir.join(name);
    assert!(path.is_file(), "{} is not there: cargo build -p offramp -p offrampd", path.display());
    path
}
