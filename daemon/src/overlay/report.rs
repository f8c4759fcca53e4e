//! A look's report as the command line shows it.

use crate::status::{DeviceStatus, Health, OverlayStatus, PeerPath, PeerStatus};
use ipnetwork::IpNetwork;
use offramp_core::overlay::{Mode, Node, Path, Settings, Underlay, paths};
use offramp_core::peer::{Peer, Peers, Problem};
use offramp_kernel::overlay::Report;
use std::net::IpAddr;

/// A podCIDR, and how it is reached.
type Way = (IpNetwork, Path);

/// What could not be done: the first fault, and how many more there are.
pub fn fault(report: &Report) -> Option<String> {
    let first = report.errors.first()?;
    Some(match report.errors.len() - 1 {
        0 => first.to_string(),
        more => format!("{first} (and {more} more)"),
    })
}

/// What is needed to tell how each peer is reached. To hold that itself for thousands of peers is not worth it: hardly
/// anybody asks.
#[derive(Debug)]
pub struct Seen {
    pub(super) settings: Settings,
    pub(super) node: Node,
    /// Or why there is none.
    pub(super) underlay: Result<Underlay, String>,
    /// The tunnel device's number.
    pub(super) tunnel: Option<u32>,
    pub(super) peers: Peers,
}

impl Seen {
    /// As a look has left it.
    pub fn new(settings: &Settings, node: &Node, report: &Report, peers: Peers) -> Self {
        let why =
            || report.errors.first().map_or_else(|| "no uplink was found".to_owned(), ToString::to_string);
        Self {
            settings: settings.clone(),
            node: node.clone(),
            underlay: report.underlay.clone().ok_or_else(why),
            tunnel: report.tunnel,
            peers,
        }
    }

    /// The ways, for the command line.
    pub fn status(&self, left_out: &[Problem]) -> OverlayStatus {
        let all = self.peers.iter().map(|peer| one(peer, &self.ways(peer)));
        let refused = left_out.iter().map(|problem| PeerStatus {
            name: problem.peer.clone(),
            endpoint: None,
            pod_cidrs: Vec::new(),
            path: None,
            health: Health::Failed { reason: problem.reason.clone() },
        });
        let mode = match self.settings.mode {
            Mode::Auto => "auto",
            Mode::Vxlan => "vxlan",
            Mode::Direct => "direct",
            Mode::None => "none",
        };
        OverlayStatus { mode: mode.into(), device: self.device(), peers: all.chain(refused).collect() }
    }

    pub(super) fn ways(&self, peer: &Peer) -> Vec<Way> {
        match &self.underlay {
            Ok(underlay) => paths(&self.settings, &self.node, underlay, peer),
            Err(_) if self.settings.mode == Mode::None => Vec::new(),
            Err(why) => {
                let path = Path::Unreachable { reason: why.clone() };
                peer.pod_cidrs.iter().map(|pod_cidr| (*pod_cidr, path.clone())).collect()
            }
        }
    }

    fn device(&self) -> Option<DeviceStatus> {
        let underlay = self.underlay.as_ref().ok().filter(|_| self.tunnel.is_some())?;
        Some(DeviceStatus {
            name: self.settings.device.clone(),
            vni: self.settings.vni.get(),
            port: self.settings.port,
            mtu: underlay.tunnel_mtu(&self.settings),
            local: underlay.address(underlay.family(&self.settings))?,
        })
    }
}

/// A peer some of whose pods cannot be reached is shown as failed, with the way to the others.
fn one(peer: &Peer, ways: &[Way]) -> PeerStatus {
    let mut way: Option<(PeerPath, IpAddr)> = None;
    let mut health = Health::Ok;
    for (pod_cidr, path) in ways {
        match path {
            Path::Vxlan { endpoint } => way = way.or(Some((PeerPath::Vxlan, *endpoint))),
            Path::Direct { endpoint } => way = way.or(Some((PeerPath::Direct, *endpoint))),
            Path::Unreachable { reason } if health == Health::Ok => {
                health = Health::Failed { reason: format!("{pod_cidr}: {reason}") };
            }
            Path::Unreachable { .. } => {}
        }
    }
    PeerStatus {
        name: peer.name.to_string(),
        endpoint: way.map(|(_, endpoint)| endpoint),
        pod_cidrs: peer.pod_cidrs.clone(),
        path: way.map(|(path, _)| path),
        health,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use offramp_kernel::Error;

    fn way(path: Path) -> Way {
        ("10.244.2.0/24".parse().unwrap(), path)
    }

    fn peer() -> Peer {
        Peer {
            name: "n2".parse().unwrap(),
            endpoints: vec!["192.0.2.2".parse().unwrap()],
            pod_cidrs: vec!["10.244.2.0/24".parse().unwrap(), "fd44:2::/64".parse().unwrap()],
            mac: None,
        }
    }

    #[test]
    fn a_peer_that_is_reached_in_part_has_failed_and_shows_its_way() {
        let endpoint = "192.0.2.2".parse().unwrap();
        let ways = [
            way(Path::Direct { endpoint }),
            way(Path::Unreachable { reason: "why".into() }),
            way(Path::Unreachable { reason: "why else".into() }),
        ];
        let shown = one(&peer(), &ways);
        assert_eq!((shown.path, shown.endpoint), (Some(PeerPath::Direct), Some(endpoint)));
        assert_eq!(shown.health, Health::Failed { reason: "10.244.2.0/24: why".into() });
        assert_eq!(one(&peer(), &ways[..1]).health, Health::Ok);
        assert_eq!(one(&peer(), &[]).path, None);
    }

    #[test]
    fn of_many_faults_the_first_is_told() {
        let missing = |what: &str| Error::Missing { what: what.into() };
        let mut report = Report::default();
        assert_eq!(fault(&report), None);
        report.errors.push(missing("a"));
        assert_eq!(fault(&report).unwrap(), "a is not there");
        report.errors.extend([missing("b"), missing("c")]);
        assert_eq!(fault(&report).unwrap(), "a is not there (and 2 more)");
    }
}
