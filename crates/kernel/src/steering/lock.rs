//! Who makes a flow rule looks for a free place first, and some drivers write over what is there.

use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::time::{Duration, Instant};

/// A driver takes milliseconds for a rule.
const PATIENCE: Duration = Duration::from_secs(10);

/// Held on the network namespace, which is what the NIC is in: plugin and daemon know it by the same file.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "it ends with this")] Flock<File>);

impl Lock {
    pub(crate) fn take() -> Result<Self> {
        let what = "lock the flow rules of this network namespace";
        let netns = File::open("/proc/thread-self/ns/net").map_err(|e| Error::io(what, &e))?;
        let deadline = Instant::now() + PATIENCE;
        let mut netns = netns;
        loop {
            netns = match Flock::lock(netns, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self(lock)),
                Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < deadline => file,
                Err((_, Errno::EWOULDBLOCK)) => {
                    return Err(Error::Timeout { what: what.into(), after: PATIENCE });
                }
                Err((_, e)) => return Err(Error::sys(what, e)),
            };
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
