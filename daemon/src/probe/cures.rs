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

    /// The last trial has helped, or not.
    pub fn conclude(&mut self, node: &Node, helps: bool) -> Result<()> {
        if helps {
            self.0.iter_mut().for_each(|cure| cure.helps = true);
            return self.keep(node);
        }
        self.put_back(node, |cure| !cure.helps)
    }

    /// Brings what is kept in line with the devices: on another uplink nothing is known to be needed; a tunnel device that was
    /// made anew on the same one needs what the former one did; of a device that is gone nothing is left.
    pub fn follow(&mut self, node: &Node, links: &Links) -> Result<()> {
        let before = self.0.clone();
        self.put_back(node, |cure| !cure.helps || cure.uplink != links.uplink.1)?;
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

    /// Turns on again all for which `which` holds, where the device is still the one that it was.
    pub fn put_back(&mut self, node: &Node, which: impl Fn(&Cure) -> bool) -> Result<()> {
        if !self.0.iter().any(&which) {
            return Ok(());
        }
        let (mut failed, mut left) = (Ok(()), Vec::new());
        for cure in std::mem::take(&mut self.0) {
            if !which(&cure) {
                left.push(cure);
                continue;
            }
            let turned = features::number(&cure.rung.device).and_then(|number| match number {
                Some(number) if number == cure.device => features::turn(&cure.rung, true),
                // Another one of that name has all on.
                _ => Ok(()),
            });
            if let Err(e) = turned {
                failed = Err(e);
                left.push(cure);
            }
        }
        self.0 = left;
        self.keep(node)?;
        failed
    }

    fn keep(&self, node: &Node) -> Result<()> {
        let failed = |e: offramp_ledger::Error| offramp_kernel::Error::Unfit {
            what: "what offloads are turned off".into(),
            why: e.to_string(),
        };
        node.store.keep(KEPT, &self.0).map_err(failed)
    }
}
