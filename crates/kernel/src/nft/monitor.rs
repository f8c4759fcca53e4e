//! Notices that somebody changed our tables.

use super::NftError;
use super::element::Table;
use super::nfnetlink::{attributes, kind, messages};
use super::script::TABLE;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

// linux/netfilter/nfnetlink.h, nf_tables.h
const NFNLGRP_NFTABLES: u32 = 7;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWGEN: u16 = 15;
/// The table's name is attribute 1 of every object.
const NFTA_TABLE: u16 = 1;

/// A socket that gets every change of nftables in the network namespace where it was opened. It becomes readable on
/// changes of any table, ours or not, and of our own making too: [`Monitor::drain`] tells, the
/// [listing](super::Listing) decides.
#[derive(Debug)]
pub struct Monitor(Socket);

impl Monitor {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NftError::Kernel`]
    pub fn open() -> Result<Self, NftError> {
        let fail = || NftError::io("listen to nftables' changes");
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(fail())?;
        socket.bind(&SocketAddr::new(0, 0)).map_err(fail())?;
        socket.add_membership(NFNLGRP_NFTABLES).map_err(fail())?;
        socket.set_non_blocking(true).map_err(fail())?;
        Ok(Self(socket))
    }

    /// Reads all that waits; whether our tables were changed, or may have been since messages were lost.
    ///
    /// # Errors
    /// [`NftError::Kernel`]
    pub fn drain(&mut self) -> Result<bool, NftError> {
        let mut ours = false;
        loop {
            match self.0.recv_from_full() {
                Ok((datagram, _)) => ours |= messages(&datagram).any(is_ours),
                Err(e) => match e.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN) => return Ok(ours),
                    Some(Errno::ENOBUFS) => ours = true,
                    Some(Errno::EINTR) => {}
                    _ => return Err(NftError::io("read nftables' changes")(e)),
                },
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as `self` lives, and so is the borrow.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Whether a message (nlmsghdr, nfgenmsg, attributes) is about an object of our tables.
fn is_ours(message: &[u8]) -> bool {
    let kind = kind(message);
    if kind >> 8 != NFNL_SUBSYS_NFTABLES || kind & 0xff == NFT_MSG_NEWGEN {
        return false;
    }
    let (Some(family), Some(rest)) = (message.get(16), message.get(20..)) else { return false };
    [Table::Nat, Table::Spoof].map(Table::number).contains(family)
        && attributes(rest)
            .any(|(kind, value)| kind == NFTA_TABLE && value.strip_suffix(&[0]) == Some(TABLE.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, family: u8, table: &[u8]) -> Vec<u8> {
        let attribute_length = 4 + table.len();
        let mut m = Vec::new();
        m.extend(u32::try_from(20 + attribute_length).unwrap().to_ne_bytes());
        m.extend(kind.to_ne_bytes());
        m.extend([0; 10]);
        m.extend([family, 0, 0, 0]);
        m.extend(u16::try_from(attribute_length).unwrap().to_ne_bytes());
        m.extend(NFTA_TABLE.to_ne_bytes());
        m.extend(table);
        m.resize(m.len().next_multiple_of(4), 0);
        m
    }

    #[test]
    fn only_our_tables_count() {
        let cases: [(u16, u8, &[u8], bool); 6] = [
            (0x0a0d, 1, b"offramp\0", true),
            (0x0a0d, 7, b"offramp\0", true),
            (0x0a0d, 2, b"offramp\0", false),
            (0x0a0d, 1, b"kube-proxy\0", false),
            (0x0a0f, 1, b"offramp\0", false),
            (0x010d, 1, b"offramp\0", false),
        ];
        for (kind, family, table, ours) in cases {
            let other = message(0x0a00, 2, b"filter\0");
            let both = [other, message(kind, family, table)].concat();
            assert_eq!(messages(&both).any(is_ours), ours, "{kind:x} {family} {table:?}");
        }
    }

    #[test]
    fn cut_messages_end_the_walk() {
        let whole = message(0x0a0d, 1, b"offramp\0");
        for n in 0..whole.len() {
            assert!(!messages(&whole[..n]).any(is_ours), "{n} bytes");
        }
        assert_eq!(messages(&[0; 64]).count(), 0);
    }
}
