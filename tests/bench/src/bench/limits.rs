//! The project's goals against what was measured: told, never asserted, since the machine has a say too.

use serde::Serialize;

use crate::report::Row;
use crate::stats::Summary;
use crate::subject::{Kind, Stack};

/// One goal: the worst value measured anywhere, and where.
#[derive(Serialize)]
pub struct Limit {
    pub goal: &'static str,
    pub subject: Kind,
    /// Unit as in the goal.
    pub worst: f64,
    pub at: String,
    pub reached: bool,
}

/// How a goal is judged.
struct Rule {
    goal: &'static str,
    subjects: &'static [Kind],
    bound: Bound,
    /// The value of a row, beside the others.
    value: fn(&Row, &[Row]) -> Option<f64>,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const OURS: &[Kind] = &[Kind::Inline, Kind::Node];
const MIB: f64 = 1024.0 * 1024.0;

const RULES: &[Rule] = &[
    Rule {
        goal: "ADD p50: at least 5 x faster than bridge + host-local",
        subjects: OURS,
        bound: Bound::AtLeast(5.0),
        value: |row, rows| ratio(row, rows, |row| row.add),
    },
    Rule {
        goal: "ADD p50: at most 2 ms over the kernel floor",
        subjects: OURS,
        bound: Bound::AtMost(2.0),
        value: |row, rows| over(row, rows, Kind::Floor, |row| row.add),
    },
    Rule {
        goal: "DEL p50: at least 10 x faster than bridge + host-local",
        subjects: &[Kind::Node],
        bound: Bound::AtLeast(10.0),
        value: |row, rows| ratio(row, rows, |row| row.del),
    },
    Rule {
        goal: "DEL p50: no slower than bridge + host-local",
        subjects: &[Kind::Inline],
        bound: Bound::AtLeast(1.0),
        value: |row, rows| ratio(row, rows, |row| row.del),
    },
    Rule {
        goal: "burst of 100 ADDs: at least 5 x faster than bridge + host-local",
        subjects: OURS,
        bound: Bound::AtLeast(5.0),
        value: |row, rows| ratio(row, rows, |row| row.burst_add),
    },
    Rule {
        goal: "CPU of ADD + DEL: at most 1 ms over the kernel floor",
        subjects: OURS,
        bound: Bound::AtMost(1.0),
        value: |row, rows| over(row, rows, Kind::Floor, |row| row.cpu),
    },
    Rule {
        goal: "ADD p50 with 1000 pods: at most 2 x that with 10",
        subjects: OURS,
        bound: Bound::AtMost(2.0),
        value: growth,
    },
    Rule {
        goal: "peak memory of a call: at most 4 MiB",
        subjects: OURS,
        bound: Bound::AtMost(4.0),
        value: |row, _| Some(row.peak_rss as f64 / MIB),
    },
    Rule {
        goal: "memory of the daemon with 250 pods: at most 20 MiB",
        subjects: &[Kind::Node],
        bound: Bound::AtMost(20.0),
        value: |row, _| row.daemon_rss.filter(|_| row.pods == 250).map(|bytes| bytes as f64 / MIB),
    },
];

/// Judges every goal for every subject that was measured.
pub fn judge(rows: &[Row]) -> Vec<Limit> {
    let each = RULES.iter().flat_map(|rule| rule.subjects.iter().map(move |subject| (rule, *subject)));
    each.filter_map(|(rule, subject)| rule.judge(subject, rows)).collect()
}

impl Rule {
    fn judge(&self, subject: Kind, rows: &[Row]) -> Option<Limit> {
        let own = rows.iter().filter(|row| row.subject == subject);
        let measured = own.filter_map(|row| Some((row, (self.value)(row, rows)?)));
        let order = |a: &f64, b: &f64| match self.bound {
            Bound::AtLeast(_) => b.total_cmp(a),
            Bound::AtMost(_) => a.total_cmp(b),
        };
        let (row, worst) = measured.max_by(|(_, a), (_, b)| order(a, b))?;
        let reached = match self.bound {
            Bound::AtLeast(bound) => worst >= bound,
            Bound::AtMost(bound) => worst <= bound,
        };
        let at = format!("{} pods, {}", row.pods, row.stack);
        Some(Limit { goal: self.goal, subject, worst, at, reached })
    }
}

/// How many times faster than the reference plugins.
pub fn ratio(row: &Row, rows: &[Row], part: fn(&Row) -> Option<Summary>) -> Option<f64> {
    let peer = part(row.beside(rows, Kind::Peer)?)?;
    Some(peer.p50 / part(row)?.p50)
}

/// How much more than the floor.
pub fn over(row: &Row, rows: &[Row], floor: Kind, part: fn(&Row) -> Option<Summary>) -> Option<f64> {
    let floor = part(row.beside(rows, floor)?)?;
    Some(part(row)?.p50 - floor.p50)
}

/// ADD at 1000 pods against ADD at 10.
fn growth(row: &Row, rows: &[Row]) -> Option<f64> {
    let small = rows.iter().find(|other| {
        (other.subject, other.stack, other.pods) == (row.subject, Stack::Ipv4, 10) && row.pods == 1000
    })?;
    Some(row.add?.p50 / small.add?.p50)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Tally;

    fn row(subject: Kind, pods: usize, add: f64) -> Row {
        let mut tally = Tally { peak_rss: 5 * 1024 * 1024, ..Tally::default() };
        tally.add.push(add);
        Row::new(subject, Stack::Ipv4, pods, tally)
    }

    #[test]
    fn the_worst_size_decides() {
        let rows = [
            row(Kind::Floor, 10, 1.0),
            row(Kind::Peer, 10, 10.0),
            row(Kind::Inline, 10, 2.0),
            row(Kind::Floor, 1000, 2.0),
            row(Kind::Peer, 1000, 40.0),
            row(Kind::Inline, 1000, 4.5),
        ];
        let limits = judge(&rows);
        let verdict = |start: &str| {
            let limit = limits.iter().find(|limit| limit.goal.starts_with(start)).unwrap();
            (limit.worst, limit.at.as_str(), limit.reached)
        };
        assert_eq!(verdict("ADD p50: at least 5"), (5.0, "10 pods, IPv4", true));
        assert_eq!(verdict("ADD p50: at most 2 ms"), (2.5, "1000 pods, IPv4", false));
        assert_eq!(verdict("ADD p50 with 1000"), (2.25, "1000 pods, IPv4", false));
        assert_eq!(verdict("peak memory"), (5.0, "1000 pods, IPv4", false));
        assert!(limits.iter().all(|limit| limit.subject == Kind::Inline));
    }
}
