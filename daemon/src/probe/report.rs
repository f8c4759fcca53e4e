//! What was found, for the command line, for metrics, and as an event.

use super::cures::Cure;
use crate::node::Node;
use crate::pods::{Event, Kind as EventKind};
use crate::status::{CureStatus, KindStatus, ProbeStatus};
use offramp_core::cni::CniError;
use offramp_core::probe::{Kind, Stage, Verdict};
use offramp_core::record::PodRef;
use std::collections::BTreeMap;
use std::time::Duration;

/// Who asks on the command line waits no longer.
const PATIENCE: Duration = Duration::from_secs(100);

/// For the command line.
pub fn status(found: &BTreeMap<Kind, KindStatus>, cures: &[Cure], node: &Node) -> ProbeStatus {
    let cure = |cure: &Cure| CureStatus {
        device: cure.rung.device.clone(),
        features: cure.rung.features.clone(),
        why: why(cure.kind, cure.stage),
        since: cure.since,
    };
    ProbeStatus {
        kinds: found.values().cloned().collect(),
        idle: if found.is_empty() { idle(node) } else { None },
        cures: cures.iter().filter(|c| c.helps).map(cure).collect(),
    }
}

/// Why nothing was found.
fn idle(node: &Node) -> Option<String> {
    if !node.config.offloads.probe {
        return Some("this node does not probe: offloads.probe is false".into());
    }
    let Some(seen) = node.view().overlay.clone() else {
        return Some("the ways to other nodes were not looked at yet".into());
    };
    seen.idle()
}

/// That something was turned off is told once, where an operator looks.
pub fn tell(node: &Node, kind: Kind, stage: Stage, what: &str) {
    let why = why(kind, stage);
    tracing::warn!(what, why, "turned off: without it, packets arrive");
    node.tell_node(format!("turned off {what}: {why}; `offrampd probe --undo` turns it on again"));
}

fn why(kind: Kind, stage: Stage) -> String {
    let lost = match stage {
        Stage::Checksum => "packets whose checksum is left to it did not arrive",
        Stage::Segments => "UDP packets that are left to it to be cut did not arrive",
        Stage::Tcp => "TCP did not get through with packets that are left to it to be cut",
    };
    format!("{lost} ({kind})")
}

impl Node {
    /// Has all be asked anew, now, and waits for what is found.
    pub fn probe_now(&self, undo: bool) -> Result<ProbeStatus, CniError> {
        if !self.config.offloads.probe && !undo {
            return Err(CniError::environment("this node does not probe: offloads.probe is false"));
        }
        let late =
            || CniError::try_again("it takes longer than that: `offrampd status` will tell what is found");
        self.probes.request(undo, PATIENCE).ok_or_else(late)
    }

    /// An event of this node.
    fn tell_node(&self, message: String) {
        let name = self.config.node.name.to_string();
        // The namespace of what has none; kubelet's own events name a Node by its name in the place of a UID too.
        let pod = PodRef { namespace: "default".into(), uid: name.clone(), name };
        self.outbox.event(Event { pod, kind: EventKind::TurnedOff, message });
    }

    /// What does not do what it promises, and stays as it is.
    pub fn broken_promises(&self) -> Vec<String> {
        let found = self.probes.found();
        let faulty = |kind: &KindStatus| {
            let stage = kind.stages.iter().find(|s| s.verdict == Verdict::Faulty)?.stage;
            Some(format!("{}: {}", kind.device, why(kind.kind, stage)))
        };
        found.kinds.iter().filter_map(faulty).collect()
    }
}
