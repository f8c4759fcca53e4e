//! What was measured: for people, and as it goes to JSON.

use crate::options::Options;
use crate::traffic::{pings, stream};
use crate::wire::{Kind, Wire};
use serde::Serialize;
use std::fmt::Write as _;

/// One kind, and what was measured of it so far.
pub struct Row {
    pub kind: Kind,
    wire: Wire,
    micros: Vec<f64>,
    gbits: Vec<f64>,
    cpu_per_gb: Vec<f64>,
}

impl Row {
    /// Nothing was measured yet.
    pub fn new(kind: Kind, wire: Wire) -> Self {
        Self { kind, wire, micros: Vec::new(), gbits: Vec::new(), cpu_per_gb: Vec::new() }
    }

    /// One round.
    pub fn measure(&mut self, options: &Options) -> Result<(), String> {
        let Wire::Ends { a, b, to } = &self.wire else { return Ok(()) };
        self.micros.extend(pings(a, b, *to, options.pings)?);
        let stream = stream(a, b, *to, options.stream)?;
        self.gbits.push(stream.gbits);
        self.cpu_per_gb.push(stream.cpu_per_gb);
        Ok(())
    }
}

/// A run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    kernel: String,
    cpus: usize,
    rounds: usize,
    pings: usize,
    paths: Vec<Measured>,
}

/// Of one kind.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    path: Kind,
    /// Why it could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    lacking: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<Figures>,
}

/// Round trips over all rounds; of the streams, the median round.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    p50_micros: f64,
    p99_micros: f64,
    gbits: f64,
    cpu_seconds_per_gigabyte: f64,
}

impl Report {
    /// Of what was measured, on this machine.
    pub fn new(options: &Options, rows: &[Row]) -> Result<Self, String> {
        let release = "/proc/sys/kernel/osrelease";
        let kernel = std::fs::read_to_string(release).map_err(|e| format!("read {release}: {e}"))?;
        Ok(Self {
            kernel: kernel.trim().to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            rounds: options.rounds,
            pings: options.pings,
            paths: rows.iter().map(measured).collect(),
        })
    }

    /// As a table.
    pub fn render(&self) -> String {
        let mut text = format!(
            "Kernel {}, {} CPUs; {} rounds, interleaved\n\n{:<22}{:>12}{:>12}{:>12}{:>14}\n",
            self.kernel, self.cpus, self.rounds, "", "round trip", "", "one TCP", "CPU seconds"
        );
        let _ =
            writeln!(text, "{:<22}{:>12}{:>12}{:>12}{:>14}", "", "p50, us", "p99, us", "Gbit/s", "per GB");
        for row in &self.paths {
            let _ = match (&row.figures, &row.lacking) {
                (Some(f), _) => writeln!(
                    text,
                    "{:<22}{:>12.1}{:>12.1}{:>12.2}{:>14.3}",
                    row.path, f.p50_micros, f.p99_micros, f.gbits, f.cpu_seconds_per_gigabyte
                ),
                (None, why) => {
                    writeln!(text, "{:<22}  {}", row.path, why.as_deref().unwrap_or("not measured"))
                }
            };
        }
        text
    }
}

fn measured(row: &Row) -> Measured {
    let lacking = match &row.wire {
        Wire::Lacking(why) => Some(why.clone()),
        Wire::Ends { .. } => None,
    };
    let figures = || {
        Some(Figures {
            p50_micros: rank(&row.micros, 0.5)?,
            p99_micros: rank(&row.micros, 0.99)?,
            gbits: rank(&row.gbits, 0.5)?,
            cpu_seconds_per_gigabyte: rank(&row.cpu_per_gb, 0.5)?,
        })
    };
    Measured { path: row.kind, lacking, figures: figures() }
}

/// By nearest rank; none of nothing.
fn rank(samples: &[f64], share: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_nearest() {
        let samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!((rank(&samples, 0.5), rank(&samples, 0.99)), (Some(100.0), Some(198.0)));
        assert_eq!((rank(&[7.0], 0.5), rank(&[], 0.5)), (Some(7.0), None));
    }
}
