//! A node: a network and a mount namespace, with pod network namespaces ready to be used.

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

/// Held by two descriptors: when they and the last process in it are gone, so is the node.
pub struct Node {
    net: File,
    mnt: File,
}

impl Node {
    /// A node with its own `/run` and `/sys`, and with `pods` pod namespaces under `/run/netns`.
    pub fn new(pods: usize) -> Result<Self, String> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
                .map_err(|e| format!("unshare a node's namespaces: {e}"))?;
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
                .map_err(|e| format!("make the mounts private: {e}"))?;
            for (kind, target) in [("tmpfs", "/run"), ("sysfs", "/sys")] {
                mount(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>)
                    .map_err(|e| format!("mount {kind} on {target}: {e}"))?;
            }
            let node = Self { net: own("net")?, mnt: own("mnt")? };
            loopback_up()?;
            std::fs::create_dir("/run/netns").map_err(|e| format!("create /run/netns: {e}"))?;
            (0..pods).try_for_each(make_pod)?;
            Ok(node)
        })
    }

    /// Brings this thread onto the node, for good. Processes that it starts are born there.
    pub fn enter(&self) -> Result<(), String> {
        unshare(CloneFlags::CLONE_FS).map_err(|e| format!("unshare the working directory: {e}"))?;
        setns(&self.mnt, CloneFlags::CLONE_NEWNS).map_err(|e| format!("enter the node's mounts: {e}"))?;
        setns(&self.net, CloneFlags::CLONE_NEWNET).map_err(|e| format!("enter the node's network: {e}"))
    }

    /// Runs `work` on a thread on the node.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
        on_a_thread(|| self.enter().and_then(|()| work()))
    }
}

/// Where the network namespace of a pod is, as seen from its node.
pub fn pod_netns(slot: usize) -> String {
    format!("/run/netns/pod-{slot:04}")
}

fn make_pod(slot: usize) -> Result<(), String> {
    let path = pod_netns(slot);
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| format!("unshare {path}: {e}"))?;
    loopback_up()?;
    // Solicitations of a thousand pods, flooded to a thousand ports, would be all that is measured.
    write("/proc/sys/net/ipv6/conf/default/router_solicitations", "0")?;
    File::create(&path).map_err(|e| format!("create {path}: {e}"))?;
    let here = Some("/proc/thread-self/ns/net");
    mount(here, Path::new(&path), None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|e| format!("mount {path}: {e}"))
}

/// By ioctl: a process for each of a thousand pods would take long.
fn loopback_up() -> Result<(), String> {
    let failed = |e: std::io::Error| format!("set lo up: {e}");
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(failed)?;
    // SAFETY: an all-zero ifreq is a valid one; it is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    (request.ifr_name[0], request.ifr_name[1]) = (b'l' as libc::c_char, b'o' as libc::c_char);
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the descriptor is open and the kernel only reads the ifreq.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) } {
        0 => Ok(()),
        _ => Err(failed(std::io::Error::last_os_error())),
    }
}

fn own(namespace: &str) -> Result<File, String> {
    let path = format!("/proc/thread-self/ns/{namespace}");
    File::open(&path).map_err(|e| format!("open {path}: {e}"))
}

fn write(path: &str, value: &str) -> Result<(), String> {
    std::fs::write(path, value).map_err(|e| format!("write {value} to {path}: {e}"))
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|_| Err("a thread panicked".into())))
}
