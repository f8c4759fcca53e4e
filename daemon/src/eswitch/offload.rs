//! Whether embedded switches in switchdev mode forward by themselves what the bridges know behind their ports: a driver may
//! offload no bridge, or not what a bridge does with a port, and says so in the flag of each entry only.

use crate::config::Config;
use crate::node::Node;
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_kernel::link::Link;
use offramp_kernel::netlink::Socket;
use offramp_kernel::switchdev::{FdbEntry, PortName, fdb};
use offramp_kernel::{Error, Result};
use serde::{Deserialize, Serialize};

/// A bridge's port that is one of an embedded switch: a VF's representor, or a NIC's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortOffload {
    /// The port.
    pub port: IfName,
    /// The bridge.
    pub bridge: IfName,
    /// How many entries of the bridge's forwarding database lead to it, but for its own addresses.
    pub entries: usize,
    /// How many of them the hardware has, says its driver.
    pub offloaded: usize,
}

impl PortOffload {
    fn new(port: IfName, bridge: IfName, entries: &[FdbEntry]) -> Self {
        let offloaded = entries.iter().filter(|e| e.offloaded).count();
        Self { port, bridge, entries: entries.len(), offloaded }
    }

    /// What the operator should know; none: all is well.
    pub fn problem(&self) -> Option<String> {
        let Self { port, bridge, entries, offloaded } = self;
        let text = || {
            let missing = entries - offloaded;
            format!(
                "{missing} of {entries} forwarding entries of {bridge} to {port} are not offloaded: frames take the \
                 host's CPU"
            )
        };
        (offloaded < entries).then(text)
    }
}

/// The ports of embedded switches in bridges.
pub fn look(config: &Config, socket: &mut Socket, links: &[Link]) -> Result<Vec<PortOffload>> {
    let ours =
        |bridge: &IfName| *bridge == config.bridge.name || config.embedded_switch.bridges.contains(bridge);
    let mut found = Vec::new();
    for (port, index, bridge) in ports(links, ours) {
        match fdb(socket, index) {
            Ok(entries) => found.push(PortOffload::new(port, bridge, &entries)),
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// Looks, makes it known, and logs what is new.
pub fn publish(node: &Node, socket: &mut Socket, links: &[Link]) -> Result<()> {
    let found = look(&node.config, socket, links)?;
    let mut view = node.view();
    for port in &found {
        let before = view.offload.iter().find(|p| p.port == port.port);
        match (before.and_then(PortOffload::problem), port.problem()) {
            (None, Some(problem)) => tracing::warn!("{problem}"),
            (Some(_), None) => {
                tracing::info!(port = %port.port, "all forwarding entries are offloaded again");
            }
            _ => {}
        }
    }
    view.offload = found;
    Ok(())
}

fn is_gone(error: &Error) -> bool {
    error.errno() == Some(Errno::ENODEV as i32)
}

/// The ports of embedded switches in bridges, with their numbers: VFs' representors in any, others in `ours`: the operator's
/// switches are none of our business.
fn ports(links: &[Link], ours: impl Fn(&IfName) -> bool) -> Vec<(IfName, u32, IfName)> {
    let bridge = |link: &Link| {
        let controller = links.iter().find(|l| Some(l.index) == link.controller)?;
        let is_bridge = controller.kind.as_deref() == Some("bridge");
        is_bridge.then(|| controller.name.parse::<IfName>().ok())?
    };
    let is_vf = |link: &Link| matches!(PortName::parse(link.port_name.as_deref()), PortName::Vf(_));
    let on_switch = links.iter().filter(|link| link.switch_id.is_some());
    let port = |link: &Link| {
        let bridge = bridge(link).filter(|bridge| is_vf(link) || ours(bridge))?;
        Some((link.name.parse().ok()?, link.index, bridge))
    };
    on_switch.filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_the_cpu_is_told() {
        let name = |name: &str| name.parse::<IfName>().unwrap();
        let entry = |offloaded| FdbEntry { mac: offramp_core::MacAddr::local(7), vlan: None, offloaded };
        let port = |flags: &[bool]| {
            let entries: Vec<_> = flags.iter().map(|f| entry(*f)).collect();
            PortOffload::new(name("rep0"), name("br0"), &entries)
        };
        assert_eq!(port(&[]).problem(), None);
        assert_eq!(port(&[true, true]).problem(), None);
        assert_eq!(
            port(&[true, false, false]).problem().unwrap(),
            "2 of 3 forwarding entries of br0 to rep0 are not offloaded: frames take the host's CPU"
        );
    }

    #[test]
    fn representors_in_any_bridge_and_other_ports_in_ours() {
        let link = |index, name: &str, port: Option<&str>, controller| Link {
            index,
            name: name.into(),
            kind: name
                .starts_with(['b', 't'])
                .then(|| if name.starts_with('b') { "bridge" } else { "team" }.into()),
            switch_id: port.map(|_| "b859".into()),
            port_name: port.filter(|p| !p.is_empty()).map(str::to_owned),
            controller,
            ..Link::default()
        };
        let links = [
            link(1, "br0", None, None),
            link(2, "br1", None, None),
            link(3, "team0", None, None),
            link(4, "uplink", Some("p0"), Some(1)),
            link(5, "rep0", Some("pf0vf0"), Some(1)),
            link(6, "rep1", Some("pf0vf1"), Some(2)),
            link(7, "foreign", Some("p1"), Some(2)),
            link(8, "rep2", Some("pf0vf2"), Some(3)),
            link(9, "rep3", Some("pf0vf3"), None),
            link(10, "veth", None, Some(1)),
            link(11, "bond0", Some(""), Some(1)),
        ];
        let found = ports(&links, |bridge| bridge.as_str() == "br0");
        let found: Vec<_> =
            found.iter().map(|(port, index, bridge)| (port.as_str(), *index, bridge.as_str())).collect();
        assert_eq!(
            found,
            [("uplink", 4, "br0"), ("rep0", 5, "br0"), ("rep1", 6, "br1"), ("bond0", 11, "br0")]
        );
    }
}
