//! rtnetlink messages, each kind encoded and decoded by itself. `RouteNetlinkMessage`, which holds them all, brings the
//! code for every kind there is into the program: half a megabyte, for a plugin that needs a dozen.

use netlink_packet_core::{DecodeError, Emitable, NetlinkSerializable, ParseableParametrized};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::tc::TcMessage;

/// A message without its netlink header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `RTM_*` (include/uapi/linux/rtnetlink.h).
    pub kind: u16,
    /// The family's header and attributes.
    pub body: Vec<u8>,
}

impl Message {
    fn of(kind: u16, message: &impl Emitable) -> Self {
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        Self { kind, body }
    }

    /// All of it, for those who need more than a few fields.
    pub fn decode(&self) -> Result<RouteNetlinkMessage, DecodeError> {
        RouteNetlinkMessage::parse_with_param(self.body.as_slice(), self.kind)
    }
}

impl From<RouteNetlinkMessage> for Message {
    fn from(message: RouteNetlinkMessage) -> Self {
        let mut body = vec![0; NetlinkSerializable::buffer_len(&message)];
        message.serialize(&mut body);
        Self { kind: message.message_type(), body }
    }
}

macro_rules! kinds {
    ($($name:ident, $what:ty, $constant:ident = $kind:literal;)*) => {
        $(
            #[doc = concat!("`", stringify!($constant), "`")]
            pub const $constant: u16 = $kind;
            #[doc = concat!("A message of kind `", stringify!($constant), "`.")]
            pub fn $name(message: $what) -> Message {
                Message::of($constant, &message)
            }
        )*
    };
}

kinds! {
    new_link, LinkMessage, RTM_NEWLINK = 16;
    del_link, LinkMessage, RTM_DELLINK = 17;
    get_link, LinkMessage, RTM_GETLINK = 18;
    set_link, LinkMessage, RTM_SETLINK = 19;
    new_address, AddressMessage, RTM_NEWADDR = 20;
    del_address, AddressMessage, RTM_DELADDR = 21;
    get_address, AddressMessage, RTM_GETADDR = 22;
    new_route, RouteMessage, RTM_NEWROUTE = 24;
    del_route, RouteMessage, RTM_DELROUTE = 25;
    get_route, RouteMessage, RTM_GETROUTE = 26;
    new_neighbour, NeighbourMessage, RTM_NEWNEIGH = 28;
    del_neighbour, NeighbourMessage, RTM_DELNEIGH = 29;
    get_neighbour, NeighbourMessage, RTM_GETNEIGH = 30;
    new_qdisc, TcMessage, RTM_NEWQDISC = 36;
    new_filter, TcMessage, RTM_NEWTFILTER = 44;
}

/// A number in the machine's byte order, as all of rtnetlink's are.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A half word in the machine's byte order.
pub(crate) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
