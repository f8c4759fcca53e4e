//! What connects pods with the node: as the configuration wants it, as far as the kernel can.

use super::Node;
use offramp_core::cni::CniError;
use offramp_core::pair::{Chosen, Pairs};
use offramp_core::wire::Prepare;
use offramp_kernel::netkit;
use offramp_kernel::netlink::Socket;

/// A plan that it cannot read would be no plan to it.
const OLD_PLUGIN: &str = "the plugin on this node is older than the daemon and cannot make netkit pairs";
/// Who asks for one would be told of another.
const NO_MACS: &str = "a MAC was asked for, and in L3 mode links have none";

impl Node {
    /// Asks the kernel for netkit, where pods are to have it. Again at every look: a module may have been installed.
    pub fn look_for_netkit(&self) {
        self.asked.forget_what_may_pass();
        self.steerers.forget_what_may_pass();
        if !self.config.path.wants_netkit() {
            return;
        }
        let lacking = Socket::open().and_then(|mut socket| netkit::lacking(&mut socket));
        let lacking = lacking.unwrap_or_else(|e| Some(e.to_string()));
        let mut view = self.view();
        if let Some(why) = lacking.as_ref().filter(|why| view.no_netkit.as_ref() != Some(*why)) {
            tracing::warn!(path = %self.config.path, %why, "pods cannot have netkit pairs");
        }
        view.no_netkit = lacking;
    }

    /// Of a pod that is about to be planned.
    pub(super) fn pairs(&self, ask: &Prepare) -> Pairs {
        let no_netkit = self.view().no_netkit.clone();
        let wish = self.config.path;
        let can_make = if wish.is_routed() { ask.makes_netkit_l3 } else { ask.makes_netkit };
        let old_plugin = || (!can_make).then(|| OLD_PLUGIN.to_owned());
        let no_macs = || (wish.is_routed() && ask.mac.is_some()).then(|| NO_MACS.to_owned());
        Pairs { wish, no_netkit: no_netkit.or_else(old_plugin).or_else(no_macs) }
    }

    /// Of any pod. An error says why there is none.
    pub(super) fn any_pair(&self) -> Result<Chosen, CniError> {
        Pairs { wish: self.config.path, no_netkit: self.view().no_netkit.clone() }.choose()
    }

    /// For people: what pods get, and why not what is configured.
    pub(super) fn pair_told(&self) -> String {
        match self.any_pair() {
            Ok(Chosen { pair, why: Some(why) }) if self.view().no_netkit.is_some() => {
                format!("{}: {why}", pair.path())
            }
            Ok(chosen) => chosen.pair.path().to_string(),
            Err(e) => format!("none: {}", e.msg),
        }
    }
}
