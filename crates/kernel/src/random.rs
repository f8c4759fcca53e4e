//! Random numbers, from the kernel.

use crate::{Error, Result};

/// 64 random bits (getrandom(2)).
pub fn bits64() -> Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: the kernel writes at most `bytes.len()` bytes into `bytes`.
    let n = unsafe { nix::libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if n == 8 {
        Ok(u64::from_ne_bytes(bytes))
    } else {
        Err(Error::sys("getrandom", nix::errno::Errno::last()))
    }
}
