//! Hearing of changes. The kernel tells everything that happens in the namespace; what is of interest is told
//! from the rest by the first bytes of a message, since a busy node has thousands a second. What we change
//! ourselves is heard too, and known by its origin or, where the kernel does not tell that, by being as it should.

use super::tables;
use crate::link::{Link, data_of};
use crate::{Error, Result, filter};
use netlink_packet_core::Parseable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{InfoBond, InfoData, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourMessage, NeighbourState};
use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc::{AF_BRIDGE, sock_filter};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use offramp_core::ids::MacAddr;
use offramp_core::overlay::{Desired, Fdb, ROUTE_PROTOCOL};
use offramp_core::vf::ROUTE_PROTOCOL as VF_ROUTES;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// Groups of include/uapi/linux/rtnetlink.h (enum rtnetlink_groups): links, neighbours, and the addresses and
/// routes of both families.
const GROUPS: [u32; 6] = [1, 3, 5, 7, 9, 11];
const WAYS: [u32; 3] = [3, 7, 11];
/// Message types of the same file: RTM_NEW*, the deletion is the next.
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const NEW_NEIGHBOUR: u16 = 28;
/// Room for bursts, in bytes; what does not fit costs one look.
const RECEIVE_BUFFER: usize = 1 << 20;
const HEADER: usize = 16;

/// What changes matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interest {
    /// Links of these names coming, going and changing: the tunnel, the uplink, the bridge.
    pub names: Vec<String>,
    /// The number of the link whose neighbours and forwarding entries matter, if they are not as they should: the tunnel.
    pub tunnel: Option<u32>,
    /// The numbers of the links whose addresses matter: the uplink, the bridge.
    pub addressed: Vec<u32>,
    /// The number of the link by which VF pods are reached: that a neighbour of it was removed matters. On the bridge it
    /// does not: every pod that goes takes its entry along.
    pub uplink: Option<u32>,
    /// The uplink is told by the default route.
    pub default_route: bool,
    /// Whether the overlay's routes matter.
    pub routes: bool,
    /// The port of the socket whose changes of routes are our own.
    pub own: Option<u32>,
}

/// A link as far as it matters: a bridge tells of itself at each pod, and mostly it has not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Digest {
    name: String,
    up: bool,
    mtu: u32,
    mac: Vec<u8>,
    /// See [`lasting`].
    data: Option<InfoData>,
}

/// A socket that hears of changes in one namespace; never blocks.
pub struct Monitor {
    raw: RawSocket,
    buffer: Vec<u8>,
    interest: Interest,
    known: BTreeMap<u32, Digest>,
    expected: Expected,
    /// What was heard, and nobody told yet.
    heard: bool,
}

/// The entries of the tunnel that should be.
#[derive(Default)]
struct Expected {
    neighbours: BTreeMap<IpAddr, MacAddr>,
    fdb: BTreeMap<[u8; 6], IpAddr>,
}

impl Monitor {
    /// Opens one in the calling thread's namespace. It hears from now on, so: first this, then a look at all.
    pub fn open() -> Result<Self> {
        Self::of(&GROUPS)
    }

    /// As [`Monitor::open`], of neighbours and routes alone.
    pub fn open_of_ways() -> Result<Self> {
        Self::of(&WAYS)
    }

    fn of(groups: &[u32]) -> Result<Self> {
        let fail = |e: std::io::Error| Error::io("open a netlink monitor", &e);
        let mut raw = RawSocket::new(NETLINK_ROUTE).map_err(fail)?;
        filter::attach(raw.as_fd(), &but_of_bridges()).map_err(fail)?;
        raw.bind(&SocketAddr::new(0, 0)).map_err(fail)?;
        for group in groups {
            raw.add_membership(*group).map_err(fail)?;
        }
        raw.set_non_blocking(true).map_err(fail)?;
        // Only root may go over the system's bound; others have its default.
        let _ = setsockopt(&raw, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        Ok(Self {
            raw,
            buffer: vec![0; 32 << 10],
            interest: Interest::default(),
            known: BTreeMap::new(),
            expected: Expected::default(),
            heard: false,
        })
    }

    /// The entries of the tunnel, which may have been made anew under another number, are about to be made these.
    pub(super) fn expect(&mut self, tunnel: Option<u32>, wanted: &Desired) {
        self.interest.tunnel = tunnel;
        self.expected = Expected::default();
        self.expect_change(&Desired::default(), wanted);
    }

    /// These of the tunnel's entries are about to be made those.
    pub(super) fn expect_change(&mut self, had: &Desired, wanted: &Desired) {
        let Expected { neighbours, fdb } = &mut self.expected;
        for ip in had.neighbours.keys() {
            neighbours.remove(ip);
        }
        for mac in had.fdb.keys() {
            fdb.remove(&mac.octets());
        }
        neighbours.extend(wanted.neighbours.iter().map(|(ip, mac)| (*ip, *mac)));
        fdb.extend(wanted.fdb.iter().map(|(mac, endpoint)| (mac.octets(), *endpoint)));
    }

    /// Hears what was done by now, for [`Monitor::drain`] to tell. What cannot be read may be anything.
    pub(super) fn listen(&mut self) {
        self.heard |= self.read().unwrap_or(true);
    }

    /// Whether something was heard that [`Monitor::drain`] has yet to tell: there may be nothing left to wait for.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// Says what matters from now on.
    pub fn follow(&mut self, interest: Interest) {
        self.interest = interest;
    }

    /// Reads all that is there; whether something that matters may have changed.
    pub fn drain(&mut self) -> Result<bool> {
        let read = self.read()?;
        Ok(std::mem::take(&mut self.heard) | read)
    }

    fn read(&mut self) -> Result<bool> {
        let mut changed = false;
        loop {
            match recv(self.raw.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_TRUNC) {
                Ok(len) if len > self.buffer.len() => changed = true,
                Ok(len) => {
                    let bytes = std::mem::take(&mut self.buffer);
                    changed |= self.matters(&bytes[..len]);
                    self.buffer = bytes;
                }
                Err(Errno::EAGAIN) => return Ok(changed),
                Err(Errno::EINTR) => {}
                // Some are lost: anything may have happened.
                Err(Errno::ENOBUFS) => changed = true,
                Err(e) => return Err(Error::sys("read from a netlink monitor", e)),
            }
        }
    }

    fn matters(&mut self, mut rest: &[u8]) -> bool {
        let mut changed = false;
        while rest.len() > HEADER {
            let len = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let Some(message) = rest.get(..len).filter(|m| m.len() > HEADER) else { return true };
            changed |= self.one_matters(message);
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        changed
    }

    fn one_matters(&mut self, message: &[u8]) -> bool {
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        let origin = u32::from_ne_bytes([message[12], message[13], message[14], message[15]]);
        let body = &message[HEADER..];
        // The even number makes, the next one deletes.
        match kind & !1 {
            NEW_LINK => self.link_matters(kind, body),
            // struct ifaddrmsg and struct ndmsg both have the link's number at byte 4.
            NEW_ADDRESS => index(body).is_some_and(|i| self.interest.addressed.contains(&i)),
            NEW_NEIGHBOUR => index(body).is_some_and(|i| self.neighbour_matters(kind, i, body)),
            NEW_ROUTE => self.route_matters(body, origin),
            _ => false,
        }
    }

    /// struct rtmsg: byte 1 is the destination's prefix length, byte 5 the protocol.
    fn route_matters(&self, body: &[u8], origin: u32) -> bool {
        let Interest { routes, own, default_route, names, .. } = &self.interest;
        match body.get(5) {
            Some(&ROUTE_PROTOCOL) => *routes && *own != Some(origin),
            Some(&VF_ROUTES) => !names.is_empty(),
            _ => *default_route && body.get(1) == Some(&0),
        }
    }

    /// On the uplink entries are confirmed all the time; those of VF pods are permanent, and somebody may remove one.
    fn neighbour_matters(&self, kind: u16, link: u32, body: &[u8]) -> bool {
        let removed = kind != NEW_NEIGHBOUR;
        let of_tunnel = self.interest.tunnel == Some(link) && !self.expected.is_so(removed, body);
        of_tunnel || (removed && self.interest.uplink == Some(link))
    }

    /// Every link of the node tells of itself here: only those that are followed are decoded in full.
    fn link_matters(&mut self, kind: u16, body: &[u8]) -> bool {
        let Some(index) = index(body) else { return false };
        let link = Link::parse(body);
        let followed = self.interest.names.contains(&link.name);
        if kind != NEW_LINK {
            return self.known.remove(&index).is_some() || followed;
        }
        if !followed {
            // A pod's, which somebody has put down or out of its group.
            let is_amiss = link.is_netkit_l3() && !link.is_routed();
            return self.known.remove(&index).is_some() || is_amiss;
        }
        let Link { name, mac, mtu, up, kind, .. } = link;
        let telling = matches!(kind.as_deref(), Some("vxlan" | "bond"));
        let full = telling.then(|| LinkMessage::parse(body).ok()).flatten();
        let digest = Digest { name, up, mtu, mac, data: full.as_ref().and_then(data_of).and_then(lasting) };
        let changed = self.known.get(&index) != Some(&digest);
        self.known.insert(index, digest);
        changed
    }
}

impl Expected {
    /// Whether what is told of an entry of the tunnel is as it should be.
    fn is_so(&self, removed: bool, body: &[u8]) -> bool {
        let Ok(message) = NeighbourMessage::parse(body) else { return false };
        if message.header.family == AddressFamily::Bridge {
            let Some(Fdb { mac, endpoint }) = tables::entry(&message) else { return false };
            let should = self.fdb.get(&mac);
            return if removed { should.is_none() } else { should.is_some() && should == endpoint.as_ref() };
        }
        let Some((ip, mac)) = tables::neighbour(&message) else { return false };
        let should = self.neighbours.get(&ip);
        // The others are the kernel's own, or about to go.
        let is_permanent = message.header.state == NeighbourState::Permanent;
        if removed || !is_permanent { should.is_none() } else { should.is_some() && should == mac.as_ref() }
    }
}

/// What of a link's settings matters: all of a VXLAN device's, and which port of a bond carries traffic. A bridge's hold
/// timers, which never are the same.
fn lasting(data: InfoData) -> Option<InfoData> {
    match data {
        InfoData::Vxlan(_) => Some(data),
        InfoData::Bond(mut all) => {
            all.retain(|setting| matches!(setting, InfoBond::ActivePort(_)));
            Some(InfoData::Bond(all))
        }
        _ => None,
    }
}

/// Drops what bridges tell of their ports in a family of their own: struct ifinfomsg begins with the family.
fn but_of_bridges() -> [sock_filter; 8] {
    [
        filter::load_byte(filter::BODY),
        filter::unless(AF_BRIDGE as u32, 5),
        filter::load_half(filter::KIND),
        filter::unless(filter::half(NEW_LINK), 1),
        filter::DROP,
        filter::unless(filter::half(NEW_LINK + 1), 1),
        filter::DROP,
        filter::PASS,
    ]
}

fn index(body: &[u8]) -> Option<u32> {
    body.get(4..8)?.try_into().ok().map(u32::from_ne_bytes)
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.raw.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::info;
    use crate::message;
    use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags};
    use nix::libc::{AF_INET, AF_UNSPEC};
    use offramp_core::pair::ROUTED_GROUP;

    /// struct ifinfomsg
    const LINK_HEADER: usize = 16;

    #[test]
    fn what_bridges_tell_of_their_ports_is_not_heard() {
        let passes = |kind, family: i32| {
            filter::passes(&but_of_bridges(), &filter::message(kind, family as u8, LINK_HEADER, &[]))
        };
        for deleted in [0, 1] {
            assert!(!passes(NEW_LINK + deleted, AF_BRIDGE));
            assert!(passes(NEW_LINK + deleted, AF_UNSPEC));
            assert!(passes(NEW_NEIGHBOUR + deleted, AF_BRIDGE), "the tunnel's entries");
            assert!(passes(NEW_ROUTE + deleted, AF_INET));
        }
    }

    #[test]
    fn of_pods_links_those_matter_that_are_routed_and_amiss() {
        let mut monitor = Monitor::open().unwrap();
        let mut matters = |kind, mac: [u8; 6], group, flags| {
            let mut link = LinkMessage::default();
            link.header.index = 7;
            link.header.flags = flags;
            link.attributes = vec![
                LinkAttribute::IfName("of0".into()),
                LinkAttribute::Address(mac.to_vec()),
                LinkAttribute::Group(group),
                info(kind, None),
            ];
            monitor.link_matters(NEW_LINK, &message::new_link(link).body)
        };
        let (none, some, down) = ([0; 6], [2, 0, 0, 0, 0, 1], LinkFlags::empty());
        assert!(!matters(InfoKind::Netkit, none, ROUTED_GROUP, LinkFlags::Up));
        assert!(matters(InfoKind::Netkit, none, 0, LinkFlags::Up));
        assert!(matters(InfoKind::Netkit, none, ROUTED_GROUP, down));
        // On a bridge.
        assert!(!matters(InfoKind::Netkit, some, 0, down));
        assert!(!matters(InfoKind::Veth, some, 0, LinkFlags::Up));
    }
}
