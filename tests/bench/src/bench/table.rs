//! The report for people.

use std::fmt::Write as _;

use crate::limits::{over, ratio};
use crate::report::{Report, Row};
use crate::stats::Summary;
use crate::subject::Kind;

const HEAD: [&str; 3] = [
    "                           | ADD, ms                    | DEL, ms                    | CPU, ms       | burst of 100, ms     | peak",
    "                           |    p50    p95  peer/  over |    p50    p95  peer/  over |  both    over |    ADD  peer/    DEL |  RSS",
    "                           |                 own  floor |                 own  floor |         floor |          own         |  KiB",
];

/// All rows, then the verdicts.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let machine = &report.machine;
    let _ = writeln!(text, "\nKernel {}, {} x {}", machine.kernel, machine.cpus, machine.cpu_model);
    let _ = writeln!(
        text,
        "Whole processes from fork to exit, interleaved: {} rounds, {} bursts (8 at a time)\n\n{}",
        report.rounds,
        report.bursts,
        HEAD.join("\n")
    );
    let mut section = String::new();
    for row in &report.rows {
        let title = format!("{} pods present, {}", row.pods, row.stack);
        if title != section {
            let _ = writeln!(text, "{title}");
            section = title;
        }
        let _ = writeln!(text, "{}", line(row, &report.rows));
    }
    verdicts(&mut text, report);
    text
}

fn line(row: &Row, rows: &[Row]) -> String {
    let compared = row.subject.is_ours();
    let faster = |part| ratio(row, rows, part).filter(|_| row.subject != Kind::Peer);
    let extra = |floor, part| over(row, rows, floor, part).filter(|_| compared || row.subject == Kind::Peer);
    format!(
        "  {:<25}|{}{}{}{} |{}{}{}{} |{}{} |{}{}{} |{:>5}",
        row.subject.title(),
        number(p50(row.add)),
        number(row.add.map(|add| add.p95)),
        times(faster(|row| row.add)),
        plus(extra(Kind::Floor, |row| row.add)),
        number(p50(row.del)),
        number(row.del.map(|del| del.p95)),
        times(faster(|row| row.del)),
        plus(extra(row.subject.del_floor(), |row| row.del)),
        number(p50(row.cpu)),
        plus(extra(Kind::Floor, |row| row.cpu)),
        number(p50(row.burst_add)),
        times(faster(|row| row.burst_add)),
        number(p50(row.burst_del)),
        row.peak_rss / 1024,
    )
}

fn verdicts(text: &mut String, report: &Report) {
    if report.limits.is_empty() {
        let _ = writeln!(text, "\nNo goal to judge: Offramp itself was not measured.");
        return;
    }
    let _ = writeln!(text, "\nGoals, each by its worst case:");
    for limit in &report.limits {
        let verdict = if limit.reached { "reached" } else { "not reached" };
        let _ = writeln!(
            text,
            "  {:<64} {:<7} {:>7.2}  {:<16} {verdict}",
            limit.goal,
            limit.subject.key(),
            limit.worst,
            limit.at
        );
    }
}

fn p50(summary: Option<Summary>) -> Option<f64> {
    summary.map(|summary| summary.p50)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(
        || format!("{:>7}", "-"),
        |value| if value < 1000.0 { format!("{value:>7.2}") } else { format!("{value:>7.0}") },
    )
}

fn times(value: Option<f64>) -> String {
    value.map_or_else(|| format!("{:>7}", ""), |value| format!("{value:>6.1}x"))
}

fn plus(value: Option<f64>) -> String {
    value.map_or_else(
        || format!("{:>7}", ""),
        |value| if value.abs() < 1000.0 { format!("{value:>+7.2}") } else { format!("{value:>+7.0}") },
    )
}
