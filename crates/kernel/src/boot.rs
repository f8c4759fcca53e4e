//! Which kernel this is, and which of its starts.

use crate::{Error, Result};

/// Its release, and the number of this boot (`/proc/sys/kernel/random/boot_id`): `7.3.0 3f0c...`.
pub fn identity() -> Result<String> {
    let [release, boot] = ["osrelease", "random/boot_id"].map(read);
    Ok(format!("{} {}", release?, boot?))
}

fn read(key: &str) -> Result<String> {
    let failed = |e| Error::io(format!("read sysctl kernel/{key}"), &e);
    let value = std::fs::read_to_string(format!("/proc/sys/kernel/{key}")).map_err(failed)?;
    Ok(value.trim().to_owned())
}
