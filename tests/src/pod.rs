//! A pod as a runtime sees it.

use crate::netns::Netns;
use std::ops::Deref;

/// A sandbox: a network namespace, a container ID, and the name of the interface it is to get.
pub struct Pod {
    /// Its namespace.
    pub netns: Netns,
    /// `CNI_CONTAINERID`
    pub container: String,
    /// `CNI_IFNAME`
    pub ifname: String,
}

impl Pod {
    /// The interface's addresses with their prefix lengths.
    pub fn ips(&self) -> Vec<String> {
        self.netns.addresses(&self.ifname)
    }

    /// The first address of a family, without its prefix length.
    pub fn address(&self, v6: bool) -> String {
        let ip = self.ips().into_iter().find(|ip| ip.contains(':') == v6);
        ip.expect("an address of that family").split('/').next().unwrap().to_owned()
    }
}

impl Deref for Pod {
    type Target = Netns;
    fn deref(&self) -> &Netns {
        &self.netns
    }
}
