//! `offrampd nics`: from the daemon, or from the kernel if it is away.

use super::CliError;
use super::client::Client;
use super::table::table;
use crate::nics::Nics;
use crate::node::Asked;
use crate::offloads;
use offramp_core::ids::IfName;
use offramp_core::lend::PoolQueue;
use offramp_core::nic::{Port, Vf, VfNetdev};
use offramp_kernel::offload::abilities;
use offramp_kernel::sysfs::{Sysfs, read};
use offramp_ledger::Store;
use std::fmt::Display;
use std::path::Path;

/// Asks the daemon; if it is away, asks the kernel, and says so on stderr.
pub fn fetch(socket: &Path) -> Result<Nics, CliError> {
    match Client::new(socket).nics() {
        Ok(nics) => Ok(nics),
        Err(client) if client.is_away() => {
            let why = client.to_string();
            let dir = socket.parent().unwrap_or(Path::new(crate::DEFAULT_STATE_DIR));
            let sysfs = Sysfs::default();
            let inventory = match read(&sysfs, &[]) {
                Ok(inventory) => inventory,
                Err(source) => return Err(CliError::Nics { client, source }),
            };
            let why = why.lines().next().unwrap_or_default();
            eprintln!("offrampd: {why}; this is from the kernel, and the claims in {}/vfs", dir.display());
            let ours: Vec<IfName> =
                [crate::DEFAULT_VXLAN, crate::DEFAULT_BRIDGE].iter().filter_map(|n| n.parse().ok()).collect();
            // That some of it cannot be read is no reason to show nothing.
            let offload = offloads::read(&inventory, &ours, abilities(), &sysfs, &Asked::default())
                .inspect_err(|e| eprintln!("offrampd: {e}"))
                .unwrap_or_default();
            Ok(Nics::new(inventory, offload, &Store::at(dir), &[]))
        }
        Err(client) => Err(client.into()),
    }
}

/// The tables of ports and of offloads; if `wide` those of VFs, of what the kernel can do, and of embedded switches.
pub fn render(nics: &Nics, wide: bool) -> String {
    let mut parts = ports(nics, wide);
    parts.push(super::offloads::summary(&nics.offload));
    if wide {
        parts.push(super::offloads::wide(&nics.offload));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// One of them in full: [`Nics::only`].
pub fn render_one(nics: &Nics) -> String {
    let mut parts = if nics.inventory.ports.is_empty() { Vec::new() } else { ports(nics, true) };
    parts.extend(nics.offload.devices.iter().map(|(name, device)| super::offloads::device(name, device)));
    parts.join("\n")
}

fn ports(nics: &Nics, wide: bool) -> Vec<String> {
    if nics.inventory.ports.is_empty() {
        return vec!["This node has no NIC.\n".into()];
    }
    let headings = [
        "PORT",
        "DEVICE",
        "DRIVER",
        "ID",
        "SPEED",
        "NUMA",
        "LINK",
        "VFS",
        "FREE",
        "LENT",
        "QUARANTINE",
        "ESWITCH",
        "CONTROLLER",
    ];
    let rows: Vec<_> = nics.inventory.ports.iter().map(|port| port_row(port, nics)).collect();
    let mut tables = vec![table("", headings, &rows)];
    if wide {
        let headings = [
            "VF",
            "PORT",
            "ADDRESS",
            "ID",
            "DRIVER",
            "NETDEV",
            "NETNS",
            "IOMMU GROUP",
            "REPRESENTOR",
            "POOL",
            "STATE",
        ];
        let rows: Vec<_> = nics.inventory.vfs().map(|(port, vf)| vf_row(port, vf, nics)).collect();
        let none = || "No port has VFs.\n".into();
        tables.push(if rows.is_empty() { none() } else { table("", headings, &rows) });
        if !nics.queues.is_empty() {
            let row =
                |q: &PoolQueue| [q.queue.to_string(), q.nic.to_string(), q.pool.to_string(), q.state.clone()];
            let rows: Vec<_> = nics.queues.iter().map(row).collect();
            tables.push(table("", ["QUEUE", "PORT", "POOL", "STATE"], &rows));
        }
    }
    tables
}

fn port_row(port: &Port, nics: &Nics) -> [String; 13] {
    let link = match (port.up, port.carrier) {
        (false, _) => "down",
        (true, false) => "no carrier",
        (true, true) => "up",
    };
    let [vfs, free, lent, quarantine] = counts(port, nics);
    [
        port.netdev.to_string(),
        port.key.to_string(),
        port.driver.clone(),
        text(port.id),
        port.speed_mbps.map(speed).unwrap_or_default(),
        text(port.numa),
        link.into(),
        vfs,
        free,
        lent,
        quarantine,
        if port.total_vfs == 0 && port.switch_id.is_none() {
            String::new()
        } else {
            port.eswitch.to_string()
        },
        text(port.controller.as_ref()),
    ]
}

/// How many VFs of how many, and how many of them are free, lent, and neither.
fn counts(port: &Port, nics: &Nics) -> [String; 4] {
    let vfs = match (port.num_vfs, port.total_vfs) {
        (0, 0) => String::new(),
        // Not told.
        (n, 0) => n.to_string(),
        (n, total) => format!("{n} of {total}"),
    };
    if port.vfs.is_empty() {
        return [vfs, String::new(), String::new(), String::new()];
    }
    let are = |states: &[&str]| {
        let state = |vf: &&Vf| states.contains(&state(vf, nics).split([' ', ':']).next().unwrap_or_default());
        port.vfs.iter().filter(state).count().to_string()
    };
    // Nobody gets a VF whose claim cannot be read either.
    [vfs, are(&["free"]), are(&["lent"]), are(&["quarantine", "unreadable"])]
}

fn state<'a>(vf: &Vf, nics: &'a Nics) -> &'a str {
    nics.claims.get(&vf.pci).map_or("free", String::as_str)
}

fn vf_row(port: &Port, vf: &Vf, nics: &Nics) -> [String; 11] {
    let (netdev, netns) = match &vf.netdev {
        VfNetdev::None => (String::new(), String::new()),
        VfNetdev::Host { name } => (name.to_string(), "host".into()),
        VfNetdev::Elsewhere { netns, name } => (
            name.as_ref().map_or("?".into(), ToString::to_string),
            netns.clone().unwrap_or("not found".into()),
        ),
    };
    [
        vf.index.to_string(),
        port.netdev.to_string(),
        vf.pci.to_string(),
        text(vf.id),
        text(vf.driver.as_ref()),
        netdev,
        netns,
        text(vf.iommu_group),
        text(vf.representor.as_ref()),
        text(nics.pools.get(&vf.pci)),
        state(vf, nics).to_owned(),
    ]
}

/// Of `mbps` Mbit/s.
fn speed(mbps: u32) -> String {
    match (mbps / 1000, mbps % 1000) {
        (0, _) => format!("{mbps} Mbit/s"),
        (whole, 0) => format!("{whole} Gbit/s"),
        (whole, rest) => format!("{whole}.{} Gbit/s", format!("{rest:03}").trim_end_matches('0')),
    }
}

fn text(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
#[path = "nics_tests.rs"]
mod tests;
