//! Executes steps and takes them back.

use crate::delete::{self, Patience};
use crate::netlink::Socket;
use crate::sysctl::Sysctl;
use crate::{Netns, Result, fdb, link, neigh, steps, vf};
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::record::NetnsRef;
use offramp_core::step::{Neighbours, Step, Undo};
use std::net::IpAddr;

/// Sockets into the node's namespace and the pod's.
pub struct Executor<'a> {
    pub(crate) host: Socket,
    pub(crate) pod: Option<Pod<'a>>,
    pub(crate) sysctl: Sysctl,
    pub(crate) vfs: vf::Host<'a>,
    pub(crate) record_netns: Option<NetnsRef>,
    /// Found by an earlier step: its name and index.
    pub(crate) bridge: Option<(IfName, u32)>,
    patience: Patience,
}

/// The pod's side.
pub(crate) struct Pod<'a> {
    pub(crate) netns: &'a Netns,
    pub(crate) socket: Socket,
}

impl<'a> Executor<'a> {
    /// For the calling thread's namespace, and the pod's. Steps within the pod need the latter; undoing does not.
    pub fn new(netns: Option<&'a Netns>) -> Result<Self> {
        let pod = match netns {
            Some(netns) => Some(Pod { netns, socket: Socket::open_in(netns)? }),
            None => None,
        };
        Ok(Self {
            host: Socket::open()?,
            pod,
            sysctl: Sysctl::default(),
            vfs: vf::Host::default(),
            record_netns: None,
            bridge: None,
            patience: Patience::Ack,
        })
    }

    /// With sysctls below another root.
    pub fn with_sysctl(mut self, sysctl: Sysctl) -> Self {
        self.sysctl = sysctl;
        self
    }

    /// With VFs found, and locked, so.
    pub fn with_vfs(mut self, host: vf::Host<'a>) -> Self {
        self.vfs = host;
        self
    }

    /// With the namespace that a record names: a VF that is taken back is looked for there first.
    pub fn with_record_netns(mut self, netns: NetnsRef) -> Self {
        self.record_netns = Some(netns);
        self
    }

    /// How long a deletion is waited for.
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Executes one step.
    pub fn apply(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::EnsureBridge(bridge) => steps::bridge::ensure(self, bridge),
            Step::CreateVeth(pair) => steps::pair::create_veth(self, pair),
            Step::CreateNetkit(netkit) => steps::pair::create_netkit(self, netkit),
            Step::CreateNetkitL3(pair) => steps::pair::create_netkit_l3(self, pair),
            Step::AttachPort(port) => steps::port::attach(self, port),
            Step::AttachRouted(routed) => steps::routed::attach(self, routed),
            Step::KnowMac(know) => fdb::inform(&mut self.host, know),
            Step::Shape(shape) => steps::shape::apply(self, shape),
            Step::Gateway(gateway) => steps::bridge::gateway(self, gateway),
            Step::ConfigurePod(pod) => steps::pod::configure(self, pod),
            Step::Neighbours(neighbours) => steps::bridge::neighbours(self, neighbours),
            Step::AwaitCarrier(links) => steps::carrier::wait(self, links),
            Step::Announce(announce) => steps::announce::send(self, announce),
            Step::HostRoute(route) => steps::host_route::add(self, route),
            Step::LeaseQueues(lease) => steps::lease::lease(self, lease),
            Step::SteerQueues(steer) => steps::steer::steer(self, steer),
            Step::PlugRepresentor(plug) => steps::representor::plug(self, plug),
            Step::ConfigureVf(vf) => steps::vf::configure(self, vf),
            Step::BindVf(vf) => steps::vf::bind(self, vf),
            Step::MoveVf(vf) => steps::vf::move_in(self, vf),
        }
    }

    /// Takes one step back; what is not there, or is somebody else's, is left.
    pub fn undo(&mut self, step: &Step) -> Result<()> {
        match step.undo() {
            None => Ok(()),
            Some(Undo::DeleteLink { name, mac }) => self.delete_link(name, mac),
            Some(Undo::RemoveBridge { name, mac }) => match steps::bridge::has_ports(self, name)? {
                true => Ok(()),
                false => self.delete_link(name, Some(mac)),
            },
            Some(Undo::ForgetNeighbours(neighbours)) => self.forget(neighbours),
            Some(Undo::ForgetMac(know)) => fdb::forget(&mut self.host, know),
            Some(Undo::RemoveHostRoute(route)) => steps::host_route::remove(self, route),
            Some(Undo::UnplugRepresentor(plug)) => steps::representor::unplug(self, plug),
            Some(Undo::Unsteer(steer)) => steps::steer::unsteer(self, steer),
            Some(Undo::ReturnVf(vf)) => steps::vf::bring_back(self, vf),
        }
    }

    /// Takes all steps back in reverse, going on past errors; they are returned together. Neighbours go first, before
    /// the deletion holds the kernel's lock, and what the pod said until its link was gone goes after it.
    pub fn undo_all(&mut self, steps: &[Step]) -> Vec<crate::Error> {
        self.undo_while(steps, |_| true)
    }

    /// The same, of those steps that are `still` to be taken back when their turn comes.
    pub fn undo_while(&mut self, steps: &[Step], still: impl Fn(&Step) -> bool) -> Vec<crate::Error> {
        let (neighbours, others): (Vec<&Step>, Vec<&Step>) =
            steps.iter().rev().partition(|s| matches!(s, Step::Neighbours(_)));
        let mut errors = Vec::new();
        for step in neighbours.iter().copied().chain(others).chain(neighbours.iter().copied()) {
            crate::crash::point(step.name());
            if still(step) {
                errors.extend(self.undo(step).err());
            }
        }
        errors
    }

    fn delete_link(&mut self, name: &IfName, mac: Option<MacAddr>) -> Result<()> {
        match link::find(&mut self.host, name)? {
            Some(link) if link.is_host_end(mac) => {
                delete::link(&mut self.host, name, link.index, self.patience)
            }
            _ => Ok(()),
        }
    }

    fn forget(&mut self, n: &Neighbours) -> Result<()> {
        let Some(bridge) = link::index_of(&n.bridge)? else { return Ok(()) };
        // The pod's router solicitations told this one.
        let link_local = n.ips.iter().any(IpAddr::is_ipv6).then(|| IpAddr::from(n.mac.link_local()));
        for ip in n.ips.iter().copied().chain(link_local) {
            // An entry with another MAC is a newer holder's; one without any is of nobody.
            match neigh::mac_of(&mut self.host, n.bridge.as_str(), bridge, ip)? {
                Some(mac) if mac.is_empty() || mac == n.mac.octets() => {
                    self.host.batch(vec![neigh::remove(n.bridge.as_str(), bridge, ip)])?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
