//! Traffic between namespaces.

use crate::netns::Netns;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Long enough for a machine under load: only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Within this a packet that is dropped is not expected any more.
const DROPPED: Duration = Duration::from_millis(700);

/// Answers at `port` inside of `netns`, over TCP and UDP, IPv4 and IPv6, with `NAME SOURCE`.
pub fn serve(netns: &Netns, name: &str, port: u16) {
    for any in ["0.0.0.0", "::"] {
        let address = SocketAddr::new(any.parse().unwrap(), port);
        let (tcp, udp) =
            netns.inside(|| (listener(address), UdpSocket::from(bound(address, SockType::Datagram))));
        let (tcp_name, udp_name) = (name.to_owned(), name.to_owned());
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let Ok(mut stream) = stream else { continue };
                let Ok(peer) = stream.peer_addr() else { continue };
                let _ = write!(stream, "{tcp_name} {}", peer.ip());
            }
        });
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
                let _ = udp.send_to(format!("{udp_name} {}", peer.ip()).as_bytes(), peer);
            }
        });
    }
}

/// An IPv6 socket takes IPv6 only, so that both can be there.
fn bound(address: SocketAddr, kind: SockType) -> OwnedFd {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true).unwrap();
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
    socket
}

fn listener(address: SocketAddr) -> TcpListener {
    let socket = bound(address, SockType::Stream);
    listen(&socket, Backlog::new(16).unwrap()).unwrap();
    socket.into()
}

/// `IP:PORT`, with brackets where they are needed.
pub fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// What a server answers to `from` over TCP.
pub fn tcp(from: &Netns, to: SocketAddr) -> io::Result<String> {
    from.inside(|| {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
}

/// What a server answers to `from` over UDP. The packet is sent once: one that is lost is an error.
pub fn udp(from: &Netns, to: SocketAddr) -> io::Result<String> {
    exchange(from, to, PATIENCE)
}

/// Whether nothing comes back from `to` over UDP.
pub fn is_silent(from: &Netns, to: SocketAddr) -> bool {
    exchange(from, to, DROPPED).is_err()
}

fn exchange(from: &Netns, to: SocketAddr, patience: Duration) -> io::Result<String> {
    from.inside(|| {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(patience))?;
        socket.send(b"?")?;
        let mut buffer = [0; 64];
        let n = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..n]).into_owned())
    })
}

/// Whether one ICMP echo is answered. It is sent once.
pub fn ping(from: &Netns, to: &str) -> bool {
    let status = from.command("ping").args(["-n", "-q", "-c1", "-W10", to]).output().unwrap();
    status.status.success()
}

/// Whether an ICMP echo is answered before long. The first ones may be lost: of ways that are being made.
pub fn reaches(from: &Netns, to: &str) -> bool {
    let status = from.command("ping").args(["-n", "-q", "-c1", "-i0.1", "-w10", to]).output().unwrap();
    status.status.success()
}

/// Whether one ICMP echo stays without answer.
pub fn ping_fails(from: &Netns, to: &str) -> bool {
    let status = from.command("ping").args(["-n", "-q", "-c1", "-W1", to]).output().unwrap();
    !status.status.success()
}

/// Sends bytes over TCP to a server made for them inside of `to`, at `ip`; how many arrived.
pub fn bulk(from: &Netns, to: &Netns, ip: &str, port: u16, bytes: u64) -> u64 {
    let listener = to.inside(|| listener(at(ip, port)));
    let received = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        io::copy(&mut stream, &mut io::sink())
    });
    let mut stream = from.inside(|| TcpStream::connect_timeout(&at(ip, port), PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    io::copy(&mut io::repeat(7).take(bytes), &mut stream).unwrap();
    drop(stream);
    received.join().unwrap().unwrap()
}
