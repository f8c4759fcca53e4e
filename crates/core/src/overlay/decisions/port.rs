//! The tunnel's UDP port, and whether NICs that look into tunnels were told of it. The kernel tells them when the device
//! is made (udp_tunnel_notify_add_rx_port, net/ipv4/udp_tunnel_core.c).

use super::links::{Link, ends, names};
use super::{Decision, Facts, Scope, Topic};
use crate::ids::IfName;
use crate::offload::{Device, TunnelTable};
use crate::overlay::VXLAN_PORT;

/// Without it a NIC is told of no port.
pub const PORT_FEATURE: &str = "rx-udp_tunnel-port-offload";
const KIND: &str = "vxlan";

pub(super) fn decision(facts: &Facts) -> Decision {
    let port = facts.settings.port;
    let chosen = if port == VXLAN_PORT {
        "IANA's for VXLAN, which NICs parse".to_owned()
    } else {
        format!("overlay.port says so; NICs parse {VXLAN_PORT}")
    };
    let below = facts.below();
    let nics = ends(&below);
    let with_table: Vec<Link> =
        nics.iter().filter(|nic| tables(nic.device).next().is_some()).copied().collect();
    let untold = untold(&below, port).into_iter().next();
    let of = |is: String, why: String| Scope::Vxlan.decision(Topic::Port, is, format!("{chosen}; {why}"));
    match untold {
        Some(Untold { nic, why, todo }) => of(format!("{port}, unknown to {nic}"), why).todo(Some(todo)),
        None if !with_table.is_empty() => {
            let turned_on = with_table.iter().filter(|nic| facts.turned_on.contains(nic.name));
            let turned_on: Vec<Link> = turned_on.copied().collect();
            let turned_on = match turned_on.as_slice() {
                [] => String::new(),
                nics => format!("; {PORT_FEATURE} of {} was off: offloads.tunnelPort is auto", names(nics)),
            };
            of(
                format!("{port}, known to {}", names(&with_table)),
                format!("in the table of ports to look behind{turned_on}"),
            )
        }
        None if nics.is_empty() => Scope::Vxlan.decision(Topic::Port, port.to_string(), chosen),
        None => {
            let why = "no table of tunnels' ports that could be told of it";
            of(port.to_string(), format!("{}: {why}", names(&nics)))
        }
    }
}

/// Why a NIC that looks into tunnels does not look behind a port, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The NIC.
    pub nic: IfName,
    /// Why.
    pub why: String,
    /// What to do.
    pub todo: String,
}

/// Of the NICs that packets leave by, those that have a table of VXLAN's ports without this one. Those without a table go
/// by other means, or do not look into tunnels at all.
pub fn untold(below: &[Link], port: u16) -> Vec<Untold> {
    let one = |Link { name, device }: Link| {
        tables(device).next()?;
        if tables(device).any(|table| has(table, port)) {
            return None;
        }
        let (why, todo) = missing(name.as_str(), device, port);
        Some(Untold { nic: name.clone(), why, todo })
    };
    ends(below).into_iter().filter_map(one).collect()
}

/// Of the NICs that packets leave by, those that can be told of VXLAN's ports, and can be had not to be.
pub fn tellable<'a>(below: &[Link<'a>]) -> Vec<&'a IfName> {
    let can = |nic: &Link| {
        tables(nic.device).next().is_some() && nic.device.features.get(PORT_FEATURE).is_some_and(|f| !f.fixed)
    };
    ends(below).into_iter().filter(can).map(|nic| nic.name).collect()
}

fn tables(device: &Device) -> impl Iterator<Item = &TunnelTable> {
    device.tunnel_ports.iter().filter(|table| table.types.iter().any(|kind| kind == KIND))
}

fn has(table: &TunnelTable, port: u16) -> bool {
    table.ports.iter().any(|p| p.kind == KIND && p.port == port)
}

fn missing(name: &str, device: &Device, port: u16) -> (String, String) {
    if device.features.get(PORT_FEATURE).is_some_and(|f| !f.on && !f.fixed) {
        return (format!("{PORT_FEATURE} of {name} is off"), format!("ethtool -K {name} {PORT_FEATURE} on"));
    }
    if tables(device).all(|table| table.size == 1 && has(table, VXLAN_PORT)) {
        let todo = format!("set overlay.port to {VXLAN_PORT}, on all nodes");
        return (format!("{name} looks behind {VXLAN_PORT} only"), todo);
    }
    if tables(device).all(|table| table.ports.len() >= table.size as usize) {
        let others: Vec<String> = tables(device)
            .flat_map(|table| &table.ports)
            .map(|other| format!("{} {}", other.kind, other.port))
            .collect();
        let why = format!("the table of {name} is full: {}", others.join(", "));
        return (why, format!("remove the tunnels on other ports, or have them use {port} too"));
    }
    let again = format!("have it told again: ethtool -K {name} {PORT_FEATURE} off, then on");
    (format!("{name} has a table for it with room, and its driver did not take it"), again)
}
