//! The veth pair.

use crate::executor::Executor;
use crate::link::{self, info, named};
use crate::{Error, Result};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute};
use nix::errno::Errno;
use offramp_core::step::CreateVeth;

/// Makes the pair in one request, the pod's end inside the pod's netns: there is no move, and nothing to clean up
/// half way. Both MACs are given, so that nobody (udev) finds reason to change them.
pub(crate) fn create(executor: &mut Executor, veth: &CreateVeth) -> Result<()> {
    let netns = executor.pod("create-veth")?.netns.raw_fd();
    let mtu = veth.mtu.map(|m| LinkAttribute::Mtu(m.get()));
    let mut peer = named(&veth.pod);
    peer.attributes.push(LinkAttribute::NetNsFd(netns));
    peer.attributes.push(LinkAttribute::Address(veth.pod_mac.octets().to_vec()));
    peer.attributes.extend(mtu.clone());
    let mut host = named(&veth.host);
    host.attributes.push(LinkAttribute::Address(veth.host_mac.octets().to_vec()));
    host.attributes.extend(mtu);
    host.attributes.push(info(InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer)))));
    let what = format!("create veth {} with {} in the pod", veth.host, veth.pod);
    match executor.host.batch(vec![link::create(what, host)]) {
        Err(e) if e.errno() == Some(Errno::EEXIST as i32) => Err(who_exists(executor, veth)?),
        other => other,
    }
}

/// EEXIST does not tell which of the two names it means.
fn who_exists(executor: &mut Executor, veth: &CreateVeth) -> Result<Error> {
    let in_pod = link::find(&mut executor.pod("create-veth")?.socket, &veth.pod)?.is_some();
    let what =
        if in_pod { format!("interface {} in the pod", veth.pod) } else { format!("link {}", veth.host) };
    Ok(Error::Exists { what })
}
