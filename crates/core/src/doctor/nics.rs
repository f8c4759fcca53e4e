//! NICs, their VFs, and their embedded switches.

use super::{Facts, Finding, Kind, Nics, Severity, Wanted, plural, some};
use crate::lend::Taken;
use crate::nic::{Port, Vf, VfNetdev};
use crate::pool::{NicRule, nic_change, rule_of};
use crate::vf::{Claimed, VfState};
use std::collections::BTreeSet;

const PF_DOWN: Kind = Kind {
    id: "pf-down",
    severity: Severity::Fault,
    means: "a port whose VFs are wanted or lent is down: they have no carrier",
    docs: "docs/sriov.md",
};
const VFS: Kind = Kind {
    id: "vfs-otherwise",
    severity: Severity::Fault,
    means: "a port has not the VFs, or not the mode of its embedded switch, that the configuration wants",
    docs: "docs/sriov.md",
};
const LEFTOVER: Kind = Kind {
    id: "vf-leftover",
    severity: Severity::Warning,
    means: "a VF that nobody has still has a VLAN, trust, a MAC, a rate limit, or its spoof check off where others' is on",
    docs: "docs/sriov.md",
};
const ASTRAY: Kind = Kind {
    id: "vf-astray",
    severity: Severity::Warning,
    means: "a VF's netdev is in another namespace, and nobody is recorded to have it",
    docs: "docs/sriov.md",
};
const QUARANTINED: Kind = Kind {
    id: "vf-quarantined",
    severity: Severity::Warning,
    means: "a VF could not be cleaned: nobody gets it",
    docs: "docs/sriov.md",
};
const QUEUE_QUARANTINED: Kind = Kind {
    id: "queue-quarantined",
    severity: Severity::Warning,
    means: "a queue that was given back is not free for sure: nobody gets it",
    docs: "docs/offloads.md",
};
const QUEUES_SHARED: Kind = Kind {
    id: "queues-shared",
    severity: Severity::Warning,
    means: "a NIC spreads everybody's packets over queues to which a pod's are led: they are not the pod's alone",
    docs: "docs/offloads.md",
};
const FILTER: Kind = Kind {
    id: "eswitch-fdb-missing",
    severity: Severity::Fault,
    means: "a NIC does not know addresses behind the bridge that it is a port of: its VFs cannot reach them",
    docs: "docs/embedded-switch.md",
};
const REPRESENTOR: Kind = Kind {
    id: "representor-not-offloading",
    severity: Severity::Warning,
    means: "an embedded switch leaves forwarding between its ports to the CPU",
    docs: "docs/embedded-switch.md",
};
const QUEUES: Kind = Kind {
    id: "queues-below-cpus",
    severity: Severity::Hint,
    means: "a NIC uses fewer queues than there are CPUs, and could use more",
    docs: "docs/operations.md",
};

pub(super) const KINDS: &[Kind] = &[
    PF_DOWN,
    VFS,
    LEFTOVER,
    ASTRAY,
    QUARANTINED,
    QUEUE_QUARANTINED,
    QUEUES_SHARED,
    FILTER,
    REPRESENTOR,
    QUEUES,
];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    if let Ok(nics) = &facts.nics {
        all.extend(
            nics.inventory.ports.iter().filter_map(|port| pf_down(facts.wanted.as_ref().ok(), nics, port)),
        );
        if let Ok(wanted) = &facts.wanted {
            all.extend(nics.inventory.ports.iter().filter_map(|port| vfs_otherwise(wanted, nics, port)));
        }
        all.extend(leftover(nics).into_iter().chain(astray(nics)));
        all.extend(quarantined(nics).into_iter().chain(queue_quarantined(nics)));
        all.extend(nics.inventory.ports.iter().filter_map(|port| queues(facts, port)));
    }
    all.extend(queues_shared(facts).into_iter().chain(filters(facts)).chain(representors(facts)));
    all
}

/// A port of whose VFs somebody may make use.
fn pf_down(wanted: Option<&Wanted>, nics: &Nics, port: &Port) -> Option<Finding> {
    let lent = nics.claims.iter().filter(|c| c.vf.port == port.key).count();
    let rule = wanted.and_then(|w| rule_of(&w.nics, port)).and_then(|rule: &NicRule| rule.num_vfs);
    let is_pooled = |vf: &Vf| {
        let selects = |w: &Wanted| {
            w.pools
                .iter()
                .any(|pool| pool.selectors.iter().any(|s| s.selects(port, vf, vf.driver.as_deref())))
        };
        wanted.is_some_and(selects)
    };
    let pooled = port.vfs.iter().filter(|vf| is_pooled(vf)).count();
    if port.up || (lent == 0 && pooled == 0 && rule.is_none_or(|n| n == 0)) {
        return None;
    }
    let name = &port.netdev;
    let evidence = format!(
        "{name} ({}) is down; of its {}, {pooled} in pools, {lent} not free",
        port.driver,
        plural(port.vfs.len(), "VF"),
    );
    let text = format!("The port {name} is down: its VFs have no carrier, and some drivers make none.");
    Some(PF_DOWN.found(
        text,
        [evidence],
        format!("ip link set {name} up, and in the node's own network configuration"),
    ))
}

fn vfs_otherwise(wanted: &Wanted, nics: &Nics, port: &Port) -> Option<Finding> {
    let rule = rule_of(&wanted.nics, port)?;
    let (name, taken) = (&port.netdev, nics.claims.iter().collect::<Taken>());
    let text = format!("The port {name} is not as the configuration wants it (nics).");
    match nic_change(rule, port, &taken, &[]) {
        Ok(None) => None,
        Ok(Some(change)) => {
            let mode = change.eswitch.map(|mode| format!(" in {mode} mode")).unwrap_or_default();
            let evidence = format!("{name} has {}, wanted are {}{mode}", plural(port.num_vfs.into(), "VF"), change.num_vfs);
            Some(VFS.found(text, [evidence], "the daemon changes it as soon as it may: offrampd status says what is in the way"))
        }
        Err(problem) => Some(VFS.found(
            text,
            [problem.to_string()],
            "let the daemon do it (nics[].manage: true), change what is wanted, or end the pods that have its VFs",
        )),
    }
}

fn leftover(nics: &Nics) -> Option<Finding> {
    let mut evidence = Vec::new();
    let mut commands = Vec::new();
    for (port, vf) in nics.inventory.vfs() {
        let Some(Ok(state)) = nics.free.get(&vf.pci) else { continue };
        let beside = port.vfs.iter().filter(|other| other.pci != vf.pci);
        let mut free = beside.filter_map(|other| nics.free.get(&other.pci)?.as_ref().ok());
        let is_checked = free.any(|other| other.pf_side.spoofchk == Some(true));
        let (has, undo): (Vec<_>, Vec<_>) = leftovers(state, is_checked).into_iter().unzip();
        if !has.is_empty() {
            evidence.push(format!("VF {} of {} ({}) has {}", vf.index, port.netdev, vf.pci, has.join(", ")));
            commands.push(format!("ip link set {} vf {} {}", port.netdev, vf.index, undo.join(" ")));
        }
    }
    let text = format!("{} that nobody has, but with settings of somebody.", plural(evidence.len(), "VF"));
    let todo = format!("if nobody means it so: {}", commands.join("; "));
    (!evidence.is_empty()).then(|| LEFTOVER.found(text, some(evidence), todo))
}

/// What a VF has that a new one has not, and the words of `ip link set` against it. Some drivers never check for spoofing,
/// and some do so only once told: that it is off shows nothing by itself, unless free VFs beside it are checked.
fn leftovers(state: &VfState, others_checked: bool) -> Vec<(String, String)> {
    let pf = &state.pf_side;
    let mut all = Vec::new();
    if let Some(tag) = pf.vlan.filter(|tag| tag.id.is_some()) {
        all.push((tag.to_string(), "vlan 0".to_owned()));
    }
    if pf.trust == Some(true) {
        all.push(("trust on".into(), "trust off".into()));
    }
    if let Some(rate) = pf.max_tx_rate.filter(|rate| *rate > 0) {
        all.push((format!("max_tx_rate {rate}"), "max_tx_rate 0".into()));
    }
    // One that is the netdev's own does no harm: some drivers never tell another.
    let own = state.netdev.as_ref().map(|n| n.mac);
    if let (Some(mac), Some(own)) = (pf.mac, own)
        && mac != own
    {
        all.push((format!("mac {mac}, where its netdev has {own}"), "mac 00:00:00:00:00:00".into()));
    }
    let unchecked = pf.spoofchk == Some(false) && state.representor.is_none() && pf.trust.is_some();
    if unchecked && (others_checked || !all.is_empty()) {
        all.push(("spoofchk off".into(), "spoofchk on".into()));
    }
    all
}

fn astray(nics: &Nics) -> Option<Finding> {
    let held = |vf: &Vf| nics.claims.iter().any(|c| c.vf.pci == vf.pci);
    let away = nics.inventory.vfs().filter_map(|(port, vf)| match &vf.netdev {
        VfNetdev::Elsewhere { netns, name } if !held(vf) => {
            let netns = netns.as_deref().unwrap_or("a namespace that was not found");
            let name = name.as_ref().map_or("its netdev".into(), ToString::to_string);
            Some(format!("VF {} of {} ({}): {name} is in {netns}", vf.index, port.netdev, vf.pci))
        }
        _ => None,
    });
    let away: Vec<String> = away.collect();
    let text = format!("{} in a namespace of somebody whom Offramp does not know.", plural(away.len(), "VF"));
    let todo =
        "another plugin may use it: keep it out of the pools (pools[].selectors); else end that namespace";
    (!away.is_empty()).then(|| ASTRAY.found(text, some(away), todo))
}

/// Of one whose first cleaning is under way nothing is wrong.
fn has_failed(state: &Claimed) -> bool {
    matches!(state, Claimed::Quarantine { attempts, .. } if *attempts > 0)
}

fn quarantined(nics: &Nics) -> Option<Finding> {
    let failed = nics.claims.iter().filter(|c| has_failed(&c.state));
    let all: Vec<String> = failed.map(ToString::to_string).collect();
    let text = format!("{} cannot be cleaned, and nobody gets them.", plural(all.len(), "VF"));
    let todo = "end what still has it open, or put right what is named; the daemon tries again once a minute";
    (!all.is_empty()).then(|| QUARANTINED.found(text, some(all), todo))
}

fn queue_quarantined(nics: &Nics) -> Option<Finding> {
    let failed = nics.queue_claims.iter().filter(|c| has_failed(&c.state));
    let all: Vec<String> = failed.map(ToString::to_string).collect();
    let text = format!("{} cannot be given to anybody.", plural(all.len(), "queue"));
    let todo = "put right what is named, or end the pod that still has it; the daemon looks again by itself";
    (!all.is_empty()).then(|| QUEUE_QUARANTINED.found(text, some(all), todo))
}

fn queues_shared(facts: &Facts) -> Option<Finding> {
    let all = facts.shared_queues.as_deref().unwrap_or_default();
    let nics: BTreeSet<&str> = all.iter().map(|shared| shared.nic.as_str()).collect();
    let commands: Vec<String> = nics.iter().map(|nic| format!("ethtool -X {nic} equal N")).collect();
    let text =
        format!("Others' packets come by queues that {} should have alone.", plural(all.len(), "interface"));
    let todo = format!(
        "{}: N is the first queue of the pool on that NIC; after each boot, and whenever the driver was loaded anew",
        commands.join("; ")
    );
    let evidence = some(all.iter().map(ToString::to_string));
    (!all.is_empty()).then(|| QUEUES_SHARED.found(text, evidence, todo))
}

fn filters(facts: &Facts) -> Vec<Finding> {
    let filters = facts.filters.as_deref().unwrap_or_default();
    let found = |f: &super::Filter| {
        let (port, known) = (&f.port, f.wanted.saturating_sub(f.missing.len()));
        let text = format!("The embedded switch of {port} drops what its VFs send to pods on the bridge.");
        let mut evidence =
            vec![format!("{port} knows {known} of {} addresses behind its bridge; not these:", f.wanted)];
        evidence.extend(some(f.missing.iter().cloned()));
        let todo = format!(
            "the daemon adds them by itself; by hand: bridge fdb add MAC dev {port} self; if its filter is full, fewer \
             pods on this node's bridge"
        );
        FILTER.found(text, evidence, todo)
    };
    filters.iter().filter(|f| !f.missing.is_empty()).map(found).collect()
}

fn representors(facts: &Facts) -> Option<Finding> {
    let all = facts.representors.as_deref().unwrap_or_default();
    let slow: Vec<String> = all.iter().filter_map(|r| r.problem.clone()).collect();
    let todo = "does the driver offload bridges (docs of the NIC), are all ports of the bridge of one NIC, is \
                hw-tc-offload on: ethtool -k PORT";
    let text = "Frames of VFs take the CPU, though their NIC has a switch.";
    (!slow.is_empty()).then(|| REPRESENTOR.found(text, some(slow), todo))
}

fn queues(facts: &Facts, port: &Port) -> Option<Finding> {
    let name = port.netdev.as_str();
    let cpus = u32::try_from(*facts.cpus.as_ref().ok()?).ok()?;
    let (now, most) = facts.offloads(name)?.channels?.receiving();
    let could = most.min(cpus);
    if now >= could || !port.up {
        return None;
    }
    let evidence = format!("{name} uses {now} of {most} queues, the node has {cpus} CPUs");
    let text = format!("The port {name} spreads its packets over fewer CPUs than it could.");
    Some(QUEUES.found(
        text,
        [evidence],
        format!("ethtool -L {name} combined {could}, if nobody keeps CPUs free on purpose"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vf::PfSide;

    #[test]
    fn a_spoof_check_that_is_off_everywhere_is_how_the_driver_is() {
        let has = |trust: bool, others_checked: bool| {
            let pf_side = PfSide { spoofchk: Some(false), trust: Some(trust), ..PfSide::default() };
            let state = VfState { pf_side, ..VfState::default() };
            leftovers(&state, others_checked).into_iter().map(|(has, _)| has).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(has(false, false), "");
        assert_eq!(has(false, true), "spoofchk off");
        assert_eq!(has(true, false), "trust on, spoofchk off");
    }
}
