//! A node with a bridge, two pods and a host outside, each a network namespace:
//!
//! ```text
//! a  10.20.0.11 fd20::11 -+                        +- 192.0.2.2 2001:db8::2  out
//!                         br0 10.20.0.1 .. node .. up0 192.0.2.1 .9 2001:db8::1 ::9
//! b  10.20.0.12 fd20::12 -+                        +- 10.99.0.2 fd99::2
//! ```

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const TOPOLOGY: &str = "
netns add node
netns add a
netns add b
netns add out
-n node link set lo up
-n node link add br0 type bridge
-n node link set br0 up
-n node addr add 10.20.0.1/24 dev br0
-n node addr add fd20::1/64 dev br0 nodad
-n node link add va address 02:00:00:00:01:0a type veth peer name eth0 address 02:00:00:00:00:0a netns a
-n node link add vb address 02:00:00:00:01:0b type veth peer name eth0 address 02:00:00:00:00:0b netns b
-n node link set va master br0 up
-n node link set vb master br0 up
-n node link add up0 type veth peer name eth0 netns out
-n node link set up0 up
-n node addr add 192.0.2.1/24 dev up0
-n node addr add 192.0.2.9/24 dev up0
-n node addr add 2001:db8::1/64 dev up0 nodad
-n node addr add 2001:db8::9/128 dev up0 nodad preferred_lft 0
-n a link set lo up
-n a link set eth0 up
-n a addr add 10.20.0.11/24 dev eth0
-n a addr add fd20::11/64 dev eth0 nodad
-n a route add default via 10.20.0.1
-n a route add default via fd20::1
-n b link set lo up
-n b link set eth0 up
-n b addr add 10.20.0.12/24 dev eth0
-n b addr add fd20::12/64 dev eth0 nodad
-n b route add default via 10.20.0.1
-n b route add default via fd20::1
-n out link set eth0 up
-n out addr add 192.0.2.2/24 dev eth0
-n out addr add 2001:db8::2/64 dev eth0 nodad
-n out addr add 10.99.0.2/24 dev eth0
-n out addr add fd99::2/64 dev eth0 nodad
-n out route add 10.20.0.0/16 via 192.0.2.1
-n out route add fd20::/16 via 2001:db8::1
-n node route add 10.99.0.0/24 via 192.0.2.2
-n node route add fd99::/64 via 2001:db8::2
";

/// Tests in one process share its namespaces: one lab at a time.
static ONE: Mutex<()> = Mutex::new(());

pub struct Lab {
    _one: MutexGuard<'static, ()>,
}

impl Lab {
    pub fn new() -> Self {
        assert!(
            std::env::var_os("OFFRAMP_LAB").is_some(),
            "this test changes the network: run it by hack/lab, or with hack/lab as cargo's runner"
        );
        let lab = Self { _one: ONE.lock().unwrap_or_else(PoisonError::into_inner) };
        for line in TOPOLOGY.lines().filter(|l| !l.is_empty()) {
            run("ip", line);
        }
        inside("node", || {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        });
        lab
    }

    /// Whether the node's bridge hands IP packets to the IP hooks (br_netfilter, as kube-proxy wants it).
    pub fn bridge_netfilter(&self, on: bool) {
        for key in ["iptables", "ip6tables"] {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{key}");
            inside("node", || std::fs::write(&path, if on { "1" } else { "0" })).unwrap();
        }
    }

    /// Answers at `port` in `namespace`, over TCP and UDP, IPv4 and IPv6, with `NAMESPACE SOURCE`.
    pub fn serve(&self, namespace: &'static str, port: u16) {
        for address in ["0.0.0.0", "::"] {
            let address = SocketAddr::new(address.parse().unwrap(), port);
            let (tcp, udp) = inside(namespace, || (listen(address), datagrams(address)));
            std::thread::spawn(move || {
                for stream in tcp.incoming() {
                    let Ok(mut stream) = stream else { continue };
                    let Ok(peer) = stream.peer_addr() else { continue };
                    let _ = write!(stream, "{namespace} {}", peer.ip());
                }
            });
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
                    let _ = udp.send_to(format!("{namespace} {}", peer.ip()).as_bytes(), peer);
                }
            });
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in ["node", "a", "b", "out"] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

/// An IPv6 socket takes IPv6 only, so that both can be there.
fn bind(address: SocketAddr, kind: nix::sys::socket::SockType) -> std::os::fd::OwnedFd {
    use nix::sys::socket::{AddressFamily, SockFlag, SockaddrStorage, bind, setsockopt, socket, sockopt};
    use std::os::fd::AsRawFd;
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true).unwrap();
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
    socket
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = bind(address, nix::sys::socket::SockType::Stream);
    nix::sys::socket::listen(&socket, nix::sys::socket::Backlog::new(16).unwrap()).unwrap();
    socket.into()
}

fn datagrams(address: SocketAddr) -> UdpSocket {
    bind(address, nix::sys::socket::SockType::Datagram).into()
}

/// Runs `f` in a thread inside of `namespace`.
pub fn inside<T: Send>(namespace: &str, f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let ns = File::open(format!("/run/netns/{namespace}")).unwrap();
            setns(ns, CloneFlags::CLONE_NEWNET).unwrap();
            f()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a program; returns what it printed.
pub fn run(program: &str, args: &str) -> String {
    let output = Command::new(program).args(args.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Long enough for a machine under load: only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the server at `to` answers to `from`.
pub fn tcp(from: &str, to: &str) -> io::Result<String> {
    let to: SocketAddr = to.parse().unwrap();
    inside(from, || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
}

/// The same over UDP.
pub fn udp(from: &str, to: &str) -> io::Result<String> {
    let to: SocketAddr = to.parse().unwrap();
    inside(from, || {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        ask(&UdpSocket::bind((any, 0))?, to)
    })
}

/// Sends from `socket` to `to` and waits for the answer.
pub fn ask(socket: &UdpSocket, to: SocketAddr) -> io::Result<String> {
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"?")?;
    let mut buffer = [0; 64];
    let n = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..n]).into_owned())
}
