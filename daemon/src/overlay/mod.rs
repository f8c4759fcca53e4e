//! The ways to the other nodes: keeps what one look needs between two, and says when another is due.

mod report;

use crate::config::{self, OverlayMode};
use crate::status::{LinkStatus, OverlayStatus};
use ipnetwork::IpNetwork;
use offramp_core::ids::{IfName, Mtu, Vni};
use offramp_core::overlay::{Mode, Node, Settings, Underlay, pod_mtu};
use offramp_core::peer::{Peer, Problem};
use offramp_kernel::netlink::Socket;
use offramp_kernel::overlay::{Choice, Interest, Monitor, find_underlay, reconcile};
use offramp_kernel::sysctl::Sysctl;
use offramp_kernel::{Result, link};
use std::os::fd::BorrowedFd;

/// What must go on being so that the ways are right; when it changes, changes are no repairs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Basis {
    node: Node,
    underlay: Option<Underlay>,
    peers: Vec<Peer>,
}

/// The overlay of this node.
pub struct Overlay {
    socket: Socket,
    monitor: Option<Monitor>,
    settings: Settings,
    choice: Choice,
    sysctl: Sysctl,
    name: offramp_core::ids::NodeName,
    bridge: IfName,
    basis: Option<Basis>,
}

/// What was found out about the node's place.
#[derive(Debug, Clone)]
pub struct Place {
    /// The uplink.
    pub uplink: LinkStatus,
    /// This node's addresses on it.
    pub addresses: Vec<std::net::IpAddr>,
    /// The largest MTU that every way carries.
    pub pod_mtu: Option<Mtu>,
}

/// The outcome of a look.
#[derive(Debug)]
pub struct Outcome {
    /// For the command line.
    pub status: OverlayStatus,
    /// How much was repaired, or why not all is as it should be.
    pub repairs: std::result::Result<u64, String>,
}

impl Overlay {
    /// Opens the sockets in the calling thread's namespace.
    pub fn new(config: &config::Config) -> Result<Self> {
        let config::Overlay { mode, vni, port, device, underlay } = &config.overlay;
        let config::Node { name, addresses, uplink } = &config.node;
        // Its range was checked with the configuration.
        let vni = Vni::try_from(u64::from(*vni))
            .map_err(|e| offramp_kernel::Error::Unfit { what: "overlay.vni".into(), why: e.to_string() })?;
        let settings =
            Settings { mode: mode_of(*mode), device: device.clone(), vni, port: *port, family: *underlay };
        Ok(Self {
            socket: Socket::open()?,
            // Without it the regular looks must do.
            monitor: Monitor::open().inspect_err(|e| tracing::warn!(error = %e, "no netlink events")).ok(),
            settings,
            choice: Choice { uplink: uplink.clone(), addresses: addresses.clone() },
            sysctl: Sysctl::at(&config.paths.sysctl),
            name: name.clone(),
            bridge: config.bridge.name.clone(),
            basis: None,
        })
    }

    /// Where this node is on the underlay; the error says what was looked for.
    pub fn place(&mut self) -> Result<Place> {
        let underlay = find_underlay(&mut self.socket, &self.choice)?;
        let name: std::result::Result<IfName, _> = underlay.name.parse();
        let name = name.map_err(|e| offramp_kernel::Error::Unfit {
            what: format!("link {}", underlay.index),
            why: e.to_string(),
        })?;
        Ok(Place {
            uplink: LinkStatus { name, mtu: underlay.mtu },
            addresses: underlay.addresses.iter().map(IpNetwork::ip).collect(),
            pod_mtu: Mtu::try_from(u64::from(pod_mtu(&self.settings, &underlay))).ok(),
        })
    }

    /// Makes the kernel have what the peers call for. The gateways must be on the bridge.
    pub fn reconcile(
        &mut self,
        gateways: &[IpNetwork],
        pod_mtu: Option<Mtu>,
        peers: &[Peer],
        left_out: &[Problem],
    ) -> Outcome {
        let node = Node {
            name: self.name.clone(),
            mac: None,
            gateways: gateways.iter().map(IpNetwork::ip).collect(),
            pod_mtu,
        };
        let report = reconcile(&mut self.socket, &self.settings, &node, &self.choice, &self.sysctl, peers);
        for change in &report.changes {
            tracing::debug!(change, "overlay");
        }
        let basis = Basis { node, underlay: report.underlay.clone(), peers: peers.to_vec() };
        let repairs = if self.basis.as_ref() == Some(&basis) { report.changes.len() as u64 } else { 0 };
        self.basis = Some(basis);
        self.follow(report.tunnel, report.underlay.as_ref());
        Outcome {
            status: report::status(&self.settings, &report, peers, left_out),
            repairs: report::fault(&report).map_or(Ok(repairs), Err),
        }
    }

    /// Tells the monitor what matters now.
    fn follow(&mut self, tunnel: Option<u32>, underlay: Option<&Underlay>) {
        let Some(monitor) = &mut self.monitor else { return };
        let bridge = link::find(&mut self.socket, &self.bridge).ok().flatten();
        let configured = self.choice.uplink.as_ref().map(ToString::to_string);
        let uplink = underlay.map(|u| u.name.clone()).or(configured);
        monitor.follow(Interest {
            names: [self.settings.device.to_string(), self.bridge.to_string()]
                .into_iter()
                .chain(uplink)
                .collect(),
            tunnel,
            addressed: bridge.map(|b| b.index).into_iter().chain(underlay.map(|u| u.index)).collect(),
            uplink: underlay.map(|u| u.index),
            default_route: self.choice.uplink.is_none(),
        });
    }

    /// To wait at for events; none if there are none to be had.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        self.monitor.as_ref().map(Monitor::as_fd)
    }

    /// Reads all events; whether another look is due.
    pub fn drain(&mut self) -> bool {
        self.monitor.as_mut().is_some_and(|m| m.drain().unwrap_or(true))
    }
}

fn mode_of(mode: OverlayMode) -> Mode {
    match mode {
        OverlayMode::Auto => Mode::Auto,
        OverlayMode::Vxlan => Mode::Vxlan,
        OverlayMode::Direct => Mode::Direct,
        OverlayMode::None => Mode::None,
    }
}
