//! What is set on devices so that the overlay uses what they offer (docs/offloads.md). By the loop that looks at them; on disk
//! before it is done, so that whoever comes after a daemon that was killed can put it back.

mod features;
mod pods;
mod sizes;

pub use features::Turned;
pub use sizes::Raised;

use crate::node::Node;
use offramp_core::ids::IfName;
use offramp_core::offload::Offloads;
use offramp_core::overlay::big_tcp::Shown;
use offramp_kernel::{Error, Result, crash};
use serde::{Deserialize, Serialize};

/// Its name among what the daemon keeps.
const KEPT: &str = "tuned";

/// All that is otherwise than it was before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tuned {
    /// Features that were off, and are on.
    pub features: Vec<Turned>,
    /// Sizes of packets that are larger.
    pub sizes: Vec<Raised>,
    /// Pods' pairs have larger ones too.
    pub pods: bool,
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
        node.store.keep(KEPT, self).map_err(failed)?;
        crash::point("tuning.kept");
        Ok(())
    }
}

/// Sets what the configuration wants, and puts back what it does not want any more; whether anything is otherwise now.
pub fn tune(node: &Node, offloads: &Offloads, shown: &Shown) -> bool {
    let mut tuned = Tuned::recall(node);
    let features = features::tune(node, offloads, &mut tuned);
    let sizes = sizes::tune(node, offloads, shown, &mut tuned);
    let outcome = features.and_then(|features| Ok(features + sizes?));
    let changed = *outcome.as_ref().unwrap_or(&0) > 0;
    node.view().tuned = tuned;
    node.ran("tuning", outcome.map_err(|e| e.to_string()));
    changed
}

/// Puts back all; tells what was.
pub fn put_back(node: &Node) -> (Vec<String>, Result<()>) {
    let mut tuned = Tuned::recall(node);
    let was = tuned.clone();
    let features = features::put_back(node, &mut tuned, &[]);
    let sizes = sizes::put_back(node, &mut tuned, |_| true);
    let off = was.features.iter().filter(|turned| !tuned.features.contains(turned));
    let off = off.map(|Turned { device, feature, .. }| format!("turned off {feature} of {device} again"));
    let lower = was.sizes.iter().filter(|raised| !tuned.sizes.contains(raised));
    let lower = lower.map(|raised| format!("set the sizes of packets of {} as before", raised.device));
    (off.chain(lower).collect(), features.and(sizes.map(drop)))
}

/// A device's number; none: it is gone.
fn number(device: &IfName) -> Result<Option<u32>> {
    use offramp_kernel::netlink::Socket;
    Ok(offramp_kernel::link::find(&mut Socket::open()?, device)?.map(|link| link.index))
}
