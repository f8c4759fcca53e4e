//! A wire whose NICs are broken: they take packets whose checksums they are to fill in, fill in that of the outer packet
//! (over IPv4 it may be zero, RFC 768), and leave that of the packet inside as it was. The frames come by packet sockets, which
//! see them as a driver does.

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use offramp_tests::Netns;
use std::os::fd::AsFd;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Of Ethernet, IPv4 and UDP headers.
const ETHERNET: usize = 14;
const IPV4_TYPE: [u8; 2] = [8, 0];
const UDP: u8 = 17;
const VXLAN_PORT: [u8; 2] = 4789u16.to_be_bytes();

pub struct Cable {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Cable {
    /// Between two links of a namespace.
    pub fn between(wire: &Netns, links: [&str; 2]) -> Self {
        let [a, b] = links.map(|link| {
            let index = wire.link(link).unwrap()["ifindex"].as_u64().unwrap();
            wire.inside(|| packet_socket(index as i32))
        });
        let stop = Arc::new(EventFd::new().unwrap());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || carry(&a, &b, &stopped));
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.write(1).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn carry(a: &OwnedFd, b: &OwnedFd, stop: &EventFd) {
    let mut frame = vec![0; 70_000];
    loop {
        let mut fds = [a.as_fd(), b.as_fd(), stop.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut fds, PollTimeout::NONE).unwrap();
        if fds[2].any().unwrap() {
            return;
        }
        for (from, to) in [(a, b), (b, a)] {
            while let Some(len) = receive(from, &mut frame) {
                finish(&mut frame[..len]);
                // What is longer than the link's MTU gets lost, as on a wire.
                // SAFETY: the kernel reads `len` bytes of `frame`.
                unsafe { libc::send(to.as_raw_fd(), frame.as_ptr().cast(), len, 0) };
            }
        }
    }
}

/// What the NIC does right.
fn finish(frame: &mut [u8]) {
    let is_vxlan = frame.len() > ETHERNET + 28
        && frame[12..14] == IPV4_TYPE
        && frame[ETHERNET] == 0x45
        && frame[ETHERNET + 9] == UDP
        && frame[ETHERNET + 22..ETHERNET + 24] == VXLAN_PORT;
    if is_vxlan {
        frame[ETHERNET + 26..ETHERNET + 28].fill(0);
    }
}

fn receive(socket: &OwnedFd, frame: &mut [u8]) -> Option<usize> {
    // SAFETY: the kernel writes at most as many bytes into `frame` as it has.
    let len =
        unsafe { libc::recv(socket.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), libc::MSG_DONTWAIT) };
    usize::try_from(len).ok()
}

/// Sees what comes in by a link, and not what it sends itself.
fn packet_socket(index: i32) -> OwnedFd {
    const ALL: u16 = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: the arguments are plain numbers; a new descriptor is nobody else's.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(ALL));
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    };
    let ignore: libc::c_int = 1;
    // SAFETY: zeros are a valid sockaddr_ll; the kernel reads as many bytes as each has.
    unsafe {
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ALL;
        address.sll_ifindex = index;
        let size = size_of_val(&address) as u32;
        let bound = libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), size);
        assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
        let (value, size) = (std::ptr::from_ref(&ignore).cast(), size_of_val(&ignore) as u32);
        let set = libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, value, size);
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
    socket
}

/// include/uapi/linux/if_packet.h
const PACKET_IGNORE_OUTGOING: i32 = 23;
