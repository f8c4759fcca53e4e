//! The veth pair.

use crate::executor::Executor;
use crate::link::{self, info, named};
use crate::{Error, Result};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage};
use nix::errno::Errno;
use offramp_core::ids::{IfName, MacAddr, Mtu};
use offramp_core::step::CreateVeth;

/// Makes the pair in one request, the pod's end inside the pod's netns: there is no move, and nothing to clean up
/// half way. Both MACs are given, so that nobody (udev) finds reason to change them.
pub(crate) fn create(executor: &mut Executor, veth: &CreateVeth) -> Result<()> {
    let netns = executor.pod("create-veth")?.netns.raw_fd();
    let mut peer = end(&veth.pod, veth.pod_mac, veth.mtu);
    peer.attributes.push(LinkAttribute::NetNsFd(netns));
    let mut host = end(&veth.host, veth.host_mac, veth.mtu);
    host.attributes.push(info(InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer)))));
    let what = format!("create veth {} with {} in the pod", veth.host, veth.pod);
    match executor.host.batch(vec![link::create(what, host)]) {
        Err(e) if e.errno() == Some(Errno::EEXIST as i32) => Err(who_exists(executor, veth)?),
        other => other,
    }
}

/// One queue each way: without XDP a veth uses no other, and by default the kernel makes one for every CPU, with a
/// sysfs object each (`veth_get_num_queues`, drivers/net/veth.c).
fn end(name: &IfName, mac: MacAddr, mtu: Option<Mtu>) -> LinkMessage {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::Address(mac.octets().to_vec()));
    message.attributes.push(LinkAttribute::NumTxQueues(1));
    message.attributes.push(LinkAttribute::NumRxQueues(1));
    message.attributes.extend(mtu.map(|m| LinkAttribute::Mtu(m.get())));
    message
}

/// EEXIST does not tell which of the two names it means.
fn who_exists(executor: &mut Executor, veth: &CreateVeth) -> Result<Error> {
    let in_pod = link::find(&mut executor.pod("create-veth")?.socket, &veth.pod)?.is_some();
    let what =
        if in_pod { format!("interface {} in the pod", veth.pod) } else { format!("link {}", veth.host) };
    Ok(Error::Exists { what })
}
