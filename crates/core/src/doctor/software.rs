//! Daemon and plugin.

use super::{Facts, Finding, Kind, Reply, Severity};

const CONFIG: Kind = Kind {
    id: "config-unreadable",
    severity: Severity::Fault,
    means: "the daemon's configuration is there, but does not load: the daemon does not start with it",
    docs: "docs/configuration.md",
};
const AWAY: Kind = Kind {
    id: "daemon-away",
    severity: Severity::Fault,
    means: "the daemon does not answer: no pod can be attached",
    docs: "docs/operations.md",
};
const SKEW: Kind = Kind {
    id: "version-skew",
    severity: Severity::Warning,
    means: "plugin, daemon and command line are not of one version",
    docs: "docs/operations.md",
};
const TOLD: Kind = Kind {
    id: "daemon-problem",
    severity: Severity::Warning,
    means: "the daemon reports a problem that no other finding explains",
    docs: "docs/operations.md",
};

pub(super) const KINDS: &[Kind] = &[CONFIG, AWAY, SKEW];
pub(super) const LAST: &[Kind] = &[TOLD];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    config(facts).into_iter().chain(away(facts)).chain(skew(facts)).collect()
}

fn config(facts: &Facts) -> Option<Finding> {
    let why = facts.broken_config.as_ref()?;
    Some(CONFIG.found(
        "The daemon's configuration does not load: the daemon does not start with it, and much was not looked at here.",
        why.lines().map(|line| line.trim().to_owned()),
        "put right what is named; docs/configuration.md has all keys",
    ))
}

fn away(facts: &Facts) -> Option<Finding> {
    let Reply::Away(why) = &facts.daemon else { return None };
    facts.expects_daemon().then(|| {
        AWAY.found(
            "The daemon does not answer on this node: new pods wait for it, and nothing is repaired.",
            [why.clone()],
            "kubectl -n kube-system get pods -o wide -l app.kubernetes.io/name=offramp, and the log of this node's; or \
             offrampd run --config /etc/offramp/offrampd.yaml",
        )
    })
}

fn skew(facts: &Facts) -> Option<Finding> {
    let mut versions = vec![("this command", facts.version.as_str())];
    versions.extend(facts.told().map(|told| ("the daemon", told.version.as_str())));
    versions.extend(facts.plugin.as_ref().ok().and_then(Option::as_deref).map(|v| ("the plugin", v)));
    let mut evidence: Vec<String> =
        versions.iter().map(|(what, version)| format!("{what}: {version}")).collect();
    let differ = versions.iter().any(|(_, version)| *version != facts.version);
    if let Reply::Stranger(why) = &facts.daemon {
        evidence.push(why.clone());
    } else if !differ {
        return None;
    }
    Some(SKEW.found(
        "Not all parts of Offramp on this node are of one version.",
        evidence,
        "roll out the DaemonSet: its pods install the plugin and run the daemon; kubectl -n kube-system rollout restart \
         daemonset offramp",
    ))
}

/// What the daemon reports, and is in no finding's evidence yet.
pub(super) fn told(facts: &Facts, findings: &[Finding]) -> Option<Finding> {
    // It may say behind the name of one of its loops what a finding shows.
    let shows = |f: &Finding, problem: &String| f.evidence.iter().any(|line| problem.contains(line));
    let known = |problem: &&String| findings.iter().any(|f| shows(f, problem));
    let problems = facts.told()?.problems.iter();
    let new: Vec<String> = problems.filter(|problem| !known(problem)).cloned().collect();
    (!new.is_empty()).then(|| TOLD.found("The daemon reports problems.", new, "offrampd status"))
}
