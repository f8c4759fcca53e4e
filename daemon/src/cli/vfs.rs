//! What claims say of pods' VFs, for `attachments` and `explain`.

use super::client::Client;
use super::explain::Target;
use super::table::fields;
use super::units::join;
use offramp_core::nic::PciAddr;
use offramp_core::plan::Plan;
use offramp_core::record::Record;
use offramp_core::step::Step;
use offramp_core::vf::{Claim, VfSettings};
use offramp_ledger::Store;
use std::path::Path;

/// From the daemon, or from the disk if it is away; empty if neither tells, which who asked for the records has said.
pub fn claims(socket: &Path) -> Vec<Claim> {
    if let Ok(status) = Client::new(socket).status() {
        return status.vfs.into_iter().map(|vf| vf.claim).collect();
    }
    let state_dir = socket.parent().unwrap_or(Path::new(crate::DEFAULT_STATE_DIR));
    Store::at(state_dir).claims().list().map(|listing| listing.claims).unwrap_or_default()
}

/// The claim by which an attachment has a VF.
pub fn of<'a>(claims: &'a [Claim], record: &Record, pci: PciAddr) -> Option<&'a Claim> {
    claims.iter().find(|c| c.vf.pci == pci && c.holder == record.attachment)
}

/// `net1: VF 3 of ens1f0 (0000:02:10.6), pool fast, mode netdev`
pub fn vfs(record: &Record, claims: &[Claim]) -> Vec<String> {
    let describe = |vf: &offramp_core::vf::VfRef| {
        let interface = record.plan.interface_of(vf.pci).map_or("?", |i| &i.name);
        let claim = of(claims, record, vf.pci).map(|c| {
            let pool = c.pool.as_ref().map_or("no pool".into(), |pool| format!("pool {pool}"));
            format!(", {pool}, mode {}", c.mode)
        });
        format!("{interface}: {vf}{}", claim.unwrap_or_default())
    };
    record.plan.vfs().map(describe).collect()
}

/// What each VF was set to; what is not here stayed as it was.
pub fn settings(plan: &Plan) -> Vec<String> {
    let describe = |step: &Step| {
        let Step::ConfigureVf(step) = step else { return None };
        let text = words(&step.settings);
        let interface = plan.interface_of(step.vf.pci).map_or("?", |i| &i.name);
        (!text.is_empty()).then(|| format!("{interface}: {}", join(text)))
    };
    plan.steps.iter().filter_map(describe).collect()
}

fn words(settings: &VfSettings) -> Vec<String> {
    let VfSettings {
        mac,
        vlan,
        trust,
        spoofchk,
        link_state,
        min_tx_rate,
        max_tx_rate,
        mtu,
        allmulticast,
        queues,
    } = settings;
    let switch =
        |name: &str, on: &Option<bool>| on.map(|on| format!("{name} {}", if on { "on" } else { "off" }));
    let rate = |name: &str, rate: &Option<u32>| {
        rate.map(
            |rate| if rate == 0 { format!("no {name} rate") } else { format!("{name} rate {rate} Mbit/s") },
        )
    };
    let all = [
        mac.map(|mac| format!("mac {mac}")),
        vlan.map(|tag| tag.to_string()),
        switch("trust", trust),
        switch("spoofchk", spoofchk),
        link_state.map(|state| format!("link state {state}")),
        rate("min", min_tx_rate),
        rate("max", max_tx_rate),
        mtu.map(|mtu| format!("mtu {mtu}")),
        switch("allmulticast", allmulticast),
        queues.map(|n| format!("queues {n}")),
    ];
    all.into_iter().flatten().collect()
}

/// The node's way to a pod that is not on its bridge.
pub fn host_routes(plan: &Plan) -> Vec<String> {
    let describe = |step: &Step| match step {
        Step::HostRoute(r) => {
            let to = r.mac.map(|mac| format!(" to {mac}")).unwrap_or_default();
            Some(format!("{} by {}{to}", join(&r.ips), r.link))
        }
        _ => None,
    };
    plan.steps.iter().filter_map(describe).collect()
}

/// The bridges' ports that are representors of its VFs.
pub fn representors(plan: &Plan) -> Vec<String> {
    let describe = |step: &Step| match step {
        Step::PlugRepresentor(p) => {
            let interface = plan.interface_of(p.vf.pci).map_or("?", |i| &i.name);
            Some(format!("{interface}: {}, port of {}", p.representor, p.bridge))
        }
        _ => None,
    };
    plan.steps.iter().filter_map(describe).collect()
}

/// How far each claim is.
pub fn states(record: &Record, claims: &[Claim]) -> Vec<String> {
    let describe = |vf: &offramp_core::vf::VfRef| match of(claims, record, vf.pci) {
        Some(claim) => claim.to_string(),
        None => format!("{vf} is not claimed by this attachment"),
    };
    record.plan.vfs().map(describe).collect()
}

/// The VFs that attachments without a record have left behind.
pub fn left<'a>(claims: &'a [Claim], records: &[Record], target: &Target) -> Vec<&'a Claim> {
    let has_record = |claim: &Claim| records.iter().any(|r| r.attachment == claim.holder);
    claims.iter().filter(|c| target.matches_claim(c) && !has_record(c)).collect()
}

/// A paragraph; none without a VF.
pub fn render_left(left: &[&Claim]) -> String {
    if left.is_empty() {
        return String::new();
    }
    let row = |claim: &&Claim| (if claim.in_quarantine() { "Quarantine" } else { "Lent" }, claim.to_string());
    format!("VFs of interfaces that are gone\n{}", fields("  ", &left.iter().map(row).collect::<Vec<_>>()))
}

#[cfg(test)]
#[path = "vfs_tests.rs"]
mod tests;
