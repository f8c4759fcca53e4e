//! The measuring itself: rounds of all subjects, interleaved, first timed, then traced.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::options::Options;
use super::report::{Report, Tally};
use super::subject::{Kind, Machine, log};
use super::trace::Trace;
use crate::process::{Call, run as run_process};
use crate::stats::Series;

const WARM_UP: usize = 2;

/// Measures everything.
pub fn run(options: &Options) -> Result<Report, String> {
    let machine = Machine::new(options)?;
    let mut tallies: Vec<(Kind, [Tally; 2])> =
        machine.subjects().into_iter().map(|kind| (kind, Default::default())).collect();
    let traced = options.rounds.div_ceil(2);
    let mut floor = Series::default();
    for round in 0..WARM_UP + options.rounds {
        eprint!("\rround {} of {}", round + 1, WARM_UP + options.rounds + traced);
        let answer = run_process(&machine.call(Kind::Inline, "VERSION", round, b"")?)?;
        if round >= WARM_UP {
            floor.push(ms(answer.wall));
        }
        for (kind, kept) in &mut tallies {
            let mut ignored = Default::default();
            let tally = if round < WARM_UP { &mut ignored } else { kept };
            timed(&machine, *kind, round, tally)?;
        }
    }
    let trace = Trace::new()?;
    for round in WARM_UP + options.rounds..WARM_UP + options.rounds + traced {
        eprint!("\rround {} of {}", round + 1, WARM_UP + options.rounds + traced);
        for (kind, tally) in &mut tallies {
            let traced = |call: &Call| trace.of(|| run_process(call));
            let calls = pair(&machine, *kind, round, traced, |(done, _)| &done.stdout)?;
            for (tally, (done, calls)) in tally.iter_mut().zip(calls) {
                tally.traced.push((ms(done.wall), calls));
            }
        }
    }
    eprintln!();
    Report::new(options.rounds, &floor, options.any_call, &tallies)
}

/// What a call of the plugin for VERSION costs where this runs, ms (p50).
pub fn any_call(plugin: &Path) -> Result<f64, String> {
    const CALLS: usize = 100;
    let call = Call {
        program: plugin.to_owned(),
        args: Vec::new(),
        env: vec![("CNI_COMMAND", "VERSION".to_owned())],
        stdin: br#"{"cniVersion":"1.0.0"}"#.to_vec(),
    };
    let mut all = Series::default();
    for _ in 0..CALLS {
        all.push(ms(run_process(&call)?.wall));
    }
    all.summary().map(|s| s.p50).ok_or_else(|| "no call was measured".to_owned())
}

fn timed(machine: &Machine, kind: Kind, round: usize, tallies: &mut [Tally; 2]) -> Result<(), String> {
    let call = |call: &Call| Ok((run_process(call)?, steps(kind)));
    let done = pair(machine, kind, round, call, |(done, _)| &done.stdout)?;
    for (tally, (done, steps)) in tallies.iter_mut().zip(done) {
        tally.wall.push(ms(done.wall));
        steps.iter().for_each(|(name, ms)| tally.step(name, *ms));
    }
    Ok(())
}

/// ADD and DEL, each by `call`, after which the VF is as before.
fn pair<T>(
    machine: &Machine,
    kind: Kind,
    round: usize,
    call: impl Fn(&Call) -> Result<T, String>,
    result: impl Fn(&T) -> &[u8],
) -> Result<[T; 2], String> {
    let added = call(&machine.call(kind, "ADD", round, b"")?)?;
    machine.rest();
    let deleted = call(&machine.call(kind, "DEL", round, result(&added))?)?;
    machine.await_free(kind)?;
    machine.rest();
    Ok([added, deleted])
}

/// The steps of the last call, by the plugin's log; other plugins have none.
fn steps(kind: Kind) -> Vec<(String, f64)> {
    let text = std::fs::read_to_string(log(kind)).unwrap_or_default();
    let last =
        text.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok()).unwrap_or_default();
    let ms = |value: &Value| value.as_f64().map(|micros| micros / 1000.0);
    let all = ms(&last["micros"]).map(|all| ("all steps and what is between".to_owned(), all));
    let steps = last["steps"].as_object().into_iter().flatten();
    steps.filter_map(|(name, value)| Some((name.clone(), ms(value)?))).chain(all).collect()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
