//! Waiting until the first packet will pass. An ADD that returns at its last acknowledgement loses the first
//! packet in one of four cases, for a second: the carrier of a new veth reaches queues and bridge port by link watch,
//! which runs behind. RTM_GETLINK makes it run (linkwatch_sync_dev, net/core/link_watch.c, Linux 6.9);
//! on older kernels it is waited for.

use crate::executor::Executor;
use crate::link::{self, Link};
use crate::{Error, Result};
use offramp_core::step::AwaitCarrier;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// Both ends have carrier and are operational, and the port forwards.
pub(crate) fn wait(executor: &mut Executor, links: &AwaitCarrier) -> Result<()> {
    let deadline = Instant::now() + BOUND;
    let mut pause = FIRST_PAUSE;
    loop {
        let pod = link::require(&mut executor.pod("await-carrier")?.socket, &links.pod)?;
        let host = link::require(&mut executor.host, &links.host)?;
        if ready(&pod) && ready(&host) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let what = format!("carrier of {} and {}", links.host, links.pod);
            return Err(Error::Timeout { what, after: BOUND });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn ready(link: &Link) -> bool {
    link.carrier && link.operational && link.forwarding.unwrap_or(true)
}
