//! `offrampd doctor`: what is wrong with the node, and what to do.

use super::units::plural;
use crate::doctor::Examination;
use offramp_core::doctor::{Finding, Severity};
use serde::Serialize;

/// What a script hears by the exit code.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// Faults or warnings; 1.
    #[error("{0}")]
    Findings(String),
    /// The kernel tells nothing; 2.
    #[error("could not look: {0}")]
    Blind(String),
}

impl Unwell {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Findings(_) => 1,
            Self::Blind(_) => 2,
        }
    }
}

/// What `-o json` prints. Keys are only ever added.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    /// What is wrong, the worst first.
    pub findings: &'a [Finding],
    /// What could not be looked at, and why.
    pub not_seen: Vec<String>,
}

impl<'a> Report<'a> {
    /// Of an examination.
    pub fn new(examination: &'a Examination) -> Self {
        Self { findings: &examination.findings, not_seen: examination.facts.unseen() }
    }

    /// How the command ends: hints are no failure, and without links hardly anything could be looked at.
    pub fn outcome(&self, links: Option<&String>) -> Result<(), Unwell> {
        if let Some(why) = links {
            return Err(Unwell::Blind(why.clone()));
        }
        let bad = self.findings.iter().any(|f| f.severity < Severity::Hint);
        if bad { Err(Unwell::Findings(self.counts())) } else { Ok(()) }
    }

    fn counts(&self) -> String {
        let count = |severity| self.findings.iter().filter(|f| f.severity == severity).count();
        let all = [Severity::Fault, Severity::Warning, Severity::Hint].map(|s| (s, count(s)));
        let told = all.iter().filter(|(_, n)| *n > 0).map(|(s, n)| plural(*n, &s.to_string()));
        told.collect::<Vec<_>>().join(", ")
    }

    /// For people.
    pub fn render(&self) -> String {
        let mut parts: Vec<String> = self.findings.iter().map(finding).collect();
        if self.findings.is_empty() {
            let all = self.not_seen.is_empty();
            let nothing = if all {
                "Nothing is wrong.\n"
            } else {
                "Nothing wrong was found in what could be looked at.\n"
            };
            parts.push(nothing.into());
        }
        if !self.not_seen.is_empty() {
            let lines: String = self.not_seen.iter().map(|line| format!("  {line}\n")).collect();
            parts.push(format!("Could not look at:\n{lines}"));
        }
        parts.join("\n")
    }
}

/// A line of `WORD (id): what`, the evidence, and what to do.
fn finding(f: &Finding) -> String {
    let word = f.severity.to_string().to_uppercase();
    let mut text = format!("{word}  {}\n  {}\n", f.id, f.what);
    text.extend(f.evidence.iter().map(|line| format!("    {line}\n")));
    text + &format!("  Do:  {}\n  See: {}\n", f.todo, f.docs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(severity: Severity) -> Finding {
        Finding {
            id: "pf-down".into(),
            severity,
            what: "The port nic0 is down.".into(),
            evidence: vec!["nic0 (igb) is down".into()],
            todo: "ip link set nic0 up".into(),
            docs: "docs/sriov.md".into(),
        }
    }

    #[test]
    fn a_finding_reads_well() {
        let (findings, not_seen) = ([one(Severity::Fault)], vec!["NICs: no".to_owned()]);
        let report = Report { findings: &findings, not_seen };
        assert_eq!(
            report.render(),
            "FAULT  pf-down\n  The port nic0 is down.\n    nic0 (igb) is down\n  Do:  ip link set nic0 up\n  \
             See: docs/sriov.md\n\nCould not look at:\n  NICs: no\n"
        );
        let none = Report { findings: &[], not_seen: Vec::new() };
        assert_eq!(none.render(), "Nothing is wrong.\n");
        let partly = Report { findings: &[], not_seen: vec!["NICs: no".to_owned()] };
        assert!(
            partly.render().starts_with("Nothing wrong was found in what could be looked at.\n\nCould not")
        );
    }

    #[test]
    fn the_exit_code_tells_findings_from_blindness() {
        let code = |findings: &[Finding], links: Option<&String>| {
            Report { findings, not_seen: Vec::new() }.outcome(links).map_err(|e| (e.code(), e.to_string()))
        };
        let (fault, warning, hint) = (one(Severity::Fault), one(Severity::Warning), one(Severity::Hint));
        assert_eq!(code(&[], None), Ok(()));
        assert_eq!(code(std::slice::from_ref(&hint), None), Ok(()));
        assert_eq!(
            code(&[fault, warning.clone(), hint], None),
            Err((1, "1 fault, 1 warning, 1 hint".into()))
        );
        assert_eq!(code(&[warning], Some(&"no".into())), Err((2, "could not look: no".into())));
    }
}
