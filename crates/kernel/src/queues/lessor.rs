//! Whether queues of a NIC can be leased: the driver is asked.

use super::{Queues, Source, nsid_of};
use crate::link::{self, named};
use crate::netlink::Socket;
use crate::{Error, Netns, Result, netkit};
use netlink_packet_route::link::{LinkAttribute, NetkitMode};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use offramp_core::ids::IfName;

/// Why queues cannot be leased, in the words of whoever refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lacking {
    /// The kernel, whatever the NIC.
    Kernel(String),
    /// The kernel has no netkit, whose links lease; a module may be installed.
    Netkit(String),
    /// The NIC's driver.
    Driver(String),
}

/// More than any NIC has: whoever would lease one of its queues says that it has none of this number.
const NO_QUEUE: u32 = u16::MAX as u32;

/// Why no queue of this NIC, which is in the calling thread's namespace, can be leased; none: its driver does. Asked is for
/// a queue that there is not, by a link in a namespace that nobody else sees, and that ends with this call: no queue is
/// touched. What is so for a moment only, as a NIC that is being removed, is an error.
pub fn lacking(nic: &str, ifindex: u32) -> Result<Option<Lacking>> {
    if let Some(why) = netkit::lacking(&mut Socket::open()?)? {
        return Ok(Some(Lacking::Netkit(why)));
    }
    let home = Netns::current()?;
    let ask = || try_to_lease(nic, ifindex, &home);
    let outcome = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("lease-probe".into()).spawn_scoped(scope, ask);
        thread.map_err(|e| Error::io("start a thread", &e))?.join().unwrap_or_else(|_| {
            Err(Error::Unfit {
                what: format!("ask for queues of {nic}"),
                why: "the thread has panicked".into(),
            })
        })
    });
    judge(nic, outcome)
}

/// Within a namespace that ends with the calling thread.
fn try_to_lease(nic: &str, ifindex: u32, home: &Netns) -> Result<u32> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| Error::sys("make a network namespace", e))?;
    let mut socket = Socket::open()?;
    let name = |name: &str| {
        name.parse::<IfName>().map_err(|e| Error::Unfit { what: name.into(), why: e.to_string() })
    };
    let (primary, other) = (name("probe0")?, name("probe1")?);
    let mut peer = named(&other);
    peer.attributes.push(LinkAttribute::NumRxQueues(2));
    let mut pair = named(&primary);
    pair.attributes.push(netkit::info(NetkitMode::L2, peer));
    socket.batch(vec![link::create("create netkit probe0", pair)])?;
    let other = link::index_in(&socket, &other)?;
    let netns = nsid_of(&mut socket, home)?;
    Queues::open()?.lease(other, Source { nic, ifindex, netns, queue: NO_QUEUE })
}

/// Who gets as far as the queue's number can lease (`netdev_nl_queue_create_doit`, net/core/netdev-genl.c).
fn judge(nic: &str, outcome: Result<u32>) -> Result<Option<Lacking>> {
    match outcome {
        Err(e) if e.errno() == Some(Errno::ERANGE as i32) => Ok(None),
        Err(Error::Refused { errno, extack: None, .. }) if errno == Errno::EOPNOTSUPP as i32 => {
            let why = Errno::EOPNOTSUPP.desc();
            Ok(Some(Lacking::Kernel(format!("this kernel cannot lease queues ({why})"))))
        }
        Err(Error::Refused { errno, extack: Some(words), .. }) if lasts(errno, &words) => {
            Ok(Some(Lacking::Driver(words)))
        }
        Err(e) => Err(e),
        Ok(queue) => Err(Error::Unfit {
            what: format!("ask for queues of {nic}"),
            why: format!("the kernel leased queue {queue}, which it should not have"),
        }),
    }
}

/// Whether a refusal will be the same next time.
fn lasts(errno: i32, words: &str) -> bool {
    let lasting = [Errno::EOPNOTSUPP, Errno::EINVAL].map(|errno| errno as i32);
    lasting.contains(&errno) && !words.contains("removed from the system")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_whoever_refused() {
        let refused = |errno: Errno, extack: Option<&str>| {
            let (what, extack) = ("lease".to_owned(), extack.map(str::to_owned));
            judge("nic0", Err(Error::Refused { what, errno: errno as i32, extack }))
        };
        assert_eq!(refused(Errno::ERANGE, None).unwrap(), None);
        let words = "Lease device does not support queue management operations";
        assert_eq!(refused(Errno::EINVAL, Some(words)).unwrap(), Some(Lacking::Driver(words.into())));
        let kernel = refused(Errno::EOPNOTSUPP, None).unwrap();
        assert!(
            matches!(kernel, Some(Lacking::Kernel(why)) if why.contains("this kernel cannot lease queues"))
        );
        refused(Errno::ENODEV, None).unwrap_err();
        refused(Errno::EBUSY, Some("Lease device is busy")).unwrap_err();
        let gone = refused(Errno::EINVAL, Some("Lease device has been removed from the system"));
        assert!(gone.unwrap_err().to_string().contains("removed from the system"));
        judge("nic0", Ok(1)).unwrap_err();
    }
}
