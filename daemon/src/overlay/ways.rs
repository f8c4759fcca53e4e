//! Keeps the ways to the peers in the kernel. When peers change, what these need is sent and nothing is read; when
//! somebody else may have changed something, and regularly, all is read and compared.

use super::desk::{Desk, Order};
use super::report::{self, Seen};
use crate::config;
use crate::node::Node;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use offramp_core::overlay::{Mode, Settings};
use offramp_core::peer::{Peers, difference};
use offramp_kernel::Result;
use offramp_kernel::netlink::Socket;
use offramp_kernel::overlay::{Choice, Interest, Monitor, Report, Tools, follow, reconcile};
use offramp_kernel::sysctl::Sysctl;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Events come in swarms; what follows within this is one.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// The ways, as they were last made.
pub struct Ways {
    socket: Socket,
    /// Its routes, but for changes by our own socket; of which link the entries matter, each look finds out.
    interest: Interest,
    sysctl: Sysctl,
    monitor: Option<Monitor>,
    settings: Settings,
    choice: Choice,
    last: Option<Last>,
}

/// What must go on being so that the ways are right; when it changes, changes are no repairs.
struct Last {
    node: offramp_core::overlay::Node,
    peers: Peers,
    report: Report,
}

/// What came of an order.
#[derive(Debug)]
pub struct Outcome {
    /// For the command line.
    pub seen: Seen,
    /// How much was repaired, or why not all is as it should be.
    pub repairs: std::result::Result<u64, String>,
}

impl Ways {
    /// Opens the sockets in the calling thread's namespace.
    pub fn new(config: &config::Config) -> Result<Self> {
        let socket = Socket::open()?;
        let interest = Interest { routes: true, own: socket.port().ok(), ..Interest::default() };
        // Without it the regular looks must do.
        let mut monitor =
            Monitor::open_of_ways().inspect_err(|e| tracing::warn!(error = %e, "no netlink events")).ok();
        // Before the first order: what others do while that is executed must not be missed.
        monitor.iter_mut().for_each(|monitor| monitor.follow(interest.clone()));
        Ok(Self {
            socket,
            interest,
            sysctl: Sysctl::at(&config.paths.sysctl),
            monitor,
            settings: super::settings(&config.overlay)?,
            choice: super::choice(&config.node),
            last: None,
        })
    }

    /// Keeps the ways for ever; calls `begun` when an order that was there before has been executed.
    pub fn run(mut self, desk: &Desk, node: &Node, begun: impl FnOnce()) {
        let mut current = None;
        self.serve(desk, node, &mut current);
        begun();
        loop {
            self.wait(desk);
            self.serve(desk, node, &mut current);
        }
    }

    /// Executes a new order, or the current one again if somebody else has changed something.
    fn serve(&mut self, desk: &Desk, node: &Node, current: &mut Option<Order>) {
        let new = desk.take();
        let heard = self.monitor.as_mut().is_some_and(|m| m.drain().unwrap_or(true));
        let is_new = new.is_some();
        *current = new.or(current.take());
        let Some(order) = current.as_mut().filter(|_| is_new || heard) else { return };
        order.look |= heard;
        let outcome = self.execute(order);
        let before = node.view().overlay.replace(Arc::new(outcome.seen));
        let links = |seen: Option<Arc<Seen>>| seen.and_then(|seen| seen.links());
        let now = node.view().overlay.clone();
        if links(before) != links(now) {
            // They are to be looked at, and to be set as wanted.
            node.offloads.bell.ring();
        }
        node.ran("overlay", outcome.repairs);
        node.probes.ring();
    }

    /// Until there is an order, or something was changed.
    fn wait(&self, desk: &Desk) {
        // While an order was executed: the socket is empty, and nobody would wake us.
        if self.monitor.as_ref().is_some_and(Monitor::has_heard) {
            std::thread::sleep(DEBOUNCE);
            return;
        }
        let mut fds = vec![PollFd::new(desk.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.monitor.as_ref().map(|m| PollFd::new(m.as_fd(), PollFlags::POLLIN)));
        let rung = poll(&mut fds, PollTimeout::NONE).is_ok() && fds[0].any().unwrap_or(false);
        if !rung {
            std::thread::sleep(DEBOUNCE);
        }
    }

    /// Makes the kernel have what the order calls for. The gateways must be on the bridge.
    pub fn execute(&mut self, order: &mut Order) -> Outcome {
        let Order { node, peers, look } = order;
        let last = self.last.take().filter(|last| last.node == *node);
        let changed = last.as_ref().map(|last| difference(&last.peers, peers));
        let mut tools =
            Tools { socket: &mut self.socket, sysctl: &self.sysctl, monitor: self.monitor.as_mut() };
        let (report, repairs) = match (last, changed) {
            (Some(last), Some((gone, new))) if !*look && can_follow(&self.settings, &last.report) => {
                (follow(&mut tools, &self.settings, node, &last.report, (&gone, &new)), 0)
            }
            (last, changed) => {
                let report = reconcile(&mut tools, &self.settings, node, &self.choice, peers);
                let same = last.is_some_and(|last| last.report.underlay == report.underlay)
                    && changed.is_some_and(|(gone, new)| gone.is_empty() && new.is_empty());
                let repairs = if same { report.changes.count as u64 } else { 0 };
                (report, repairs)
            }
        };
        *look = false;
        for change in &report.changes.first {
            tracing::debug!(change, of = report.changes.count, "overlay");
        }
        if let Some(monitor) = &mut self.monitor {
            monitor.follow(Interest { tunnel: report.tunnel, ..self.interest.clone() });
        }
        let outcome = Outcome {
            seen: Seen::new(&self.settings, node, &report, peers.clone()),
            repairs: report::fault(&report).map_or(Ok(repairs), Err),
        };
        self.last = Some(Last { node: node.clone(), peers: peers.clone(), report });
        outcome
    }
}

/// Whether the kernel is known to have had all, but for what somebody has changed since.
fn can_follow(settings: &Settings, last: &Report) -> bool {
    let has_tunnel = last.tunnel.is_some() || !settings.mode.tunnels();
    settings.mode != Mode::None && last.errors.is_empty() && last.underlay.is_some() && has_tunnel
}
