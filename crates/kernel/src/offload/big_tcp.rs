//! Whether this kernel carries TCP packets of more than 64 KiB whole: tried, with a pod, a node and a peer in namespaces that
//! nobody else is in, and that go with the thread. No version tells: some lose such packets where they are routed, others in
//! tunnels.
//!
//! ```text
//!   pod p0 ---- n0 node n1 ---- m0 peer
//!                      vx --------- vx      then, by VXLAN
//! ```

use super::sizes;
use crate::addr::{self, add};
use crate::link::{self, info, named, numbered};
use crate::netlink::{Request, Socket};
use crate::sysctl::Sysctl;
use crate::{Error, Netns, Result, filter, message, probe, route};
use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute};
use netlink_packet_route::route::{RouteAttribute, RouteProtocol};
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, bind, recv, socket,
};
use offramp_core::ids::IfName;
use offramp_core::net::Family;
use offramp_core::offload::{Answer, Sizes};
use offramp_core::overlay::big_tcp::{Carrier, SIZE, Shown, USUAL, ways};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What is sent: TCP begins with small packets, and comes to the largest within a part of it.
const TOTAL: usize = 8 << 20;
/// It takes milliseconds; where packets are lost, TCP waits and tries again.
const PATIENCE: Duration = Duration::from_secs(3);
/// For all ways, the lossy ones too, and a kernel that hangs.
const DEADLINE: Duration = Duration::from_secs(60);
const PORT: u16 = 9811;
/// Headers come on top of what TCP sends.
const HEADERS: u32 = 200;
/// Of pods, and of what their packets leave by.
const MTU: u32 = 1400;
/// Of what tunnelled packets leave by.
const OUTER_MTU: u32 = 1500;

/// Tries all ways that were not `shown` to carry them. `sysctl` is where the calling process finds `/proc/sys/net`.
pub fn big_tcp(sysctl: &Sysctl, mut shown: Shown) -> Shown {
    shown.retain(|_, answer| *answer == Answer::There);
    let ways: Vec<(Carrier, Family)> = ways().filter(|way| !shown.contains_key(way)).collect();
    let (tell, told) = mpsc::channel();
    let (sysctl, tries) = (sysctl.clone(), ways.clone());
    let work = move || {
        for (carrier, family) in tries {
            let answer = within_own_namespaces(&sysctl, carrier, family)
                .unwrap_or_else(|e| Answer::Unknown { why: e.to_string() });
            // Who asked may have given up.
            let _ = tell.send(((carrier, family), answer));
        }
    };
    let spawned = std::thread::Builder::new().name("big-tcp".into()).spawn(work);
    let unknown = |why: &str| Answer::Unknown { why: why.to_owned() };
    let why = spawned.map_or_else(|e| format!("start a thread: {e}"), |_| "it took too long".to_owned());
    shown.extend(ways.into_iter().map(|way| (way, unknown(&why))));
    let deadline = Instant::now() + DEADLINE;
    while let Ok((way, answer)) = told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        shown.insert(way, answer);
    }
    shown
}

/// By a thread of its own: its namespaces end with it.
fn within_own_namespaces(sysctl: &Sysctl, carrier: Carrier, family: Family) -> Result<Answer> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("big-tcp".into());
        let work = || Lab::new(sysctl, carrier, family)?.attempt();
        let thread = thread.spawn_scoped(scope, work).map_err(|e| Error::io("start a thread", &e))?;
        let panicked = || Error::Unfit { what: "try BIG TCP".into(), why: "the thread has panicked".into() };
        thread.join().unwrap_or_else(|_| Err(panicked()))
    })
}

/// The calling thread is in the node's namespace.
struct Lab {
    pod: Netns,
    peer: Netns,
    carrier: Carrier,
    family: Family,
}

/// The networks between them.
#[derive(Debug, Clone, Copy)]
enum Net {
    Pod = 1,
    Wire = 2,
    Tunnel = 3,
}

impl Lab {
    fn new(sysctl: &Sysctl, carrier: Carrier, family: Family) -> Result<Self> {
        let lab = Self { pod: namespace()?, peer: namespace()?, carrier, family };
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| Error::sys("make a network namespace", e))?;
        let (mut node, mut pod, mut peer) =
            (Socket::open()?, Socket::open_in(&lab.pod)?, Socket::open_in(&lab.peer)?);
        node.batch(vec![pair("n0", "p0", &lab.pod)?, pair("n1", "m0", &lab.peer)?])?;
        // One MTU all the way, as pods have it by direct routes: headers that the kernel adds to large packets must not be too much.
        end(&mut node, "n0", MTU, address(family, Net::Pod, 1))?;
        end(&mut pod, "p0", MTU, address(family, Net::Pod, 2))?;
        let (outer, outer_mtu) = match carrier {
            Carrier::Routed => (family, MTU),
            Carrier::Vxlan { outer } => (outer, OUTER_MTU),
        };
        end(&mut node, "n1", outer_mtu, address(outer, Net::Wire, 1))?;
        end(&mut peer, "m0", outer_mtu, address(outer, Net::Wire, 2))?;
        let mut back = "m0";
        if let Carrier::Vxlan { outer } = carrier {
            back = "vx";
            tunnel(&mut node, "n1", (outer, 1), address(family, Net::Tunnel, 1))?;
            tunnel(&mut peer, "m0", (outer, 2), address(family, Net::Tunnel, 2))?;
        }
        way(&mut pod, "p0", family.default_route(), lab.gateway(Net::Pod))?;
        way(&mut peer, back, address(family, Net::Pod, 0), lab.gateway(lab.last()))?;
        sysctl.forward(family)?;
        Ok(lab)
    }

    /// The network that the peer is reached by.
    fn last(&self) -> Net {
        if self.carrier == Carrier::Routed { Net::Wire } else { Net::Tunnel }
    }

    /// The node's address on a network.
    fn gateway(&self, net: Net) -> IpAddr {
        address(self.family, net, 1).ip()
    }

    fn attempt(&self) -> Result<Answer> {
        let to = SocketAddr::new(address(self.family, self.last(), 2).ip(), PORT);
        let at = if self.carrier == Carrier::Routed { "m0" } else { "vx" };
        let (listener, sees) = self.peer.inside(|| Ok((probe::listener(to)?, Sees::open(at)?)))?;
        let connect =
            || TcpStream::connect_timeout(&to, PATIENCE).map_err(|e| Error::io("connect to the peer", &e));
        let stream = self.pod.inside(connect)?;
        let arrived = std::thread::scope(|scope| {
            scope.spawn(|| send(&stream));
            let arrived = receive(&listener);
            // Who still sends need not.
            let _ = stream.shutdown(Shutdown::Both);
            arrived
        })?;
        let missing = |why: String| Ok(Answer::Missing { why });
        match (arrived, sees.any()?) {
            (TOTAL, true) => Ok(Answer::There),
            (TOTAL, false) => missing("they do not arrive whole".into()),
            (less, _) => missing(format!("TCP stalls with them: after {less} of {TOTAL} bytes")),
        }
    }
}

/// Until all is sent, or nobody takes it.
fn send(mut stream: &TcpStream) {
    let part = vec![0; 256 << 10];
    let _ = stream.set_write_timeout(Some(PATIENCE));
    for _ in 0..TOTAL / part.len() {
        if stream.write_all(&part).is_err() {
            return;
        }
    }
}

/// How many bytes arrive in time.
fn receive(listener: &TcpListener) -> Result<usize> {
    let failed = |e: std::io::Error| Error::io("take what the pod sends", &e);
    let (mut stream, _) = listener.accept().map_err(failed)?;
    let (mut buffer, mut arrived) = (vec![0; 1 << 20], 0);
    let deadline = Instant::now() + PATIENCE;
    while arrived < TOTAL {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).map_err(failed)?;
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => arrived += n,
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    Ok(arrived)
}

/// Sees the packets of a link that have more than 64 KiB.
struct Sees(OwnedFd);

impl Sees {
    /// On a link of the calling thread's namespace.
    fn open(at: &str) -> Result<Self> {
        let failed = |e| Error::sys(format!("watch the packets of {at}"), e);
        let index = link::require(&mut Socket::open()?, &name(at)?)?.index;
        let all =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
        filter::attach(all.as_fd(), &filter::longer_than(USUAL + HEADERS))
            .map_err(|e| Error::io(format!("watch the packets of {at}"), &e))?;
        bind(all.as_raw_fd(), &every_packet_of(index)).map_err(failed)?;
        Ok(Self(all))
    }

    fn any(&self) -> Result<bool> {
        match recv(self.0.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_DONTWAIT) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(e) => Err(Error::sys("read packets", e)),
        }
    }
}

/// struct sockaddr_ll, of all protocols (packet(7)).
fn every_packet_of(link: u32) -> LinkAddr {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: link as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: it points to a sockaddr_ll of that length, whose family says so; it is copied.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(len)) };
    address.unwrap_or_else(|| unreachable!("the family is that of packets"))
}

/// A network namespace that lives as long as it is open.
fn namespace() -> Result<Netns> {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| Error::sys("make a network namespace", e))?;
        Netns::current()
    };
    let panicked =
        || Error::Unfit { what: "make a network namespace".into(), why: "the thread has panicked".into() };
    std::thread::spawn(make).join().unwrap_or_else(|_| Err(panicked()))
}

fn name(name: &str) -> Result<IfName> {
    name.parse().map_err(|_| Error::Unfit { what: name.into(), why: "it is no interface name".into() })
}

/// `10.0.NET.HOST/24`, `fd00:0:0:NET::HOST/64`
fn address(family: Family, net: Net, host: u8) -> IpNetwork {
    let net = net as u8;
    match family {
        Family::V4 => with_prefix(Ipv4Addr::new(10, 0, net, host).into(), 24),
        Family::V6 => with_prefix(Ipv6Addr::new(0xfd00, 0, 0, net.into(), 0, 0, 0, host.into()).into(), 64),
    }
}

fn with_prefix(ip: IpAddr, prefix: u8) -> IpNetwork {
    use offramp_core::net::WithPrefix;
    IpNetwork::from(ip).with_prefix(prefix)
}

/// Two veths.
fn pair(host: &str, other: &str, there: &Netns) -> Result<Request> {
    let mut peer = named(&name(other)?);
    peer.attributes.push(LinkAttribute::NetNsFd(there.raw_fd()));
    let mut message = named(&name(host)?);
    message.attributes.push(info(InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer)))));
    Ok(link::create(format!("create veth {host}"), message))
}

/// An end: its sizes, its address, up.
fn end(socket: &mut Socket, of: &str, mtu: u32, ip: IpNetwork) -> Result<()> {
    let index = index_of(socket, of)?;
    let mut requests = vec![link::set_mtu(of, numbered(index), mtu)];
    requests.push(sizes::set(of, index, &big()));
    requests.push(add(of, index, ip, false));
    requests.push(link::set_up(of, numbered(index), true));
    socket.batch(requests)?;
    addr::settle(socket, of, &[ip.ip()])
}

fn big() -> Sizes {
    Sizes { gso_max_size: Some(SIZE), gso_ipv4_max_size: Some(SIZE), ..Sizes::default() }
}

/// From this one to the other one of the two addresses on the wire.
fn tunnel(socket: &mut Socket, on: &str, (outer, host): (Family, u8), ip: IpNetwork) -> Result<()> {
    let [local, remote] = [host, 3 - host].map(|host| address(outer, Net::Wire, host).ip());
    let mut data = vec![
        InfoVxlan::Id(1),
        InfoVxlan::Port(4789),
        InfoVxlan::UDPCsum(true),
        InfoVxlan::UDPZeroCsumTX(false),
        InfoVxlan::UDPZeroCsumRX(false),
        InfoVxlan::Link(index_of(socket, on)?),
    ];
    match (local, remote) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => {
            data.extend([InfoVxlan::Local(local), InfoVxlan::Group(remote)]);
        }
        (IpAddr::V6(local), IpAddr::V6(remote)) => {
            data.extend([InfoVxlan::Local6(local), InfoVxlan::Group6(remote)]);
        }
        _ => {}
    }
    let mut message = named(&name("vx")?);
    message.attributes.push(info(InfoKind::Vxlan, Some(InfoData::Vxlan(data))));
    socket.batch(vec![link::create("create vxlan vx", message)])?;
    end(socket, "vx", MTU, ip)
}

fn index_of(socket: &mut Socket, of: &str) -> Result<u32> {
    Ok(link::require(socket, &name(of)?)?.index)
}

/// A route.
fn way(socket: &mut Socket, by: &str, to: IpNetwork, gateway: IpAddr) -> Result<()> {
    let mut route = route::message(to, index_of(socket, by)?, RouteProtocol::Static);
    route.attributes.push(RouteAttribute::Gateway(route::address(gateway)));
    let add = Request::new(format!("add route {to} via {gateway}"), message::new_route(route));
    socket.batch(vec![add.flags(NLM_F_CREATE | NLM_F_EXCL)])
}
