//! Pods whose eth0 is a VF that does not lead to the node's uplink any more: a bond has failed over, or the uplink is
//! another one now.

use super::Node;
use offramp_core::record::{Record, State};
use offramp_core::step::{MoveVf, Step};

impl Node {
    /// Finds them, for `offrampd status`. Nothing can be done for them: a pod keeps its VF.
    pub(super) fn find_cut_off(&self, with_vf: &[&Record]) {
        let all = if with_vf.is_empty() { Vec::new() } else { self.cut_off(with_vf) };
        let before = std::mem::replace(&mut self.view().cut_off, all.clone());
        for problem in all.iter().filter(|p| !before.contains(p)) {
            tracing::warn!("{problem}");
        }
    }

    fn cut_off(&self, with_vf: &[&Record]) -> Vec<String> {
        // Nobody has looked yet.
        let Some(inventory) = self.nics.seen() else { return Vec::new() };
        let path = self.uplink_path(&inventory);
        let why = |moved: &MoveVf| match &path {
            Err(no) => Some(no.why.clone()),
            Ok(path) if path.ports.contains(&moved.vf.port) => None,
            Ok(path) => {
                let ports = path.ports.iter().filter_map(|key| inventory.port(key));
                let ports = ports.map(|p| p.netdev.to_string()).collect::<Vec<_>>().join(", ");
                Some(match &path.bond {
                    Some(bond) => format!("{bond}'s active port is {ports}"),
                    None => format!("the node's uplink {} is on {ports}", path.link),
                })
            }
        };
        let problem = |record: &&Record| {
            let moved = eth0(record)?;
            let why = why(moved)?;
            let name = match &record.pod {
                Some(pod) => format!("pod {pod}"),
                None => record.attachment.to_string(),
            };
            Some(format!("{name} is cut off: its {} is {}, and {why}", moved.name, moved.vf))
        };
        with_vf.iter().filter(|r| r.state == State::Ready).filter_map(problem).collect()
    }
}

fn eth0(record: &Record) -> Option<&MoveVf> {
    record.plan.steps.iter().find_map(|step| match step {
        Step::MoveVf(moved) if moved.name == record.attachment.ifname => Some(moved),
        _ => None,
    })
}
