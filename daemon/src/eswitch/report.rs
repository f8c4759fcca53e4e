//! What the operator is told of a PF's embedded switch.

use crate::node::Node;
use offramp_core::eswitch::Settled;
use offramp_core::ids::IfName;
use offramp_kernel::Error;
use std::collections::BTreeMap;

/// So many are told by name.
const TOLD: usize = 16;

/// One PF's embedded switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many MACs behind its bridge it knows.
    pub known: usize,
    /// Which it should know and does not, with their owners.
    pub left_out: Vec<String>,
    /// What the kernel said.
    pub full: Option<String>,
}

impl Report {
    /// Of what was `wanted`.
    pub fn new(wanted: usize, settled: &Settled<Error>) -> Self {
        Self {
            known: wanted - settled.left_out.len(),
            left_out: settled.left_out.iter().map(ToString::to_string).collect(),
            full: settled.full.as_ref().map(ToString::to_string),
        }
    }

    /// What the operator should know; none: all is well.
    pub fn problem(&self, port: &IfName) -> Option<String> {
        let all = self.left_out.len();
        let told = self.left_out.get(..TOLD.min(all)).filter(|told| !told.is_empty())?.join(", ");
        let more = if all > TOLD { format!(" and {} more", all - TOLD) } else { String::new() };
        let why = self.full.as_ref().map(|e| format!(": {e}")).unwrap_or_default();
        Some(format!(
            "the embedded switch of {port} knows {} of {} MACs behind its bridge; from its VFs cannot be reached: \
             {told}{more}{why}",
            self.known,
            self.known + all
        ))
    }
}

/// Makes it known, and logs what is new.
pub fn publish(node: &Node, reports: BTreeMap<IfName, Report>) {
    let mut view = node.view();
    for (port, report) in &reports {
        let before = view.eswitch.get(port).map_or(&[][..], |r| r.left_out.as_slice());
        if report.left_out != before {
            match report.problem(port) {
                Some(problem) => tracing::warn!("{problem}"),
                None => {
                    tracing::info!(%port, known = report.known, "the embedded switch knows all MACs again");
                }
            }
        }
    }
    view.eswitch = reports;
}

#[cfg(test)]
mod tests {
    use super::*;
    use offramp_core::eswitch::{Reason, Wanted};

    #[test]
    fn who_cannot_be_reached_is_told_by_name() {
        let wanted = |n: u64| Wanted {
            mac: offramp_core::MacAddr::local(n),
            reason: Reason::Pod(format!("default/p{n} eth0")),
        };
        let settled = |n| Settled {
            ours: Default::default(),
            left_out: (1..=n).map(wanted).collect(),
            full: Some(Error::refused("add x to the filter of nic0", 12)),
            errors: Vec::new(),
            changes: 0,
        };
        let nic0 = "nic0".parse().unwrap();
        assert_eq!(Report::new(20, &settled(0)).problem(&nic0), None);
        let text = Report::new(21, &settled(1)).problem(&nic0).unwrap();
        for words in
            ["nic0 knows 20 of 21", "02:00:00:00:00:01 (default/p1 eth0)", "filter of nic0: ", "(12)"]
        {
            assert!(text.contains(words), "{words:?} is not in {text}");
        }
        let text = Report::new(50, &settled(30)).problem(&nic0).unwrap();
        assert!(text.contains("p16 eth0) and 14 more") && !text.contains("p17"), "{text}");
    }
}
