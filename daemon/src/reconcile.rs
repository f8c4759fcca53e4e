//! The loop that keeps the node as it should be: bridge, ways to the peers, firewall. It looks when something
//! happens (netlink and nftables events, a new peers file) and, for what no event tells, regularly.

use crate::config::{Source, Standalone};
use crate::eswitch::Eswitch;
use crate::node::{Applied, Node};
use crate::overlay::{Desk, Order, Scout};
use ipnetwork::IpNetwork;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use offramp_core::ids::IfName;
use offramp_core::overlay;
use offramp_core::peer::Own;
use offramp_kernel::nft;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Events come in swarms; what follows within this is one.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How soon a firewall that new peers' ways wait for is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the plugin's STATUS is shown that the daemon lives: a third of the time that it is trusted.
const SEEN: Duration = Duration::from_secs(10);

/// Wakes the loop.
#[derive(Clone)]
pub struct Waker(Arc<Bell>);

struct Bell {
    fd: EventFd,
    all: AtomicBool,
}

/// What is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// What follows from the peers: they change by themselves, and nobody else has changed anything.
    Peers,
    /// All.
    All,
}

impl Waker {
    /// A new one.
    pub fn new() -> std::io::Result<Self> {
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self(Arc::new(Bell { fd, all: AtomicBool::new(false) })))
    }

    /// Has the loop look again.
    pub fn wake(&self, due: Due) {
        if due == Due::All {
            self.0.all.store(true, Ordering::SeqCst);
        }
        let _ = self.0.fd.write(1); // full is woken
    }

    fn woken(&self) -> Option<Due> {
        self.0.fd.read().ok()?;
        Some(if self.0.all.swap(false, Ordering::SeqCst) { Due::All } else { Due::Peers })
    }
}

/// What a look wanted that put it right. What a later look finds amiss of the same has vanished, and is repaired; what
/// is wanted for the first time is made, which is no repair.
#[derive(Debug, Default)]
pub struct Wanted<T>(Option<T>);

impl<T: PartialEq> Wanted<T> {
    /// How much of what was `amiss`, and has been put right, was a repair.
    pub fn repairs(&mut self, now: T, amiss: u64) -> u64 {
        let same = self.0.as_ref() == Some(&now);
        self.0 = Some(now);
        if same { amiss } else { 0 }
    }
}

/// The loop's state between two looks.
pub struct Reconcile {
    node: Arc<Node>,
    waker: Waker,
    nft: Option<nft::Monitor>,
    scout: Option<Scout>,
    /// Where the thread that keeps the ways to the peers finds what it has to do.
    desk: Arc<Desk>,
    eswitch: Option<Eswitch>,
    applied: Applied,
    peers: PeersFile,
    /// The claims of peers at the last look, by their generation, and what no peer may claim.
    claims: Option<(u64, Own)>,
    /// What of the peers the firewall knows.
    guarded: Arc<[IpNetwork]>,
    gateways: Wanted<Vec<IpNetwork>>,
    vf_uplink: Wanted<(bool, Option<IfName>)>,
    seen: Option<Instant>,
    /// When all is looked at again, whatever happens until then.
    next: Instant,
    /// Since when the ways to changed peers wait for the firewall.
    held: Option<Instant>,
    /// The next order calls for a look: one was due while they waited.
    look: bool,
}

/// The peers file's text at the last look and what no peer may claim, so that it is parsed when either changed.
#[derive(Default)]
struct PeersFile {
    seen: Option<(String, Own)>,
}

impl Reconcile {
    /// For `node`, woken by `waker`.
    pub fn new(node: Arc<Node>, waker: Waker, desk: Arc<Desk>) -> Self {
        let nft = nft::Monitor::open().inspect_err(|e| tracing::warn!(error = %e, "no nftables events")).ok();
        let scout = Scout::new(&node.config);
        let scout = scout.map_err(|e| node.ran("overlay", Err(e.to_string()))).ok();
        let eswitch =
            Eswitch::new(&node.config.paths.sysfs).map_err(|e| node.ran("eswitch", Err(e.to_string()))).ok();
        Self {
            node,
            waker,
            nft,
            scout,
            desk,
            eswitch,
            applied: Applied::default(),
            peers: PeersFile::default(),
            claims: None,
            guarded: Arc::default(),
            gateways: Wanted::default(),
            vf_uplink: Wanted::default(),
            seen: None,
            next: Instant::now(),
            held: None,
            look: false,
        }
    }

    /// Looks, and puts right what is not as it should be.
    pub fn pass(&mut self, due: Due) {
        let node = self.node.clone();
        if due == Due::All {
            self.find_place();
        }
        self.read_peers();
        self.read_claims();
        if due == Due::All {
            node.look_for_netkit();
            let gateways = node.gateways();
            let repairs = |amiss| self.gateways.repairs(gateways, amiss);
            node.ran("bridge", node.reconcile_bridge().map(repairs).map_err(|e| e.to_string()));
            node.ran("ports", node.reconcile_ports().map_err(|e| e.to_string()));
            let vf_routes = node.reconcile_vf_routes(&mut self.vf_uplink);
            node.ran("vf-routes", vf_routes.map_err(|e| e.to_string()));
        }
        let remote = self.node.view().remote.clone();
        let is_guarded = (due == Due::Peers && remote == self.guarded) || self.reconcile_firewall();
        let is_new = !is_guarded && remote != self.guarded;
        if is_guarded {
            self.guarded = remote;
        }
        // After the bridge, whose gateways are the routes' sources, and the firewall, which must know new peers'
        // pods before the first packet leaves: a connection once masqueraded stays so.
        self.held = is_new.then(|| self.held.unwrap_or_else(Instant::now));
        self.look |= due == Due::All;
        if !self.is_waiting() {
            let look = std::mem::take(&mut self.look);
            self.order_ways(look);
        }
        if due == Due::All {
            self.reconcile_eswitch();
            node.looked();
            self.next = Instant::now() + node.config.reconcile_interval;
        }
    }

    /// Whether the ways wait for the firewall: one that fails for good is told, and does not keep nodes apart.
    fn is_waiting(&self) -> bool {
        self.held.is_some_and(|since| since.elapsed() < self.node.config.reconcile_interval)
    }

    /// Whether the tables are as they should be.
    fn reconcile_firewall(&mut self) -> bool {
        let Self { node, nft, applied, .. } = self;
        let mut heed = || {
            // What cannot be read is read later.
            let _ = nft.as_mut().map(nft::Monitor::drain);
        };
        let outcome = node.reconcile_firewall(applied, &mut heed).map_err(|e| e.to_string());
        let succeeded = outcome.is_ok();
        node.ran("firewall", outcome);
        succeeded
    }

    /// Where the node is on the underlay decides which peers can be believed, and the pods' MTU.
    fn find_place(&mut self) {
        let place = self.scout.as_mut().and_then(|scout| scout.place().ok());
        let mut view = self.node.view();
        let configured = self.node.config.bridge.mtu;
        view.pod_mtu = configured.or(place.as_ref().map_or(view.pod_mtu, |p| p.pod_mtu));
        if let Some(place) = &place {
            view.underlay.clone_from(&place.addresses);
        }
        view.uplink = place.map(|p| p.uplink);
    }

    fn order_ways(&self, look: bool) {
        // Who is not known yet need not be gone: the ways of a former daemon stay.
        if matches!(self.node.config.source, Source::Kubernetes(_)) && self.claims.is_none() {
            return;
        }
        let gateways = self.node.gateways().iter().map(IpNetwork::ip).collect();
        let view = self.node.view();
        let name = self.node.config.node.name.clone();
        let node = overlay::Node { name, mac: None, gateways, pod_mtu: view.pod_mtu };
        self.desk.leave(Order { node, peers: view.peers.clone(), look });
    }

    fn reconcile_eswitch(&mut self) {
        let Some(eswitch) = &mut self.eswitch else { return };
        let outcome = eswitch.reconcile(&self.node);
        self.node.ran("eswitch", outcome.map_err(|e| e.to_string()));
    }

    /// Looks for ever.
    pub fn run(mut self) {
        loop {
            let due = self.wait();
            self.pass(due);
        }
    }

    /// Until something of ours may have changed, or it is time. Every pod that comes or goes makes a dozen events
    /// that are none of ours: they are read a swarm at a time, or reading them would cost more than the pod.
    fn wait(&mut self) -> Due {
        let retry = Some(Instant::now() + RETRY).filter(|at| self.is_waiting() && *at < self.next);
        let (at, due) = retry.map_or((self.next, Due::All), |at| (at, Due::Peers));
        loop {
            self.touch_seen();
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return due;
            }
            if self.any_event(left.min(SEEN)) {
                std::thread::sleep(DEBOUNCE);
                self.node.calls.let_pass();
                if let Some(due) = self.drain() {
                    return due;
                }
            }
        }
    }

    /// Waits for events, of whatever concern.
    fn any_event(&self, patience: Duration) -> bool {
        let mut fds = vec![PollFd::new(self.waker.0.fd.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.nft.as_ref().map(|m| PollFd::new(m.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.eswitch.as_ref().map(|e| PollFd::new(e.fd(), PollFlags::POLLIN)));
        fds.extend(self.scout.as_ref().and_then(Scout::fd).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        poll(&mut fds, timeout).is_ok_and(|n| n > 0)
    }

    /// Reads all events; what is due by them, if anything. What bridges learn concerns only the switches that are told of it,
    /// not all the rest.
    fn drain(&mut self) -> Option<Due> {
        if self.eswitch.as_mut().is_some_and(Eswitch::drain) {
            self.reconcile_eswitch();
        }
        let woken = self.waker.woken();
        let nft = self.nft.as_mut().is_some_and(|m| m.drain().unwrap_or(true));
        let place = self.scout.as_mut().is_some_and(Scout::drain);
        woken.max((nft || place).then_some(Due::All))
    }

    fn touch_seen(&mut self) {
        if self.seen.is_some_and(|at| at.elapsed() < SEEN / 2) {
            return;
        }
        self.seen = Some(Instant::now());
        let path = self.node.store.root().join("offrampd.seen");
        if let Err(e) = std::fs::write(&path, "") {
            tracing::warn!(path = %path.display(), error = %e, "cannot show that the daemon lives");
        }
    }

    /// What the API has told of the other nodes.
    fn read_claims(&mut self) {
        let own = self.node.own();
        let claims = self.node.claims();
        let now = Some((claims.generation(), own));
        if !claims.known() || self.claims == now {
            return;
        }
        let Some((_, own)) = &now else { return };
        let (peers, left_out) = claims.accept(own);
        drop(claims);
        self.claims = now;
        let mut view = self.node.view();
        for problem in left_out.iter().filter(|problem| !view.left_out.contains(problem)) {
            tracing::warn!("{problem}");
        }
        tracing::debug!(peers = peers.len(), left_out = left_out.len(), "the peers are others");
        view.set_peers(peers, left_out);
    }

    /// A file that cannot be used leaves the last good one in force.
    fn read_peers(&mut self) {
        let Source::Standalone(Standalone { peers_file: Some(path), .. }) = &self.node.config.source else {
            return;
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) => {
                self.peers.seen = None;
                let fault = format!("peers file {}: {e}", path.display());
                let mut view = self.node.view();
                if view.peers_fault.as_ref() != Some(&fault) {
                    tracing::warn!(%fault, "no peers can be read");
                }
                view.peers_fault = Some(fault);
                return;
            }
        };
        let own = self.node.own();
        let now = Some((text, own));
        if self.peers.seen == now {
            return;
        }
        self.peers.seen = now;
        let Some((text, own)) = &self.peers.seen else { return };
        let parsed = crate::config::peers::parse(text, own);
        let mut view = self.node.view();
        match parsed {
            Ok((peers, left_out)) => {
                tracing::info!(peers = peers.len(), left_out = left_out.len(), "read the peers file");
                for problem in &left_out {
                    tracing::warn!("{problem}");
                }
                view.set_peers(peers.into_iter().map(Arc::new).collect(), left_out);
                view.peers_fault = None;
            }
            Err(fault) => {
                tracing::warn!(%fault, "the peers file cannot be used, the last good one is in force");
                view.peers_fault = Some(format!("peers file {}: {fault}", path.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_for_the_first_time_is_no_repair() {
        let mut wanted = Wanted::default();
        assert_eq!(wanted.repairs("nic0", 6), 0);
        assert_eq!(wanted.repairs("nic0", 0), 0);
        assert_eq!(wanted.repairs("nic0", 2), 2, "they were there, and vanished");
        assert_eq!(wanted.repairs("nic1", 6), 0, "another uplink");
        assert_eq!(wanted.repairs("nic1", 1), 1);
    }
}
