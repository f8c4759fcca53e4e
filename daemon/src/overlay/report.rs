//! A look's report as the command line shows it.

use crate::status::{DeviceStatus, Health, OverlayStatus, PeerPath, PeerStatus};
use offramp_core::ids::NodeName;
use offramp_core::overlay::{Mode, Path, PeerPath as Way, Settings};
use offramp_core::peer::{Peer, Problem};
use offramp_kernel::overlay::Report;
use std::collections::HashMap;
use std::net::IpAddr;

/// What could not be done: the first fault, and how many more there are.
pub fn fault(report: &Report) -> Option<String> {
    let first = report.errors.first()?;
    Some(match report.errors.len() - 1 {
        0 => first.to_string(),
        more => format!("{first} (and {more} more)"),
    })
}

/// The ways as they are.
pub fn status(settings: &Settings, report: &Report, peers: &[Peer], left_out: &[Problem]) -> OverlayStatus {
    // Of thousands of peers each has a few ways.
    let mut ways: HashMap<&NodeName, Vec<&Way>> = HashMap::with_capacity(peers.len());
    for way in &report.paths {
        ways.entry(&way.peer).or_default().push(way);
    }
    let all = peers.iter().map(|peer| one(peer, ways.get(&peer.name).into_iter().flatten().copied()));
    let refused = left_out.iter().map(|problem| PeerStatus {
        name: problem.peer.clone(),
        endpoint: None,
        pod_cidrs: Vec::new(),
        path: None,
        health: Health::Failed { reason: problem.reason.clone() },
    });
    let mode = match settings.mode {
        Mode::Auto => "auto",
        Mode::Vxlan => "vxlan",
        Mode::Direct => "direct",
        Mode::None => "none",
    };
    OverlayStatus { mode: mode.into(), device: device(settings, report), peers: all.chain(refused).collect() }
}

fn device(settings: &Settings, report: &Report) -> Option<DeviceStatus> {
    let underlay = report.underlay.as_ref().filter(|_| report.tunnel.is_some())?;
    Some(DeviceStatus {
        name: settings.device.clone(),
        vni: settings.vni.get(),
        port: settings.port,
        mtu: underlay.tunnel_mtu(settings),
        local: underlay.address(underlay.family(settings))?,
    })
}

/// A peer some of whose pods cannot be reached is shown as failed, with the way to the others.
fn one<'a>(peer: &Peer, ways: impl IntoIterator<Item = &'a Way>) -> PeerStatus {
    let mut way: Option<(PeerPath, IpAddr)> = None;
    let mut health = Health::Ok;
    for Way { pod_cidr, path, .. } in ways.into_iter().filter(|w| w.peer == peer.name) {
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
        Way { peer: "n2".parse().unwrap(), pod_cidr: "10.244.2.0/24".parse().unwrap(), path }
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
            Way { peer: "n3".parse().unwrap(), ..way(Path::Vxlan { endpoint }) },
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
