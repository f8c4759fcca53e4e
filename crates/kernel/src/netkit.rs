//! netkit: pairs of links that BPF programs can be attached to, and which queues of a NIC can be leased to (Linux 6.7;
//! drivers/net/netkit.c). Without a program they carry packets as veth does.

use crate::netlink::Socket;
use crate::{Error, Result, link};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoNetkit, LinkAttribute, LinkMessage, NetkitMode, NetkitPolicy, NetkitScrub,
};
use nix::errno::Errno;

/// What makes a link the primary end of a pair, whose other end is `peer`. All is said, since defaults would not do, or may
/// change: L3 mode is the kernel's, and has no frames for a bridge. Either end passes packets on, and forgets their mark and
/// priority, which mean nothing in another namespace, and must not be for a pod to choose. Kernels before 6.13 pass over the
/// scrubbing, and always do it.
pub(crate) fn info(mode: NetkitMode, peer: LinkMessage) -> LinkAttribute {
    let data = vec![
        InfoNetkit::Mode(mode),
        InfoNetkit::Policy(NetkitPolicy::Pass),
        InfoNetkit::PeerPolicy(NetkitPolicy::Pass),
        InfoNetkit::Scrub(NetkitScrub::Default),
        InfoNetkit::PeerScrub(NetkitScrub::Default),
        InfoNetkit::Peer(peer),
    ];
    link::info(InfoKind::Netkit, Some(InfoData::Netkit(data)))
}

/// Why this kernel cannot make netkit devices, in its own words; none: it can. It is asked for one that nobody can have,
/// since only the kernel itself says which end is the primary one: who has netkit refuses the attribute
/// (`NLA_REJECT` of IFLA_NETKIT_PRIMARY), who has not does not come so far. Loads the module, if that is what it takes.
pub fn lacking(socket: &mut Socket) -> Result<Option<String>> {
    let mut message = LinkMessage::default();
    let data = InfoData::Netkit(vec![InfoNetkit::Primary(true)]);
    message.attributes.push(LinkAttribute::IfName("offramp-probe".into()));
    message.attributes.push(link::info(InfoKind::Netkit, Some(data)));
    match socket.batch(vec![link::create("ask for netkit", message)]) {
        Err(e) if e.errno() == Some(Errno::EINVAL as i32) => Ok(None),
        Err(Error::Refused { errno, extack, .. }) if errno == Errno::EOPNOTSUPP as i32 => {
            let why = extack.unwrap_or_else(|| Errno::EOPNOTSUPP.desc().to_owned());
            Ok(Some(format!("this kernel has no netkit ({why})")))
        }
        Err(e) => Err(e),
        Ok(()) => Err(Error::Unfit {
            what: "netkit".into(),
            why: "the kernel made a device of an attribute that it should refuse".into(),
        }),
    }
}
