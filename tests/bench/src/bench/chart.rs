//! The report as an SVG chart: a panel each for ADD, DEL and bursts, a bar for each subject at each size.

use std::fmt::Write as _;

use crate::measure::BURST;
use crate::report::{Report, Row};
use crate::stats::Summary;
use crate::subject::{Kind, Stack};

const WIDTH: f64 = 860.0;
/// Where bars begin and end, and the room for their labels behind that.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 770.0;
const BAR: f64 = 15.0;
const GROUP_GAP: f64 = 12.0;

/// One panel: its title, whom it leaves out, and what it shows of a row.
struct Panel {
    title: String,
    shows: fn(Kind) -> bool,
    value: fn(&Row) -> Option<Summary>,
}

/// The chart of the IPv4 rows.
pub fn render(report: &Report) -> String {
    let panels = [
        Panel {
            title: "ADD, ms (bar: median, line: 95th percentile)".into(),
            shows: |kind| kind != Kind::FloorNotify,
            value: |row| row.add,
        },
        Panel { title: "DEL, ms".into(), shows: |_| true, value: |row| row.del },
        Panel {
            title: format!("{BURST} ADDs, 8 at a time, ms"),
            shows: |kind| kind != Kind::FloorNotify,
            value: |row| row.burst_add,
        },
    ];
    let rows: Vec<&Row> = report.rows.iter().filter(|row| row.stack == Stack::Ipv4).collect();
    let mut body = String::new();
    let mut y = 20.0;
    for panel in &panels {
        y = draw_panel(&mut body, panel, &rows, y);
    }
    let machine = &report.machine;
    text(&mut body, 16.0, y + 8.0, "note", &footnote(&machine.kernel, machine.cpus, &machine.cpu_model));
    let height = y + 24.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"ADD, DEL and burst times of Offramp, the reference plugins and the kernel floor\">\n\
         <style>text{{font:12px system-ui,sans-serif;fill:#222}}.title{{font-weight:600;font-size:14px}}\
         .size{{font-weight:600}}.note{{fill:#777;font-size:11px}}.name,.size{{text-anchor:end}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn footnote(kernel: &str, cpus: usize, model: &str) -> String {
    format!(
        "Whole processes, fork to exit, interleaved, by pods present; IPv4; Linux {kernel}, {cpus} x {model}"
    )
}

/// Draws from `y` down and returns where the next panel may begin.
fn draw_panel(body: &mut String, panel: &Panel, rows: &[&Row], mut y: f64) -> f64 {
    let shown: Vec<(&Row, Summary)> = rows
        .iter()
        .filter(|row| (panel.shows)(row.subject))
        .filter_map(|row| Some((*row, (panel.value)(row)?)))
        .collect();
    let largest = shown.iter().map(|(_, summary)| summary.p95).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (RIGHT - LEFT) / largest;
    text(body, 16.0, y, "title", &panel.title);
    y += 8.0;
    let mut size = None;
    for (row, summary) in shown {
        if size != Some(row.pods) {
            y += if size.is_some() { GROUP_GAP } else { 0.0 };
            text(body, 40.0, y + BAR - 4.0, "size", &row.pods.to_string());
            size = Some(row.pods);
        }
        draw_bar(body, row, summary, scale, y);
        y += BAR;
    }
    y + 34.0
}

fn draw_bar(body: &mut String, row: &Row, summary: Summary, scale: f64, y: f64) {
    let (end, tail) = (LEFT + summary.p50 * scale, LEFT + summary.p95 * scale);
    let middle = y + (BAR - 3.0) / 2.0;
    text(body, LEFT - 6.0, y + BAR - 4.0, "name", row.subject.title());
    let _ = writeln!(
        body,
        "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{}\" fill=\"{}\"/>\
         <path d=\"M{end:.1} {middle:.1}H{tail:.1}\" stroke=\"#222\" stroke-width=\"1\"/>",
        summary.p50 * scale,
        BAR - 3.0,
        colour(row.subject),
    );
    let digits = if summary.p50 < 100.0 { 1 } else { 0 };
    text(body, tail + 5.0, y + BAR - 4.0, "value", &format!("{:.digits$}", summary.p50));
}

fn text(body: &mut String, x: f64, y: f64, class: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{content}</text>");
}

fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Floor => "#b5b5b5",
        Kind::FloorNotify => "#d4d4d4",
        Kind::Peer => "#e08a3c",
        Kind::Inline => "#4f8fd0",
        Kind::Node => "#1f5a9e",
    }
}
