//! What the container runtime goes by.

use super::{Facts, Finding, Kind, Severity};

const MISSING: Kind = Kind {
    id: "conflist-missing",
    severity: Severity::Fault,
    means: "the runtime has no network configuration of Offramp: the node is NotReady, or pods get another network",
    docs: "docs/install.md",
};
const SHADOWED: Kind = Kind {
    id: "conflist-shadowed",
    severity: Severity::Fault,
    means: "another plugin's network configuration comes first: the runtime takes that one",
    docs: "docs/install.md",
};

pub(super) const KINDS: &[Kind] = &[MISSING, SHADOWED];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Ok(Some(conflist)) = &facts.conflist else { return Vec::new() };
    let path = &conflist.path;
    let mut all = Vec::new();
    if !conflist.there {
        all.push(MISSING.found(
            "The network configuration that the daemon writes for the container runtime is not there.",
            [format!("{path} does not exist")],
            "the daemon writes it as soon as it can serve a pod: offrampd status, /readyz and its log say what is missing",
        ));
    }
    if !conflist.before.is_empty() {
        all.push(
            SHADOWED.found(
                "The container runtime takes another network configuration than Offramp's.",
                conflist
                    .before
                    .iter()
                    .map(|other| format!("{other} comes before {path}: the runtime goes by it")),
                format!("remove what is not used any more: rm {}", conflist.before.join(" ")),
            ),
        );
    }
    all
}
