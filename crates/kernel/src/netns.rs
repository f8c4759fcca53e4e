//! Network namespaces. Nothing is done "inside" of one but opening sockets: a socket belongs to the namespace
//! that it was opened in, and works from anywhere.

use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

nix::ioctl_none_bad!(
    /// `NS_GET_NSTYPE` (include/uapi/linux/nsfs.h): the CLONE_NEW* flag of a namespace.
    ns_get_nstype,
    nix::request_code_none!(0xb7, 0x3)
);

nix::ioctl_none_bad!(
    /// `SIOCGSKNS` (include/uapi/linux/sockios.h): a descriptor of the namespace that a socket is in.
    get_socket_netns,
    0x894c
);

/// Where the calling thread finds its own. (`/proc/self` would be the main thread's.)
const OWN: &str = "/proc/thread-self/ns/net";

/// The calling thread's namespace. By way of a socket: for a process that has just begun, `/proc` makes half a dozen inodes
/// and removes them at its end. That way is root's only.
fn own() -> nix::Result<OwnedFd> {
    let by_socket = || {
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        // SAFETY: the descriptor is open, and this ioctl takes no argument.
        let fd = unsafe { get_socket_netns(socket.as_raw_fd()) }?;
        // SAFETY: the kernel has just made this descriptor (open_related_ns, fs/nsfs.c), and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    by_socket().or_else(|_: Errno| open(OWN, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()))
}

/// An open network namespace.
#[derive(Debug)]
pub struct Netns {
    path: PathBuf,
    fd: OwnedFd,
    inode: u64,
}

impl Netns {
    /// Opens the namespace at `path`; an error says what is there instead.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let wrong = |why: String, gone: bool| Error::Netns { path: path.clone(), why, gone };
        // O_NONBLOCK: the path is the caller's and might be a FIFO.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let fd = open(&path, flags, Mode::empty()).map_err(|e| {
            let gone = matches!(e, Errno::ENOENT | Errno::ENOTDIR);
            wrong(format!("open: {} ({})", e.desc(), e as i32), gone)
        })?;
        let fs = fstatfs(&fd).map_err(|e| wrong(format!("fstatfs: {}", e.desc()), false))?;
        // A runtime's leftover: the file that a namespace was once mounted on.
        if fs.filesystem_type() != NSFS_MAGIC {
            return Err(wrong("it is not a namespace, but a file".into(), false));
        }
        // SAFETY: the descriptor is open, and this ioctl takes no argument.
        let kind = unsafe { ns_get_nstype(fd.as_raw_fd()) };
        if kind.ok() != Some(CloneFlags::CLONE_NEWNET.bits()) {
            return Err(wrong("it is a namespace of another kind".into(), false));
        }
        let inode = fstat(&fd).map_err(|e| wrong(format!("fstat: {}", e.desc()), false))?.st_ino;
        Ok(Self { path, fd, inode })
    }

    /// The calling thread's own.
    pub fn current() -> Result<Self> {
        let path = PathBuf::from(OWN);
        let fd = own().map_err(|e| Error::sys("look up this thread's network namespace", e))?;
        let inode = fstat(&fd).map_err(|e| Error::sys("fstat this thread's network namespace", e))?.st_ino;
        Ok(Self { path, fd, inode })
    }

    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unique among the namespaces that live.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// For `IFLA_NET_NS_FD`.
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Runs `open` with the calling thread inside, and comes back: for opening sockets and sysctls only.
    /// The process ends if the way back is barred, since it would go on in a stranger's network.
    pub fn inside<T>(&self, open: impl FnOnce() -> Result<T>) -> Result<T> {
        let failed = |e| Error::sys(format!("enter netns {}", self.path.display()), e);
        let home = own().map_err(failed)?;
        setns(&self.fd, CloneFlags::CLONE_NEWNET).map_err(failed)?;
        let result = open();
        if setns(&home, CloneFlags::CLONE_NEWNET).is_err() {
            std::process::abort();
        }
        result
    }
}
