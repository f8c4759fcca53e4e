//! The state directory: records, claims, room, addresses.

use super::{Attached, Facts, Finding, Kind, Range, Severity, plural, some};
use crate::ids::AttachmentId;
use crate::record::State;

const STALE: Kind = Kind {
    id: "record-stale",
    severity: Severity::Warning,
    means: "an attachment whose pod is gone, or whose ADD or DEL never ended, is still recorded and holds addresses",
    docs: "docs/architecture.md",
};
const UNREADABLE: Kind = Kind {
    id: "record-unreadable",
    severity: Severity::Fault,
    means: "a record or claim cannot be read: nobody can take back what it stands for",
    docs: "docs/architecture.md",
};
const CLAIM: Kind = Kind {
    id: "claim-stale",
    severity: Severity::Warning,
    means: "a VF or queue is lent to an attachment that has no record: nobody uses it, and nobody else gets it",
    docs: "docs/sriov.md",
};
const FULL: Kind = Kind {
    id: "state-dir-full",
    severity: Severity::Fault,
    means: "there is hardly room for records: ADD fails",
    docs: "docs/architecture.md",
};
const ON_DISK: Kind = Kind {
    id: "state-dir-on-disk",
    severity: Severity::Warning,
    means: "the state outlives a reboot, which the namespaces that it describes do not",
    docs: "docs/configuration.md",
};
const SHORT: Kind = Kind {
    id: "addresses-short",
    severity: Severity::Warning,
    means: "a range of pod addresses is nearly exhausted",
    docs: "docs/operations.md",
};

pub(super) const KINDS: &[Kind] = &[STALE, UNREADABLE, CLAIM, FULL, ON_DISK, SHORT];

/// An ADD or DEL that takes longer has died; the longest has 20 s for the daemon and 15 s for a driver.
const LONG: u64 = 120;
/// In percent.
const NEARLY_FULL: u64 = 5;
/// Bytes: thousands of records.
const ENOUGH: u64 = 64 << 20;
/// From how much of a range is used one is warned, in percent; as `offrampd status` does.
const WARN_PERCENT: u64 = 80;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    [stale(facts), unreadable(facts), claims(facts), full(facts), on_disk(facts), short(facts)]
        .into_iter()
        .flatten()
        .collect()
}

fn stale(facts: &Facts) -> Option<Finding> {
    let records = facts.records.as_ref().ok()?;
    let stale: Vec<String> = records.records.iter().filter_map(why_stale).collect();
    let text = format!("{} on record that nothing stands for any more.", plural(stale.len(), "attachment"));
    let todo = "the daemon takes them back by itself at its next looks (reclaim.interval); if it does not, offrampd explain \
                CONTAINER and its log say why";
    (!stale.is_empty()).then(|| STALE.found(text, some(stale), todo))
}

fn why_stale(r: &Attached) -> Option<String> {
    let who = &r.who;
    match r.state {
        State::Adding if r.age > LONG => {
            Some(format!("{who}: its ADD began {} s ago and never ended", r.age))
        }
        State::Deleting if r.age > LONG => Some(format!("{who}: its DEL never ended")),
        State::Ready if r.dead == Ok(true) => {
            let link =
                r.host_link.as_ref().map(|link| format!(", and so is its link {link}")).unwrap_or_default();
            Some(format!("{who}: its network namespace is gone{link}"))
        }
        _ => None,
    }
}

fn unreadable(facts: &Facts) -> Option<Finding> {
    let unreadable = &facts.records.as_ref().ok()?.unreadable;
    let text = format!("{} cannot be read.", plural(unreadable.len(), "file"));
    let todo = "look at the file: one of a newer release is read by that release; a broken one belongs to the pod that its \
                name tells: delete the pod, then the file";
    (!unreadable.is_empty()).then(|| UNREADABLE.found(text, some(unreadable.iter().cloned()), todo))
}

fn claims(facts: &Facts) -> Option<Finding> {
    let (records, nics) = (facts.records.as_ref().ok()?, facts.nics.as_ref().ok()?);
    let has_record = |holder: &AttachmentId| {
        let unreadable = || records.unreadable.iter().any(|why| why.contains(&holder.to_string()));
        records.records.iter().any(|r| r.id == *holder) || unreadable()
    };
    let vfs = nics.claims.iter().filter(|c| !c.in_quarantine() && !has_record(&c.holder));
    let queues = nics.queue_claims.iter().filter(|c| !c.in_quarantine() && !has_record(&c.holder));
    let lost: Vec<String> = vfs.map(ToString::to_string).chain(queues.map(ToString::to_string)).collect();
    let text = format!("{} on VFs or queues of attachments that do not exist.", plural(lost.len(), "claim"));
    let todo = "the daemon cleans them when nobody holds their holder's lock; restart it if it does not";
    (!lost.is_empty()).then(|| CLAIM.found(text, some(lost), todo))
}

fn full(facts: &Facts) -> Option<Finding> {
    let space = facts.space.as_ref().ok()?;
    let percent = |part: u64, of: u64| part.saturating_mul(100) / of.max(1);
    let bytes = percent(space.free, space.total) < NEARLY_FULL && space.free < ENOUGH;
    let inodes = space.inodes > 0 && percent(space.free_inodes, space.inodes) < NEARLY_FULL;
    if !(bytes || inodes) {
        return None;
    }
    let room = format!("{}: {} KiB of {} KiB free", space.path, space.free >> 10, space.total >> 10);
    let files = format!("{} of {} inodes free", space.free_inodes, space.inodes);
    let text = "The file system of the state directory is nearly full: ADD will fail with error 5.";
    Some(FULL.found(
        text,
        [format!("{room}, {files}")],
        format!("find who fills it: du -x -d 2 {}", space.path),
    ))
}

fn on_disk(facts: &Facts) -> Option<Finding> {
    let space = facts.space.as_ref().ok().filter(|space| !space.in_memory)?;
    Some(ON_DISK.found(
        "The state directory is not in memory.",
        [format!("{} is not on a tmpfs", space.path)],
        "set paths.stateDir to a folder below /run",
    ))
}

fn short(facts: &Facts) -> Option<Finding> {
    let short: Vec<String> = facts.told()?.ranges.iter().filter_map(why_short).collect();
    let todo =
        "pods that end free addresses; a larger podCIDR, or fewer pods on this node (kubelet's maxPods)";
    (!short.is_empty()).then(|| SHORT.found("Addresses for pods run short.", short, todo))
}

/// In the words of `offrampd status`.
fn why_short(range: &Range) -> Option<String> {
    let percent = u128::from(range.used) * 100 / u128::from(range.capacity.max(1));
    let free = range.capacity.saturating_sub(range.used);
    let addresses = if free == 1 { "address" } else { "addresses" };
    let text = || format!("range {} is at {}%: {free} {addresses} left", range.subnet, percent.min(100));
    (percent >= u128::from(WARN_PERCENT)).then(text)
}
