//! What is set on devices so that the overlay uses what they offer (docs/offloads.md). By the loop that looks at them; on disk
//! before it is done, so that whoever comes after a daemon that was killed can put it back.

mod features;

pub use features::Turned;

use crate::node::Node;
use offramp_core::ids::IfName;
use offramp_core::offload::Offloads;
use offramp_kernel::{Error, Result};
use serde::{Deserialize, Serialize};

/// Its name among what the daemon keeps.
const KEPT: &str = "tuned";

/// All that is otherwise than it was before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tuned {
    /// Features that were off, and are on.
    pub features: Vec<Turned>,
}

impl Tuned {
    fn recall(node: &Node) -> Self {
        let lost = |e: offramp_ledger::Error| {
            tracing::warn!(error = %e, "what was set on devices is not known any more");
            None
        };
        node.store.kept(KEPT).unwrap_or_else(lost).unwrap_or_default()
    }

    fn keep(&self, node: &Node) -> Result<()> {
        let failed = |e: offramp_ledger::Error| Error::Unfit {
            what: "keep what was set on devices".into(),
            why: e.to_string(),
        };
        node.store.keep(KEPT, self).map_err(failed)
    }
}

/// Sets what the configuration wants, and puts back what it does not want any more; whether anything is otherwise now.
pub fn tune(node: &Node, offloads: &Offloads) -> bool {
    let mut tuned = Tuned::recall(node);
    let outcome = features::tune(node, offloads, &mut tuned);
    let changed = *outcome.as_ref().unwrap_or(&0) > 0;
    node.view().tuned = tuned;
    node.ran("tuning", outcome.map_err(|e| e.to_string()));
    changed
}

/// Puts back all; tells what was.
pub fn put_back(node: &Node) -> (Vec<String>, Result<()>) {
    let mut tuned = Tuned::recall(node);
    let was = tuned.clone();
    let outcome = features::put_back(node, &mut tuned, &[]);
    let told = was.features.iter().filter(|turned| !tuned.features.contains(turned));
    (told.map(|Turned { device, feature, .. }| format!("turned off {feature} of {device} again")).collect(), outcome)
}

/// A device's number; none: it is gone.
fn number(device: &IfName) -> Result<Option<u32>> {
    use offramp_kernel::netlink::Socket;
    Ok(offramp_kernel::link::find(&mut Socket::open()?, device)?.map(|link| link.index))
}
