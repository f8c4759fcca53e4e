//! Where this node is on the underlay, and whether its links, addresses and default routes change.

use crate::config;
use crate::status::LinkStatus;
use ipnetwork::IpNetwork;
use offramp_core::ids::{IfName, Mtu};
use offramp_core::overlay::{Settings, Underlay, pod_mtu};
use offramp_kernel::netlink::Socket;
use offramp_kernel::overlay::{Choice, Interest, Monitor, find_underlay};
use offramp_kernel::{Error, Result, link};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

/// Looks for this node's place.
pub struct Scout {
    socket: Socket,
    monitor: Option<Monitor>,
    settings: Settings,
    choice: Choice,
    bridge: IfName,
}

/// What was found out about the node's place.
#[derive(Debug, Clone)]
pub struct Place {
    /// The uplink.
    pub uplink: LinkStatus,
    /// This node's addresses on it.
    pub addresses: Vec<IpAddr>,
    /// The largest MTU that every way carries.
    pub pod_mtu: Option<Mtu>,
}

impl Scout {
    /// Opens the sockets in the calling thread's namespace.
    pub fn new(config: &config::Config) -> Result<Self> {
        Ok(Self {
            socket: Socket::open()?,
            // Without it the regular looks must do.
            monitor: Monitor::open().inspect_err(|e| tracing::warn!(error = %e, "no netlink events")).ok(),
            settings: super::settings(&config.overlay)?,
            choice: super::choice(&config.node),
            bridge: config.bridge.name.clone(),
        })
    }

    /// Where this node is on the underlay; the error says what was looked for.
    pub fn place(&mut self) -> Result<Place> {
        let underlay = find_underlay(&mut self.socket, &self.choice);
        self.follow(underlay.as_ref().ok());
        let underlay = underlay?;
        let name: std::result::Result<IfName, _> = underlay.name.parse();
        let name =
            name.map_err(|e| Error::Unfit { what: format!("link {}", underlay.index), why: e.to_string() })?;
        Ok(Place {
            uplink: LinkStatus { name, mtu: underlay.mtu },
            addresses: underlay.addresses.iter().map(IpNetwork::ip).collect(),
            pod_mtu: Mtu::try_from(u64::from(pod_mtu(&self.settings, &underlay))).ok(),
        })
    }

    /// Tells the monitor what matters now.
    fn follow(&mut self, underlay: Option<&Underlay>) {
        let Some(monitor) = &mut self.monitor else { return };
        let bridge = link::find(&mut self.socket, &self.bridge).ok().flatten();
        let configured = self.choice.uplink.as_ref().map(ToString::to_string);
        let uplink = underlay.map(|u| u.name.clone()).or(configured);
        let ours = [self.settings.device.to_string(), self.bridge.to_string()];
        monitor.follow(Interest {
            names: ours.into_iter().chain(uplink).collect(),
            addressed: bridge.map(|b| b.index).into_iter().chain(underlay.map(|u| u.index)).collect(),
            uplink: underlay.map(|u| u.index),
            default_route: self.choice.uplink.is_none(),
            ..Interest::default()
        });
    }

    /// To wait at for events; none if there are none to be had.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.monitor.as_ref().map(Monitor::as_fd)
    }

    /// Reads all events; whether another look is due.
    pub fn drain(&mut self) -> bool {
        self.monitor.as_mut().is_some_and(|m| m.drain().unwrap_or(true))
    }
}
