//! What is turned off: tried, found to help or taken back, and put on again when it is not needed any more. What was turned
//! off is on disk before it is, so that it is known to whoever comes after a daemon that was killed.

use super::features;
use crate::node::{Node, now};
use crate::overlay::Links;
use offramp_core::probe::{Kind, Rung, Stage};
use offramp_kernel::Result;
use serde::{Deserialize, Serialize};

/// Its name among what the daemon keeps.
const KEPT: &str = "offloads";

/// Features that are off, since something did not arrive with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cure {
    /// What is off, at which device.
    pub rung: Rung,
    /// The device's number: another one of its name has all on again.
    pub device: u32,
    /// The uplink's number when it helped: with another one it may not be needed.
    pub uplink: u32,
    /// Where it was found.
    pub kind: Kind,
    /// What did not arrive.
    pub stage: Stage,
    /// When, in seconds since 1970.
    pub since: u64,
    /// Whether it was found to help; a trial is taken back by whoever finds it.
    pub helps: bool,
}

/// What came of putting back.
#[derive(Debug)]
pub struct PutBack {
    /// What is on again.
    pub on: Vec<Rung>,
    /// Why something is not: that stays on record.
    pub outcome: Result<()>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Cures(Vec<Cure>);

impl Cures {
    /// Those of a former daemon.
    pub fn recall(node: &Node) -> Self {
        Self(
            node.store
                .kept(KEPT)
                .unwrap_or_else(|e| {
                    tracing::warn!(error = %e, "what offloads were turned off is not known any more");
                    None
                })
                .unwrap_or_default(),
        )
    }

    /// Those that are in force.
    pub fn all(&self) -> &[Cure] {
        &self.0
    }

    /// Turns a rung's features off for a trial.
    pub fn attempt(
        &mut self,
        node: &Node,
        rung: Rung,
        (kind, stage): (Kind, Stage),
        links: &Links,
    ) -> Result<()> {
        let (device, uplink) = (links.number(&rung.device).unwrap_or(0), links.uplink.1);
        self.0.push(Cure { rung: rung.clone(), device, uplink, kind, stage, since: now(), helps: false });
        self.keep(node)?;
        features::turn(&rung, false)
    }

    /// The last trial has helped, or not. One before it that could not be taken back has not helped.
    pub fn conclude(&mut self, node: &Node, helps: bool) -> Result<()> {
        if helps {
            self.0.last_mut().into_iter().for_each(|cure| cure.helps = true);
            return self.keep(node);
        }
        self.put_back(node, |cure| !cure.helps).outcome
    }

    /// Whether there is anything that is not known to be needed any more: [`Self::follow`] puts it back.
    pub fn in_doubt(&self, links: &Links) -> bool {
        self.0.iter().any(|cure| is_doubtful(cure, links))
    }

    /// Brings what is kept in line with the devices: on another uplink nothing is known to be needed; a tunnel device that was
    /// made anew on the same one needs what the former one did; of a device that is gone nothing is left.
    pub fn follow(&mut self, node: &Node, links: &Links) -> Result<()> {
        let before = self.0.clone();
        self.put_back(node, |cure| is_doubtful(cure, links)).outcome?;
        self.0.retain(|cure| links.number(&cure.rung.device).is_some());
        let mut failed = Ok(());
        for cure in &mut self.0 {
            let number = links.number(&cure.rung.device).unwrap_or(0);
            if cure.device != number {
                failed = failed.and(features::turn(&cure.rung, false));
                cure.device = number;
            }
        }
        if self.0 != before {
            self.keep(node)?;
        }
        failed
    }

    /// Turns on again all for which `which` holds, where the device is still the one that it was. What was turned off last comes
    /// first: when it was, those before it were off (a device that fills in no checksums takes no segmentation).
    pub fn put_back(&mut self, node: &Node, which: impl Fn(&Cure) -> bool) -> PutBack {
        let mut result = PutBack { on: Vec::new(), outcome: Ok(()) };
        if !self.0.iter().any(&which) {
            return result;
        }
        let mut left = Vec::new();
        for cure in std::mem::take(&mut self.0).into_iter().rev() {
            if !which(&cure) {
                left.push(cure);
                continue;
            }
            match turn_on(&cure) {
                Ok(true) => result.on.push(cure.rung),
                Ok(false) => {}
                Err(e) => {
                    result.outcome = Err(e);
                    left.push(cure);
                }
            }
        }
        left.reverse();
        self.0 = left;
        result.outcome = self.keep(node).and(result.outcome);
        result
    }

    fn keep(&self, node: &Node) -> Result<()> {
        let failed = |e: offramp_ledger::Error| offramp_kernel::Error::Unfit {
            what: "what offloads are turned off".into(),
            why: e.to_string(),
        };
        node.store.keep(KEPT, &self.0).map_err(failed)
    }
}

/// A trial of a daemon that was killed; or with another uplink than the one that it helped with.
fn is_doubtful(cure: &Cure, links: &Links) -> bool {
    !cure.helps || cure.uplink != links.uplink.1
}

/// False: the device is gone, and another one of its name has all on.
fn turn_on(cure: &Cure) -> Result<bool> {
    if features::number(&cure.rung.device)? != Some(cure.device) {
        return Ok(false);
    }
    features::turn(&cure.rung, true).map(|()| true)
}
