//! Measures what connects two pods of one node: a bridge with veth or netkit pairs, netkit routed without a bridge, and a
//! veth pair from pod to pod, which is the floor. Run it by `hack/bench path`, which gives it namespaces to work in.

mod options;
mod report;
mod traffic;
mod wire;

use options::Options;
use report::{Report, Row};
use std::process::ExitCode;
use wire::{Kind, Wire};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&args).and_then(|options| options.map_or(Ok(()), |options| run(&options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench path: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let mut rows: Vec<Row> = Vec::new();
    for kind in Kind::ALL {
        let wire = Wire::new(kind)?;
        rows.push(Row::new(kind, wire));
    }
    for round in 0..options.rounds {
        // Each goes first in turn: whatever warms up or slows down meanwhile meets all of them.
        let first = round % rows.len();
        let (before, from) = rows.split_at_mut(first);
        for row in from.iter_mut().chain(before) {
            row.measure(options).map_err(|e| format!("{}, round {}: {e}", row.kind, round + 1))?;
        }
    }
    let report = Report::new(options, &rows)?;
    print!("{}", report.render());
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report).map_err(|e| format!("encode the report: {e}"))?;
        std::fs::write(path, json + "\n").map_err(|e| format!("write {}: {e}", path.display()))?;
        println!("JSON: {}", path.display());
    }
    Ok(())
}
