//! Sockets for the probes between nodes: the sender chooses whether the hardware has a part in a packet.

use crate::{Error, Result};
use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, listen, send, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

// include/uapi/linux/udp.h
const UDP_SEGMENT: c_int = 103;
const UDP_NO_CHECK6_TX: c_int = 101;
const UDP_NO_CHECK6_RX: c_int = 102;

/// Connections that wait to be served.
const BACKLOG: i32 = 8;

/// Who fills in the checksum of what a socket sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The device, if it says that it can.
    Offloaded,
    /// Nobody: there is none (RFC 768; for IPv6, RFC 6936), and so nothing to get wrong.
    None,
}

/// A UDP socket at an address of this node, which need not be there yet; it takes packets without a checksum.
pub fn udp(local: SocketAddr, checksum: Checksum) -> Result<UdpSocket> {
    let what = || format!("open a UDP socket at {local}");
    let open = || -> nix::Result<OwnedFd> {
        let socket = bound(local, SockType::Datagram)?;
        if local.is_ipv6() {
            set(&socket, libc::IPPROTO_UDP, UDP_NO_CHECK6_RX, 1)?;
        }
        if checksum == Checksum::None {
            let (level, option) = match local {
                SocketAddr::V4(_) => (libc::SOL_SOCKET, libc::SO_NO_CHECK),
                SocketAddr::V6(_) => (libc::IPPROTO_UDP, UDP_NO_CHECK6_TX),
            };
            set(&socket, level, option, 1)?;
        }
        Ok(socket)
    };
    open().map(UdpSocket::from).map_err(|e| Error::sys(what(), e))
}

/// Sends packets of `size` bytes each as one that is cut late: by the device, if it says that it can (udp(7), UDP_SEGMENT).
/// The socket must be connected. False: nothing was sent, since nothing of it can be left to the device. Linux before 6.11
/// refuses where the device does not fill in checksums either (udp_send_skb, net/ipv4/udp.c: EIO).
pub fn send_segments(socket: &UdpSocket, payload: &[u8], size: u16) -> Result<bool> {
    let failed = |e| Error::sys(format!("send {} bytes of UDP in segments of {size}", payload.len()), e);
    let sent = set(socket, libc::IPPROTO_UDP, UDP_SEGMENT, c_int::from(size))
        .and_then(|()| send(socket.as_raw_fd(), payload, MsgFlags::empty()));
    // What is sent next is one packet again.
    set(socket, libc::IPPROTO_UDP, UDP_SEGMENT, 0).map_err(failed)?;
    is_sent(sent).map_err(failed)
}

fn is_sent(outcome: nix::Result<usize>) -> nix::Result<bool> {
    match outcome {
        Err(Errno::EIO) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Listens at an address of this node, which need not be there yet.
pub fn listener(local: SocketAddr) -> Result<TcpListener> {
    let what = || format!("listen at TCP {local}");
    let open = || -> nix::Result<OwnedFd> {
        let socket = bound(local, SockType::Stream)?;
        listen(&socket, Backlog::new(BACKLOG)?)?;
        Ok(socket)
    };
    open().map(TcpListener::from).map_err(|e| Error::sys(what(), e))
}

/// Connects from an address of this node; in vain after `patience`.
pub fn connect(local: SocketAddr, to: SocketAddr, patience: Duration) -> Result<TcpStream> {
    let what = || format!("connect TCP from {} to {to}", local.ip());
    let open = || -> nix::Result<OwnedFd> {
        let socket = bound(local, SockType::Stream)?;
        // It bounds connect(2) too (socket(7)).
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::milliseconds(patience.as_millis() as i64))?;
        nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
        Ok(socket)
    };
    open().map(TcpStream::from).map_err(|e| match e {
        Errno::EINPROGRESS => Error::Timeout { what: what(), after: patience },
        e => Error::sys(what(), e),
    })
}

/// The largest segment that a connection sends, in bytes (tcp(7), TCP_MAXSEG).
pub fn segment_size(stream: &TcpStream) -> Result<u32> {
    nix::sys::socket::getsockopt(stream, sockopt::TcpMaxSeg).map_err(|e| Error::sys("read TCP_MAXSEG", e))
}

fn bound(local: SocketAddr, kind: SockType) -> nix::Result<OwnedFd> {
    let family = if local.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    match local {
        SocketAddr::V4(_) => set(&socket, libc::IPPROTO_IP, libc::IP_FREEBIND, 1)?,
        SocketAddr::V6(_) => {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
            set(&socket, libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, 1)?;
        }
    }
    // A daemon that died a moment ago may have left connections.
    if kind == SockType::Stream && local.port() != 0 {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(local))?;
    Ok(socket)
}

fn set(socket: &impl AsRawFd, level: c_int, option: c_int, value: c_int) -> nix::Result<()> {
    let size = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open while `socket` lives, and the kernel reads `size` bytes of `value`.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(&value).cast(), size)
    };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 0)
    }

    #[test]
    fn that_a_device_has_no_part_in_it_is_no_error() {
        assert_eq!(is_sent(Ok(1000)), Ok(true));
        assert_eq!(is_sent(Err(Errno::EIO)), Ok(false));
        assert_eq!(is_sent(Err(Errno::EINVAL)), Err(Errno::EINVAL));
    }

    #[test]
    fn packets_without_a_checksum_arrive_and_large_ones_are_cut() {
        for ip in ["127.0.0.1", "::1"] {
            let server = udp(any(ip), Checksum::None).unwrap();
            server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let at = server.local_addr().unwrap();
            let mut buffer = [0; 2000];
            for checksum in [Checksum::Offloaded, Checksum::None] {
                let client = udp(any(ip), checksum).unwrap();
                client.connect(at).unwrap();
                client.send(&[7; 100]).unwrap();
                assert_eq!(server.recv(&mut buffer).unwrap(), 100, "{checksum:?}");
            }
            let client = udp(any(ip), Checksum::Offloaded).unwrap();
            client.connect(at).unwrap();
            assert!(send_segments(&client, &[7; 1000], 400).unwrap());
            client.send(&[7; 1500]).unwrap();
            let sizes = [(); 4].map(|()| server.recv(&mut buffer).unwrap());
            assert_eq!(sizes, [400, 400, 200, 1500]);
        }
    }
}
