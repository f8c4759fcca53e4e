//! A look's report as the command line shows it.

use crate::status::{DeviceStatus, Health, OverlayStatus, PeerPath, PeerStatus, WayStatus};
use crate::tuning::Tuned;
use offramp_core::ids::Mtu;
use offramp_core::net::Family;
use offramp_core::offload::Offloads;
use offramp_core::overlay::big_tcp::Allowed;
use offramp_core::overlay::decisions::{Decision, Facts, TurnedOff, decide};
use offramp_core::overlay::{Mode, Node, Path, Reached, Settings, Underlay, paths};
use offramp_core::peer::{Peer, Peers, Problem};
use offramp_core::probe::{Kind, Way};
use offramp_kernel::overlay::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
        let why = || match report.errors.first() {
            Some(error) => format!("no uplink: {error}"),
            None => "no uplink was found".to_owned(),
        };
        Self {
            settings: settings.clone(),
            node: node.clone(),
            underlay: report.underlay.clone().ok_or_else(why),
            tunnel: report.tunnel,
            peers,
        }
    }

    /// The ways, for the command line.
    pub fn status(&self, known: &Known, left_out: &[Problem]) -> OverlayStatus {
        let all = self.peers.iter().map(|peer| self.one(peer, &self.ways(peer)));
        let refused = left_out.iter().map(|problem| PeerStatus {
            name: problem.peer.clone(),
            endpoint: None,
            pod_cidrs: Vec::new(),
            path: None,
            ways: Vec::new(),
            health: Health::Failed { reason: problem.reason.clone() },
        });
        let mode = match self.settings.mode {
            Mode::Auto => "auto",
            Mode::Vxlan => "vxlan",
            Mode::Direct => "direct",
            Mode::None => "none",
        };
        let peers: Vec<PeerStatus> = all.chain(refused).collect();
        let decisions = self.decisions(known, &peers);
        OverlayStatus { mode: mode.into(), device: self.device(), peers, decisions }
    }

    fn decisions(&self, known: &Known, peers: &[PeerStatus]) -> Vec<Decision> {
        let Ok(underlay) = &self.underlay else { return Vec::new() };
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for peer in peers {
            let kinds: BTreeSet<Kind> = peer.ways.iter().map(WayStatus::kind).collect();
            kinds.into_iter().for_each(|kind| *counts.entry(kind).or_default() += 1);
        }
        decide(&Facts {
            settings: &self.settings,
            underlay,
            has_tunnel: self.tunnel.is_some(),
            peers: counts,
            pod_mtu: self.node.pod_mtu,
            configured_mtu: known.configured_mtu,
            devices: &known.offloads.devices,
            turned_off: known.turned_off.clone(),
            turned_on: known.tuned.features.iter().map(|turned| turned.device.clone()).collect(),
            big_tcp: known.big_tcp.clone(),
        })
    }

    /// The family of the tunnel's outer packets; none: there is no tunnel.
    pub fn outer(&self) -> Option<Family> {
        let underlay = self.underlay.as_ref().ok().filter(|_| self.tunnel.is_some())?;
        Some(underlay.family(&self.settings))
    }

    pub(super) fn ways(&self, peer: &Peer) -> Vec<Reached> {
        match &self.underlay {
            Ok(underlay) => paths(&self.settings, &self.node, underlay, peer),
            Err(_) if self.settings.mode == Mode::None => Vec::new(),
            Err(why) => {
                let path = Path::Unreachable { reason: why.clone() };
                let lost = |pod_cidr| Reached { pod_cidr, path: path.clone(), why: None };
                peer.pod_cidrs.iter().map(|pod_cidr| lost(*pod_cidr)).collect()
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

    /// A peer some of whose pods cannot be reached is shown as failed, with the way to the others.
    fn one(&self, peer: &Peer, reached: &[Reached]) -> PeerStatus {
        let lost = reached.iter().find_map(|r| match &r.path {
            Path::Unreachable { reason } => Some(format!("{}: {reason}", r.pod_cidr)),
            _ => None,
        });
        let ways: Vec<WayStatus> = reached.iter().filter_map(|r| self.way(r)).collect();
        PeerStatus {
            name: peer.name.to_string(),
            endpoint: ways.first().map(|way| way.endpoint),
            pod_cidrs: peer.pod_cidrs.clone(),
            path: ways.first().map(|way| way.path),
            ways,
            health: lost.map_or(Health::Ok, |reason| Health::Failed { reason }),
        }
    }

    fn way(&self, reached: &Reached) -> Option<WayStatus> {
        let (path, endpoint) = match &reached.path {
            Path::Vxlan { endpoint } => (PeerPath::Vxlan, *endpoint),
            Path::Direct { endpoint } => (PeerPath::Direct, *endpoint),
            Path::Unreachable { .. } => return None,
        };
        let why = reached.why.zip(self.underlay.as_ref().ok()).map(|(why, underlay)| why.tell(underlay));
        Some(WayStatus { pod_cidr: reached.pod_cidr, path, endpoint, why: why.unwrap_or_default() })
    }
}

/// What else decisions about the ways go by.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// What netdevs can do.
    pub offloads: Arc<Offloads>,
    /// Of bridge and pods, as configured; none: computed.
    pub configured_mtu: Option<Mtu>,
    /// What was turned off since a test found it broken.
    pub turned_off: Vec<TurnedOff>,
    /// What was set on devices.
    pub tuned: Tuned,
    /// How large packets may be; none: that is left alone.
    pub big_tcp: Option<Allowed>,
}

impl WayStatus {
    fn kind(&self) -> Kind {
        let way = match self.path {
            PeerPath::Vxlan => Way::Vxlan,
            PeerPath::Direct => Way::Direct,
        };
        Kind { way, family: Family::of(self.pod_cidr.ip()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use offramp_kernel::Error;

    fn seen() -> Seen {
        let settings = Settings {
            mode: Mode::Auto,
            device: "vx0".parse().unwrap(),
            vni: 1.try_into().unwrap(),
            port: 4789,
            family: None,
        };
        let peer = Peer {
            name: "n2".parse().unwrap(),
            endpoints: vec!["192.0.2.2".parse().unwrap()],
            pod_cidrs: vec!["10.244.2.0/24".parse().unwrap(), "fd44:2::/64".parse().unwrap()],
            mac: None,
        };
        let addresses = vec!["192.0.2.1/24".parse().unwrap()];
        Seen {
            settings,
            node: Node { name: "n1".parse().unwrap(), mac: None, gateways: Vec::new(), pod_mtu: None },
            underlay: Ok(Underlay { index: 2, name: "eth0".into(), mtu: 1500, addresses }),
            tunnel: Some(3),
            peers: vec![Arc::new(peer)].into(),
        }
    }

    #[test]
    fn a_peer_has_a_way_and_a_reason_for_each_family() {
        let shown = seen().status(&Known::default(), &[]);
        let peer = &shown.peers[0];
        let ways: Vec<_> = peer.ways.iter().map(|w| (w.path, w.why.as_str())).collect();
        let tunnelled = "in a subnet of eth0, but not by IPv6";
        assert_eq!(ways, [(PeerPath::Direct, "in a subnet of eth0"), (PeerPath::Vxlan, tunnelled)]);
        assert_eq!((peer.path, &peer.health), (Some(PeerPath::Direct), &Health::Ok));
        let counted = |is: &str| shown.decisions.iter().filter(|d| d.is == is).count();
        assert_eq!(counted("1 peer"), 2);
    }

    #[test]
    fn a_peer_that_is_reached_in_part_has_failed_and_shows_its_way() {
        let mut seen = seen();
        seen.settings.mode = Mode::Direct;
        let shown = &seen.status(&Known::default(), &[]).peers[0];
        assert_eq!((shown.path, shown.endpoint), (Some(PeerPath::Direct), "192.0.2.2".parse().ok()));
        let Health::Failed { reason } = &shown.health else { panic!("{:?}", shown.health) };
        assert!(reason.starts_with("fd44:2::/64: mode direct: none of its endpoints"), "{reason}");
        seen.underlay = Err("no uplink".into());
        let shown = &seen.status(&Known::default(), &[]).peers[0];
        assert_eq!((shown.path, shown.ways.len()), (None, 0));
        assert_eq!(shown.health, Health::Failed { reason: "10.244.2.0/24: no uplink".into() });
    }

    #[test]
    fn that_there_is_nothing_to_probe_has_the_reason_once() {
        let mut seen = seen();
        let report = Report { errors: vec![Error::Missing { what: "eth5".into() }], ..Report::default() };
        let lost = |seen: &Seen, report: &Report| {
            Seen::new(&seen.settings, &seen.node, report, seen.peers.clone()).idle().unwrap()
        };
        assert_eq!(lost(&seen, &Report::default()), "no uplink was found");
        assert_eq!(lost(&seen, &report), "no uplink: eth5 is not there");
        assert_eq!(seen.idle().unwrap(), "this node has no gateway yet, and so no pods");
        seen.node.gateways = vec!["10.244.1.1".parse().unwrap()];
        assert_eq!(seen.idle(), None);
        // Ways that are well lead nowhere for a node without pods of their family.
        seen.settings.mode = Mode::Direct;
        seen.node.gateways = vec!["fd44:1::1".parse().unwrap()];
        let none = "ways lead to IPv4 pods only, and this node has no IPv4 gateway";
        assert_eq!(seen.idle().unwrap(), none);
        seen.underlay.as_mut().unwrap().addresses.clear();
        assert!(seen.idle().unwrap().starts_with("no way leads to any of 1 peers"));
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
