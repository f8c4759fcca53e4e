//! Filters of monitors: classic BPF over struct nlmsghdr and what follows. What the kernel drops costs neither a copy nor a
//! thread's waking.

use nix::libc::{self, sock_filter, sock_fprog};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Where a message's type is.
pub(crate) const KIND: u32 = 4;
/// Where a message's body begins.
pub(crate) const BODY: u32 = 16;
/// Passes the message.
pub(crate) const PASS: sock_filter = one(libc::BPF_RET | libc::BPF_K, 0, u32::MAX);
/// Drops it.
pub(crate) const DROP: sock_filter = one(libc::BPF_RET | libc::BPF_K, 0, 0);

/// BPF loads big-endian numbers; messages are in the machine's order.
pub(crate) const fn half(number: u16) -> u32 {
    u16::from_be_bytes(number.to_ne_bytes()) as u32
}

pub(crate) const fn load_byte(at: u32) -> sock_filter {
    one(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, at)
}

pub(crate) const fn load_half(at: u32) -> sock_filter {
    one(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, at)
}

pub(crate) const fn load_word(at: u32) -> sock_filter {
    one(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, at)
}

/// Skips `skip` instructions unless what was loaded is `value`.
pub(crate) const fn unless(value: u32, skip: u8) -> sock_filter {
    one(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skip, value)
}

/// Loads where the attribute of this type is, of those that begin at `from`; zero if there is none (`SKF_AD_NLATTR`,
/// include/uapi/linux/filter.h).
pub(crate) const fn find(from: u32, attribute: u16) -> [sock_filter; 3] {
    const AD_NLATTR: u32 = (-0x1000i32 + 12) as u32;
    [
        one(libc::BPF_LD | libc::BPF_IMM, 0, from),
        one(libc::BPF_LDX | libc::BPF_IMM, 0, attribute as u32),
        load_word(AD_NLATTR),
    ]
}

/// After [`find`], of an attribute that is there: loads the first four bytes of the attribute of this type that is in it
/// (`SKF_AD_NLATTR_NEST`). If there is none, bytes of the header, which are no text.
pub(crate) const fn load_inside(attribute: u16) -> [sock_filter; 4] {
    const AD_NLATTR_NEST: u32 = (-0x1000i32 + 16) as u32;
    [
        one(libc::BPF_LDX | libc::BPF_IMM, 0, attribute as u32),
        load_word(AD_NLATTR_NEST),
        one(libc::BPF_MISC | libc::BPF_TAX, 0, 0),
        one(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, 0, 4),
    ]
}

/// Passes what has more than `bytes`, and drops the rest; of packets.
pub(crate) const fn longer_than(bytes: u32) -> [sock_filter; 4] {
    [
        one(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0, 0),
        one(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 1, bytes),
        PASS,
        DROP,
    ]
}

const fn one(code: u32, skip: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: skip, k }
}

/// Has the socket hear only what the program passes.
pub(crate) fn attach(socket: BorrowedFd<'_>, program: &[sock_filter]) -> std::io::Result<()> {
    let filter = sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads one sock_fprog, and the program that it points to; both live until it returns.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Whether a program passes a datagram, by the kernel's own word.
#[cfg(test)]
pub(crate) fn passes(program: &[sock_filter], datagram: &[u8]) -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;
    let (from, to) = UnixDatagram::pair().unwrap();
    attach(to.as_fd(), program).unwrap();
    to.set_nonblocking(true).unwrap();
    from.send(datagram).unwrap();
    to.recv(&mut [0; 8192]).is_ok()
}

/// struct nlmsghdr, and a body: a header that begins with its family, and attributes.
#[cfg(test)]
pub(crate) fn message(kind: u16, family: u8, header: usize, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![0; header];
    body[0] = family;
    for (kind, value) in attributes {
        body.extend((4 + value.len() as u16).to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = (BODY + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend([0; 10]);
    message.extend(body);
    message
}
