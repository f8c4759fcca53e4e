//! The pair of links between pod and node: veth or netkit.

use crate::executor::Executor;
use crate::link::{self, info, named};
use crate::{Error, Result, netkit};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage};
use nix::errno::Errno;
use offramp_core::ids::{IfName, MacAddr, Mtu};
use offramp_core::step::{CreateNetkit, CreatePair};

/// A veth pair with one queue each way: without XDP it uses no other, and by default the kernel makes one for every CPU,
/// with a sysfs object each (`veth_get_num_queues`, drivers/net/veth.c).
pub(crate) fn create_veth(executor: &mut Executor, pair: &CreatePair) -> Result<()> {
    let data = |peer| InfoData::Veth(InfoVeth::Peer(peer));
    create(executor, pair, 1, "create-veth", |peer| info(InfoKind::Veth, Some(data(peer))))
}

/// A netkit pair whose pod end has room for queues of a NIC.
pub(crate) fn create_netkit(executor: &mut Executor, netkit: &CreateNetkit) -> Result<()> {
    create(executor, &netkit.pair, netkit.rx_queues, "create-netkit", netkit::info)
}

/// Makes the pair in one request, the pod's end inside the pod's netns: there is no move, and nothing to clean up
/// half way. Both MACs are given, so that nobody (udev) finds reason to change them.
fn create(
    executor: &mut Executor,
    pair: &CreatePair,
    rx_queues: u32,
    step: &str,
    info: impl FnOnce(LinkMessage) -> LinkAttribute,
) -> Result<()> {
    let netns = executor.pod(step)?.netns.raw_fd();
    let mut peer = end(&pair.pod, pair.pod_mac, pair.mtu, rx_queues);
    peer.attributes.push(LinkAttribute::NetNsFd(netns));
    let mut host = end(&pair.host, pair.host_mac, pair.mtu, 1);
    host.attributes.push(info(peer));
    let kind = step.trim_start_matches("create-");
    let what = format!("create {kind} {} with {} in the pod", pair.host, pair.pod);
    match executor.host.batch(vec![link::create(what, host)]) {
        Err(e) if e.errno() == Some(Errno::EEXIST as i32) => Err(who_exists(executor, pair, step)?),
        other => other,
    }
}

fn end(name: &IfName, mac: MacAddr, mtu: Option<Mtu>, rx_queues: u32) -> LinkMessage {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::Address(mac.octets().to_vec()));
    message.attributes.push(LinkAttribute::NumTxQueues(1));
    message.attributes.push(LinkAttribute::NumRxQueues(rx_queues));
    message.attributes.extend(mtu.map(|m| LinkAttribute::Mtu(m.get())));
    message
}

/// EEXIST does not tell which of the two names it means.
fn who_exists(executor: &mut Executor, pair: &CreatePair, step: &str) -> Result<Error> {
    let in_pod = link::find(&mut executor.pod(step)?.socket, &pair.pod)?.is_some();
    let what =
        if in_pod { format!("interface {} in the pod", pair.pod) } else { format!("link {}", pair.host) };
    Ok(Error::Exists { what })
}
