//! What was measured, as it goes to JSON; the table and the chart are made of it.

use serde::Serialize;

use crate::limits::Limit;
use crate::measure::Tally;
use crate::stats::Summary;
use crate::subject::{Kind, Stack};

/// One run of the benchmark.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub rounds: usize,
    pub bursts: usize,
    pub rows: Vec<Row>,
    pub limits: Vec<Limit>,
}

/// What it ran on.
#[derive(Serialize)]
pub struct Machine {
    pub kernel: String,
    pub cpus: usize,
    pub cpu_model: String,
}

/// One subject at one size. Times are milliseconds, memory is bytes.
#[derive(Serialize)]
pub struct Row {
    pub subject: Kind,
    pub stack: Stack,
    /// Pods present while measuring.
    pub pods: usize,
    pub add: Option<Summary>,
    pub del: Option<Summary>,
    /// CPU time of ADD and DEL together, the daemon's share included.
    pub cpu: Option<Summary>,
    pub burst_add: Option<Summary>,
    pub burst_del: Option<Summary>,
    pub peak_rss: u64,
    pub daemon_rss: Option<u64>,
}

impl Row {
    /// The row of a tally.
    pub fn new(subject: Kind, stack: Stack, pods: usize, tally: Tally) -> Self {
        let Tally { add, del, cpu, burst_add, burst_del, peak_rss, daemon_rss } = tally;
        Self {
            subject,
            stack,
            pods,
            add: add.summary(),
            del: del.summary(),
            cpu: cpu.summary(),
            burst_add: burst_add.summary(),
            burst_del: burst_del.summary(),
            peak_rss,
            daemon_rss,
        }
    }

    /// The row of another subject under the same conditions.
    pub fn beside<'a>(&self, rows: &'a [Self], other: Kind) -> Option<&'a Self> {
        rows.iter().find(|row| (row.subject, row.stack, row.pods) == (other, self.stack, self.pods))
    }
}

impl Machine {
    /// Of this machine.
    pub fn read() -> Result<Self, String> {
        let read = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("read {path}: {e}"));
        let info = read("/proc/cpuinfo")?;
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cpu_model: model.map_or("unknown", |(_, name)| name).to_owned(),
        })
    }
}
