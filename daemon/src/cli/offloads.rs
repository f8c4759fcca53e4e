//! Offloads, as `offrampd nics` shows them: in short, and one netdev in full.

use super::table::{fields, table};
use offramp_core::ids::IfName;
use offramp_core::offload::{Answer, Device, Features, Group, Offloads, Ring, Switch};
use std::collections::BTreeMap;
use std::fmt::Display;

/// What netdevs have at work and what is off, a line each. Empty if nothing is known.
pub fn summary(offloads: &Offloads) -> String {
    let rows: Vec<_> = offloads.devices.iter().map(|(name, device)| row(name, device)).collect();
    if rows.is_empty() {
        String::new()
    } else {
        table("", ["DEVICE", "KIND", "QUEUES", "AT WORK", "OFF"], &rows)
    }
}

fn row(name: &IfName, device: &Device) -> [String; 5] {
    let summary = device.summary();
    let those = |on| list(summary.iter().filter(|(_, is)| **is == on).map(|(offload, _)| offload));
    let queues = device.channels.map(|channels| channels.receiving());
    let queues = queues.map(|(now, most)| format!("{now} of {most}")).unwrap_or_default();
    [name.to_string(), device.kind.clone(), queues, those(true), those(false)]
}

/// The kernel's abilities, and devlink's devices.
pub fn wide(offloads: &Offloads) -> String {
    let ability = |(ability, answer): (&_, &_)| {
        let (is, why) = match answer {
            Answer::There => ("there", ""),
            Answer::Missing { why } => ("missing", why.as_str()),
            Answer::Unknown { why } => ("unknown", why.as_str()),
        };
        [format!("{ability}"), is.to_owned(), why.to_owned()]
    };
    let mut parts = Vec::new();
    if !offloads.kernel.is_empty() {
        let rows: Vec<_> = offloads.kernel.iter().map(ability).collect();
        parts.push(table("", ["KERNEL", "IS", "WHY"], &rows));
    }
    if !offloads.switches.is_empty() {
        let rows: Vec<_> = offloads.switches.iter().map(switch_row).collect();
        parts.push(table("", ["DEVLINK", "ESWITCH", "INLINE", "ENCAP", "PORTS", "RATES"], &rows));
    }
    parts.join("\n")
}

fn switch_row((name, switch): (&String, &Switch)) -> [String; 6] {
    let Switch { mode, inline_mode, encap, ports, rates } = switch;
    let counted = |counts: &BTreeMap<String, u32>| list(counts.iter().map(|(kind, n)| format!("{n} {kind}")));
    [
        name.clone(),
        mode.clone().unwrap_or_default(),
        inline_mode.clone().unwrap_or_default(),
        encap.map(on_off).unwrap_or_default().to_owned(),
        counted(ports),
        counted(rates),
    ]
}

/// A netdev in full.
pub fn device(name: &IfName, device: &Device) -> String {
    let mut text = fields("", &facts(name, device));
    for group in Group::ALL {
        text += &of_group(&device.features, group);
    }
    text
}

fn of_group(features: &Features, group: Group) -> String {
    // What a device cannot have is most of it, and of no use but by name.
    let (shown, cannot): (Vec<_>, Vec<_>) = features.of(group).partition(|(_, f)| f.on || !f.fixed);
    if shown.is_empty() && cannot.is_empty() {
        return String::new();
    }
    let rows: Vec<(&str, String)> = shown.into_iter().map(|(name, f)| (name, f.to_string())).collect();
    let mut text = format!("\n{group}\n{}", fields("  ", &rows));
    if !cannot.is_empty() {
        text += &format!("  cannot have: {}\n", list(cannot.iter().map(|(name, _)| name)));
    }
    text
}

fn facts(name: &IfName, device: &Device) -> Vec<(&'static str, String)> {
    let Device {
        kind,
        on,
        features: _,
        channels,
        rings,
        coalescing,
        rss,
        ntuple,
        private_flags,
        tunnel_ports,
        sizes: _,
        xdp,
        queues,
        cpus,
        leases,
        unread,
    } = device;
    let below = if on.is_empty() { String::new() } else { format!(" on {}", list(on)) };
    let mut facts = vec![("Device", format!("{name} ({kind}){below}"))];
    facts.extend(channels.map(|c| {
        let kinds =
            [("combined", c.combined, c.max_combined), ("rx", c.rx, c.max_rx), ("tx", c.tx, c.max_tx)];
        let there = kinds.into_iter().filter(|(_, _, most)| *most > 0);
        ("Channels", list(there.map(|(kind, now, most)| format!("{now} {kind} of {most}"))))
    }));
    facts.extend(rings.map(|r| {
        let split = r.tcp_data_split.map(|on| format!("tcp-data-split {}", on_off(on)));
        let ring = |name, Ring { now, max }| format!("{name} {now} of {max}");
        ("Rings", list([ring("rx", r.rx), ring("tx", r.tx)].into_iter().chain(split)))
    }));
    facts.push(("Coalescing", list(coalescing.iter().map(|(name, value)| format!("{name} {value}")))));
    facts.extend(rss.as_ref().map(|r| {
        let contexts = r.contexts.map(|n| format!("{n} more contexts"));
        let hash = r.hash.clone().unwrap_or("hash unknown".into());
        let queues = format!("queues {}", ranges(&r.queues));
        ("RSS", list([hash, queues, format!("{} entries", r.table)].into_iter().chain(contexts)))
    }));
    facts.extend(ntuple.map(|n| {
        let room = n.room.map(|room| format!(" of {room}")).unwrap_or_default();
        ("Flow rules", format!("{}{room}", n.rules))
    }));
    facts.push((
        "Tunnel ports",
        list(tunnel_ports.iter().map(|table| {
            let ports = table.ports.iter().map(|port| format!("{} {}", port.kind, port.port));
            format!(
                "{} of {} for {}",
                or_none(&ports.collect::<Vec<_>>().join(" and ")),
                table.size,
                table.types.join("/")
            )
        })),
    ));
    facts.push((
        "Private flags",
        list(private_flags.iter().map(|(name, on)| format!("{name} {}", on_off(*on)))),
    ));
    facts.push(("Packet sizes", sizes(device)));
    facts.extend(xdp.as_ref().map(|x| ("XDP", list(&x.features))));
    facts.extend(xdp.as_ref().map(|x| ("XDP metadata", list(&x.rx_metadata))));
    facts.extend(xdp.as_ref().map(|x| ("AF_XDP", list(&x.af_xdp))));
    facts.extend(queues.map(|q| {
        let used = [("AF_XDP", q.af_xdp), ("bound", q.bound), ("leased", q.leased)];
        let used = used.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}"));
        ("Queues", list([format!("{} rx", q.rx), format!("{} tx", q.tx)].into_iter().chain(used)))
    }));
    facts.extend(leases.as_ref().map(|leases| ("Queue lease", leased(leases))));
    facts.extend(cpus.map(|c| ("CPUs", c.to_string())));
    facts.extend(unread.iter().map(|why| ("Not read", why.clone())));
    // What the driver does not have takes no line.
    facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn leased(answer: &Answer) -> String {
    match answer {
        Answer::There => "its driver leases queues".into(),
        Answer::Missing { why } => format!("no: {why}"),
        Answer::Unknown { why } => format!("unknown: {why}"),
    }
}

fn sizes(device: &Device) -> String {
    let sizes = &device.sizes;
    let named = [
        ("GSO", sizes.gso_max_size),
        ("GSO over IPv4", sizes.gso_ipv4_max_size),
        ("GRO", sizes.gro_max_size),
        ("GRO over IPv4", sizes.gro_ipv4_max_size),
        ("the device can", sizes.tso_max_size),
    ];
    list(named.into_iter().filter_map(|(name, size)| Some(format!("{name} {}", size?))))
}

/// `0-3,6`
fn ranges(numbers: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for n in numbers {
        match parts.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*n) => *last = *n,
            _ => parts.push((*n, *n)),
        }
    }
    let part = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

fn list(values: impl IntoIterator<Item = impl Display>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

#[cfg(test)]
#[path = "offloads_tests.rs"]
mod tests;
