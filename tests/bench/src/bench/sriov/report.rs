//! What was measured, as it goes to JSON. Times are milliseconds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::subject::Kind;
use super::trace::{Bound, covered};
use crate::report::Machine;
use crate::stats::{Series, Summary};

/// sriov-cni's medians in the same emulated VM (igb, VLAN 100, delegated host-local), where it is not measured.
const GIVEN_PEER: Times = Times { add: 252.0, del: 190.0 };

/// One run.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub rounds: usize,
    /// A call of the plugin for VERSION: a process that starts, reads its configuration, and answers.
    pub floor: Summary,
    /// The same call on the machine that runs the VM, p50.
    pub native_floor: f64,
    pub subjects: Vec<Row>,
    pub scale: Scale,
    pub goals: Vec<Goal>,
}

/// What ours is compared with.
#[derive(Serialize)]
pub struct Scale {
    pub measured: bool,
    #[serde(flatten)]
    pub times: Times,
}

#[derive(Clone, Copy, Serialize)]
pub struct Times {
    pub add: f64,
    pub del: f64,
}

#[derive(Serialize)]
pub struct Row {
    pub subject: Kind,
    pub add: Verb,
    pub del: Verb,
}

/// ADD or DEL.
#[derive(Serialize)]
pub struct Verb {
    /// Whole processes, from fork to exit.
    pub wall: Summary,
    /// Of these, by the plugin's own log, in order.
    pub steps: Vec<Step>,
    /// As wall, of the calls that were traced.
    pub traced: Summary,
    /// The drivers' system calls of these, whichever process made them.
    pub driver: Summary,
    /// Wall time less the drivers'.
    pub rest: Summary,
    /// What `rest` would be on the machine itself, were all of it slowed down as any call is: an estimate, from p50s.
    pub rest_native: f64,
    pub driver_calls: Vec<DriverCall>,
}

#[derive(Serialize)]
pub struct Step {
    pub name: String,
    pub p50: f64,
}

/// System calls that asked the same of the drivers.
#[derive(Serialize)]
pub struct DriverCall {
    pub what: String,
    /// So many in a call of the plugin, and their time together.
    pub count: f64,
    pub p50: f64,
}

#[derive(Serialize)]
pub struct Goal {
    pub goal: &'static str,
    pub subject: Kind,
    pub value: f64,
    pub at_most: f64,
    pub reached: bool,
}

/// What is gathered of one verb.
#[derive(Default)]
pub struct Tally {
    pub wall: Series,
    pub steps: Vec<(String, Series)>,
    pub traced: Vec<(f64, Vec<Bound>)>,
}

impl Tally {
    pub fn step(&mut self, name: &str, ms: f64) {
        match self.steps.iter_mut().find(|(known, _)| known == name) {
            Some((_, series)) => series.push(ms),
            None => {
                let mut series = Series::default();
                series.push(ms);
                self.steps.push((name.to_owned(), series));
            }
        }
    }

    /// `emulation`: how many times as long any call takes in the VM.
    fn verb(&self, emulation: f64) -> Option<Verb> {
        let mut traced = [Series::default(), Series::default(), Series::default()];
        let mut by_call: BTreeMap<&str, (usize, Series)> = BTreeMap::new();
        for (wall, calls) in &self.traced {
            let driver = covered(calls);
            for (series, ms) in traced.iter_mut().zip([*wall, driver, wall - driver]) {
                series.push(ms);
            }
            let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
            for call in calls {
                *sums.entry(&call.what).or_default() += call.ms();
                by_call.entry(&call.what).or_default().0 += 1;
            }
            sums.into_iter().for_each(|(what, ms)| by_call.entry(what).or_default().1.push(ms));
        }
        let rounds = self.traced.len() as f64;
        let mut driver_calls: Vec<DriverCall> = by_call
            .into_iter()
            .filter_map(|(what, (count, ms))| {
                Some(DriverCall {
                    what: what.to_owned(),
                    count: count as f64 / rounds,
                    p50: ms.summary()?.p50,
                })
            })
            .collect();
        driver_calls.sort_by(|a, b| b.p50.total_cmp(&a.p50));
        let steps = self
            .steps
            .iter()
            .filter_map(|(name, series)| Some(Step { name: name.clone(), p50: series.summary()?.p50 }));
        let [traced, driver, rest] = traced;
        let rest = rest.summary()?;
        Some(Verb {
            wall: self.wall.summary()?,
            steps: steps.collect(),
            traced: traced.summary()?,
            driver: driver.summary()?,
            rest,
            rest_native: rest.p50 / emulation,
            driver_calls,
        })
    }
}

impl Report {
    /// Of the tallies of ADD and DEL.
    pub fn new(
        rounds: usize,
        floor: &Series,
        native_floor: f64,
        tallies: &[(Kind, [Tally; 2])],
    ) -> Result<Self, String> {
        let floor = floor.summary().ok_or("no round was measured")?;
        let emulation = floor.p50 / native_floor;
        let row = |(subject, [add, del]): &(Kind, [Tally; 2])| {
            Some(Row { subject: *subject, add: add.verb(emulation)?, del: del.verb(emulation)? })
        };
        let subjects: Vec<Row> = tallies.iter().filter_map(row).collect();
        let peer = subjects.iter().find(|r| r.subject == Kind::Peer);
        let scale = Scale {
            measured: peer.is_some(),
            times: peer.map_or(GIVEN_PEER, |r| Times { add: r.add.wall.p50, del: r.del.wall.p50 }),
        };
        let ours = subjects.iter().filter(|r| r.subject != Kind::Peer);
        let goals = ours.flat_map(|row| goals(row, scale.times)).collect();
        Ok(Self { machine: Machine::read()?, rounds, floor, native_floor, subjects, scale, goals })
    }
}

fn goals(row: &Row, peer: Times) -> Vec<Goal> {
    let goal = |goal, value: f64, at_most: f64| Goal {
        goal,
        subject: row.subject,
        value,
        at_most,
        reached: value <= at_most,
    };
    vec![
        goal("ADD p50: at most half of sriov-cni's", row.add.wall.p50, peer.add / 2.0),
        goal("DEL p50: at most half of sriov-cni's", row.del.wall.p50, peer.del / 2.0),
        goal("ADD less the drivers' calls, estimate", row.add.rest_native, 5.0),
        goal("DEL less the drivers' calls, estimate", row.del.rest_native, 5.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_is_scaled_by_what_any_call_takes() {
        let mut tally = Tally::default();
        tally.wall.push(100.0);
        tally.traced.push((100.0, vec![Bound { what: "sendto".into(), from: 0.0, to: 0.06 }]));
        let verb = tally.verb(14.0 / 0.7).unwrap();
        assert!((verb.rest.p50 - 40.0).abs() < 1e-6);
        assert!((verb.rest_native - 2.0).abs() < 1e-6, "{}", verb.rest_native);
    }
}
