//! Receive queues of NICs and what has them: the netdev family of generic netlink
//! (Documentation/netlink/specs/netdev.yaml, include/uapi/linux/netdev.h).

mod lessor;
mod nsid;

pub use lessor::{Lacking, lacking};
pub(crate) use nsid::nsid_of;

use crate::generic::{Attributes, Family, attribute, attributes};
use crate::message::{Message, word};
use crate::{Error, Result, link};

// enum in include/uapi/linux/netdev.h
const CMD_QUEUE_GET: u8 = 10;
const CMD_QUEUE_CREATE: u8 = 16;
const QUEUE_ID: u16 = 1;
const QUEUE_IFINDEX: u16 = 2;
const QUEUE_TYPE: u16 = 3;
const QUEUE_DMABUF: u16 = 5;
const QUEUE_IO_URING: u16 = 6;
const QUEUE_XSK: u16 = 7;
const QUEUE_LEASE: u16 = 8;
const LEASE_IFINDEX: u16 = 1;
const LEASE_QUEUE: u16 = 2;
const LEASE_NETNS_ID: u16 = 3;
const TYPE_RX: u32 = 0;

/// A receive queue of a link that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RxQueue {
    /// Its number.
    pub id: u32,
    /// Another link leases it. Of the queue that this makes the kernel does not tell.
    pub leased: bool,
    /// What else has it for itself, and the kernel's own packets not any more.
    pub user: Option<User>,
}

/// What has a queue for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// An AF_XDP socket.
    Xsk,
    /// io_uring, by zero copy.
    IoUring,
    /// The memory of a device.
    DmaBuf,
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Xsk => "an AF_XDP socket",
            Self::IoUring => "io_uring",
            Self::DmaBuf => "a dma-buf",
        })
    }
}

/// A queue of a NIC in another namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source<'a> {
    /// The NIC, for messages.
    pub nic: &'a str,
    /// Its number in its namespace.
    pub ifindex: u32,
    /// Its namespace's number in the one that the family was opened in.
    pub netns: i32,
    /// The queue.
    pub queue: u32,
}

/// The family, in the namespace that it was opened in.
pub struct Queues(Family);

impl Queues {
    /// In the calling thread's namespace. Every kernel since 6.3 has it.
    pub fn open() -> Result<Self> {
        let missing =
            || Error::Unfit { what: "queues".into(), why: "this kernel cannot tell of them".into() };
        Family::open("netdev")?.map(Self).ok_or_else(missing)
    }

    /// The receive queues of a link, in the order of their numbers; none of one that is down.
    pub fn of_link(&mut self, ifindex: u32) -> Result<Vec<RxQueue>> {
        let what = format!("list the queues of link {ifindex}");
        let ask = self.0.message(CMD_QUEUE_GET, Attributes::default().number(QUEUE_IFINDEX, ifindex));
        let answers = match self.0.socket.dump_raw(&what, ask) {
            // Kernels before 6.8 do not know the question.
            Err(e) if e.errno() == Some(nix::libc::EOPNOTSUPP) => return Ok(Vec::new()),
            other => other?,
        };
        let mut queues: Vec<RxQueue> = answers.iter().filter_map(parse).collect();
        queues.sort_by_key(|q| q.id);
        Ok(queues)
    }

    /// Makes a queue of `link`, which must be the end of a netkit pair that is not the primary one, and leases it one of a
    /// NIC; the new queue's number. It is given back when the link is deleted.
    pub(crate) fn lease(&mut self, link: u32, of: Source<'_>) -> Result<u32> {
        let what = format!("lease queue {} of {}", of.queue, of.nic);
        let queue = Attributes::default().number(QUEUE_ID, of.queue).number(QUEUE_TYPE, TYPE_RX);
        let lease = Attributes::default().number(LEASE_IFINDEX, of.ifindex).nest(LEASE_QUEUE, queue);
        let lease = lease.put(LEASE_NETNS_ID, &of.netns.to_ne_bytes());
        let ask = Attributes::default().number(QUEUE_IFINDEX, link).number(QUEUE_TYPE, TYPE_RX);
        let ask = self.0.message(CMD_QUEUE_CREATE, ask.nest(QUEUE_LEASE, lease));
        let answer = self.0.socket.get_raw(&what, ask)?;
        let id = attribute(&answer, QUEUE_ID).and_then(|value| word(&value, 0));
        id.ok_or_else(|| Error::Decode { what, why: "the new queue has no number".into() })
    }
}

/// None of a queue for sending.
fn parse(answer: &Message) -> Option<RxQueue> {
    let (mut id, mut kind, mut leased, mut user) = (None, None, false, None);
    for nla in link::attributes(attributes(answer)) {
        match nla.kind() {
            QUEUE_ID => id = word(nla.value(), 0),
            QUEUE_TYPE => kind = word(nla.value(), 0),
            QUEUE_LEASE => leased = true,
            QUEUE_XSK => user = Some(User::Xsk),
            QUEUE_IO_URING => user = Some(User::IoUring),
            QUEUE_DMABUF => user = Some(User::DmaBuf),
            _ => {}
        }
    }
    (kind == Some(TYPE_RX)).then_some(RxQueue { id: id?, leased, user })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_and_who_has_it() {
        let of = |attributes: Attributes| {
            let head = Attributes::default().number(QUEUE_ID, 7);
            let Attributes(head) = head;
            let Attributes(rest) = attributes;
            parse(&Message { kind: 0x20, body: [vec![CMD_QUEUE_GET, 1, 0, 0], head, rest].concat() })
        };
        let of_type = |kind| Attributes::default().number(QUEUE_TYPE, kind);
        let free = RxQueue { id: 7, leased: false, user: None };
        assert_eq!(of(of_type(TYPE_RX)), Some(free));
        assert_eq!((of(of_type(1)), of(Attributes::default())), (None, None));
        let lease = Attributes::default().number(LEASE_IFINDEX, 9);
        assert_eq!(of(of_type(TYPE_RX).nest(QUEUE_LEASE, lease)), Some(RxQueue { leased: true, ..free }));
        let by_xsk = of(of_type(TYPE_RX).nest(QUEUE_XSK, Attributes::default()));
        assert_eq!(by_xsk, Some(RxQueue { user: Some(User::Xsk), ..free }));
    }
}
