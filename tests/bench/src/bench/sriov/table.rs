//! The report for people.

use std::fmt::Write as _;

use super::report::{Report, Row, Verb};

/// Times, then where they go, then the verdicts.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let machine = &report.machine;
    let _ = writeln!(
        text,
        "\nKernel {} in an emulated machine, igb; {} rounds, whole processes from fork to exit, ms\n",
        machine.kernel, report.rounds
    );
    let _ = writeln!(
        text,
        "                         | ADD                                          | DEL\n\
         \x20                        |    p50    min |  traced  driver   rest estim. |    p50    min |  traced  driver   rest estim."
    );
    for row in &report.subjects {
        let _ = writeln!(text, "  {:<23}|{} |{}", row.subject.title(), times(&row.add), times(&row.del));
    }
    let floor = report.floor;
    let _ = writeln!(text, "  {:<23}|{:>7.2}{:>7.2} |", "  of these, any call", floor.p50, floor.min);
    let _ = writeln!(text, "  {:<23}|{:>7.2}        |", "  any call, not emulated", report.native_floor);
    if !report.scale.measured {
        let scale = report.scale.times;
        let _ = writeln!(
            text,
            "  {:<23}|{:>7.2}        |                               |{:>7.2}",
            "sriov-cni, as given", scale.add, scale.del
        );
    }
    let _ = writeln!(
        text,
        "\nestim.: what rest would be on the machine itself, an estimate: rest x {:.2} / {:.2}",
        report.native_floor, floor.p50
    );
    for row in &report.subjects {
        parts(&mut text, row);
    }
    verdicts(&mut text, report);
    text
}

fn times(verb: &Verb) -> String {
    let Verb { wall, traced, driver, rest, rest_native, .. } = verb;
    let whole = format!("{:>7.2}{:>7.2}", wall.p50, wall.min);
    format!("{whole} | {:>7.2} {:>7.2}{:>7.2}{rest_native:>7.2}", traced.p50, driver.p50, rest.p50)
}

fn parts(text: &mut String, row: &Row) {
    for (name, verb) in [("ADD", &row.add), ("DEL", &row.del)] {
        let _ = writeln!(text, "\n{}, {name}", row.subject.title());
        for step in &verb.steps {
            let _ = writeln!(text, "  {:>8.2}  {}", step.p50, step.name);
        }
        let _ = writeln!(text, "  of a traced call's {:.2} the drivers' system calls:", verb.traced.p50);
        for call in &verb.driver_calls {
            let _ = writeln!(text, "  {:>8.2}  {:>4.1} x {}", call.p50, call.count, call.what);
        }
    }
}

fn verdicts(text: &mut String, report: &Report) {
    let scale = if report.scale.measured {
        "sriov-cni was measured in this run"
    } else {
        "sriov-cni was not measured here: its times are those that the goals were set by"
    };
    let _ = writeln!(text, "\nGoals, in ms ({scale}):");
    for goal in &report.goals {
        let verdict = if goal.reached { "reached" } else { "not reached" };
        let _ = writeln!(
            text,
            "  {:<42} {:<21} {:>7.2} of {:>6.2}  {verdict}",
            goal.goal,
            goal.subject.title(),
            goal.value,
            goal.at_most
        );
    }
}
