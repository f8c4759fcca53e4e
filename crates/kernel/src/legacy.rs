//! The tables of iptables-legacy (ip_tables of the kernel), by getsockopt(2): no program of theirs is needed. Asking for a
//! table makes it, so only those are asked for that are there.

use crate::{Error, Result};
use nix::errno::Errno;
use nix::libc::{self, c_void, socklen_t};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use offramp_core::doctor::LegacyTable;
use offramp_core::net::Family;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`, and likewise of ip6tables.
const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;
/// `XT_TABLE_MAXNAMELEN`
const NAME: usize = 32;
/// `struct ipt_getinfo`: the name, the hooks, where their chains begin and their policies are, entries, bytes.
const INFO: usize = NAME + 4 + 5 * 4 + 5 * 4 + 4 + 4;
/// `struct ipt_get_entries`: the name, bytes, and room up to what is aligned to eight.
const ENTRIES: usize = NAME + 8;
/// It is replaced as a whole, and may be another size by the second question.
const ATTEMPTS: u32 = 5;

/// All tables that are in use in this network namespace. `CAP_NET_ADMIN` is needed where there are any.
pub fn tables() -> Result<Vec<LegacyTable>> {
    let mut all = Vec::new();
    for (family, file) in [(Family::V4, "ip_tables_names"), (Family::V6, "ip6_tables_names")] {
        let path = Path::new("/proc/thread-self/net").join(file);
        let names = match std::fs::read_to_string(&path) {
            Ok(names) => names,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io(format!("read {}", path.display()), &e)),
        };
        for name in names.lines() {
            all.push(table(family, name)?);
        }
    }
    Ok(all)
}

fn table(family: Family, name: &str) -> Result<LegacyTable> {
    let what = || format!("read table {name} of iptables-legacy, {family}");
    let address = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    // Any of the family will do; a raw one would need CAP_NET_RAW.
    let socket = socket(address, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|errno| Error::sys(what(), errno))?;
    let mut outcome = Err(Errno::EAGAIN);
    for _ in 0..ATTEMPTS {
        outcome = read(&socket, family, name);
        if outcome != Err(Errno::EAGAIN) {
            break;
        }
    }
    let (info, entries) = outcome.map_err(|errno| Error::sys(what(), errno))?;
    let number = |n: usize| {
        let bytes = &info[NAME + 4 * n..NAME + 4 * (n + 1)];
        bytes.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte))
    };
    let valid = number(0);
    let begins = std::array::from_fn(|hook| (valid & 1 << hook != 0).then(|| number(1 + hook)));
    let policies = std::array::from_fn(|hook| number(6 + hook));
    Ok(LegacyTable { family, name: name.to_owned(), begins, policies, entries })
}

/// What is told of the table, and its entries.
fn read(socket: &OwnedFd, family: Family, name: &str) -> nix::Result<(Vec<u8>, Vec<u8>)> {
    let mut info = vec![0; INFO];
    let name = name.as_bytes().get(..name.len().min(NAME - 1)).unwrap_or_default();
    info[..name.len()].copy_from_slice(name);
    ask(socket, family, GET_INFO, &mut info)?;
    let size: [u8; 4] = info[INFO - 4..].try_into().map_err(|_| Errno::EINVAL)?;
    let mut entries = vec![0; ENTRIES + u32::from_ne_bytes(size) as usize];
    entries[..name.len()].copy_from_slice(name);
    entries[NAME..NAME + 4].copy_from_slice(&size);
    ask(socket, family, GET_ENTRIES, &mut entries)?;
    Ok((info, entries.split_off(ENTRIES)))
}

fn ask(socket: &OwnedFd, family: Family, option: i32, buffer: &mut [u8]) -> nix::Result<()> {
    let level = if family == Family::V4 { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
    let mut length = socklen_t::try_from(buffer.len()).map_err(|_| Errno::E2BIG)?;
    let pointer = buffer.as_mut_ptr().cast::<c_void>();
    // SAFETY: the kernel writes at most `length` bytes, which is the buffer's length, and what it takes for a structure has
    // no pointers.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, pointer, &raw mut length) };
    Errno::result(result).map(drop)
}
