//! Programs at links, and sockets beside them.

use crate::{Error, Result};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::close;

/// `BPF_PROG_QUERY`, `BPF_TCX_INGRESS` (include/uapi/linux/bpf.h)
const PROG_QUERY: libc::c_long = 16;
const TCX_INGRESS: u32 = 46;
/// Of `lo`, the first link of a namespace.
const LO: u32 = 1;

/// The query of union bpf_attr; what we do not use is zero.
#[repr(C, align(8))]
#[derive(Default)]
struct Query {
    ifindex: u32,
    attach_type: u32,
    rest: [u32; 14],
}

/// Whether programs can be listed that are attached to `lo` by TCX.
pub(super) fn tcx() -> Result<()> {
    let mut query = Query { ifindex: LO, attach_type: TCX_INGRESS, ..Query::default() };
    // SAFETY: the kernel reads and writes within the size that it is told, which is that of `query`.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut query, size_of::<Query>()) };
    Errno::result(result).map(drop).map_err(|e| Error::sys("list the TCX programs of lo", e))
}

/// Whether there are such sockets.
pub(super) fn af_xdp() -> Result<()> {
    // SAFETY: socket(2) takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    let failed = |e| Error::sys("open an AF_XDP socket", e);
    close(Errno::result(fd).map_err(failed)?).map_err(failed)
}
