//! The pair of links between pod and node: veth or netkit.

use crate::executor::Executor;
use crate::link::{self, info, named};
use crate::{Error, Result, netkit};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage, NetkitMode};
use nix::errno::Errno;
use offramp_core::ids::{IfName, MacAddr, Mtu};
use offramp_core::pair::ROUTED_GROUP;
use offramp_core::step::{CreateNetkit, CreateNetkitL3, CreatePair};

/// A veth pair with one queue each way: without XDP it uses no other, and by default the kernel makes one for every CPU,
/// with a sysfs object each (`veth_get_num_queues`, drivers/net/veth.c).
pub(crate) fn create_veth(executor: &mut Executor, pair: &CreatePair) -> Result<()> {
    let data = |peer| InfoData::Veth(InfoVeth::Peer(peer));
    create(executor, bridged(pair, 1), "create-veth", |peer| info(InfoKind::Veth, Some(data(peer))))
}

/// A netkit pair whose pod end has room for queues of a NIC.
pub(crate) fn create_netkit(executor: &mut Executor, netkit: &CreateNetkit) -> Result<()> {
    let ends = bridged(&netkit.pair, netkit.rx_queues);
    create(executor, ends, "create-netkit", |peer| netkit::info(NetkitMode::L2, peer))
}

/// A netkit pair without MACs, which the kernel refuses in L3 mode (EOPNOTSUPP). Nobody asks for neighbours on it, and it
/// does not forward what is no IP.
pub(crate) fn create_netkit_l3(executor: &mut Executor, pair: &CreateNetkitL3) -> Result<()> {
    let mut host = end(&pair.host, None, pair.mtu, 1);
    // From its first moment on: no packet passes that is not checked.
    host.attributes.push(LinkAttribute::Group(ROUTED_GROUP));
    let ends = Ends { names: (&pair.host, &pair.pod), host, pod: end(&pair.pod, None, pair.mtu, 1) };
    create(executor, ends, "create-netkit-l3", |peer| netkit::info(NetkitMode::L3, peer))
}

/// The ends of a pair that is to be made.
struct Ends<'a> {
    /// The host's and the pod's.
    names: (&'a IfName, &'a IfName),
    host: LinkMessage,
    pod: LinkMessage,
}

/// Both MACs are given, so that nobody (udev) finds reason to change them.
fn bridged(pair: &CreatePair, rx_queues: u32) -> Ends<'_> {
    Ends {
        names: (&pair.host, &pair.pod),
        host: end(&pair.host, Some(pair.host_mac), pair.mtu, 1),
        pod: end(&pair.pod, Some(pair.pod_mac), pair.mtu, rx_queues),
    }
}

/// Makes the pair in one request, the pod's end inside the pod's netns: there is no move, and nothing to clean up
/// half way.
fn create(
    executor: &mut Executor,
    ends: Ends<'_>,
    step: &str,
    info: impl FnOnce(LinkMessage) -> LinkAttribute,
) -> Result<()> {
    let Ends { names: (host_name, pod_name), mut host, mut pod } = ends;
    pod.attributes.push(LinkAttribute::NetNsFd(executor.pod(step)?.netns.raw_fd()));
    host.attributes.push(info(pod));
    let kind = step.trim_start_matches("create-");
    let what = format!("create {kind} {host_name} with {pod_name} in the pod");
    match executor.host.batch(vec![link::create(what, host)]) {
        Err(e) if e.errno() == Some(Errno::EEXIST as i32) => {
            Err(who_exists(executor, (host_name, pod_name), step)?)
        }
        other => other,
    }
}

fn end(name: &IfName, mac: Option<MacAddr>, mtu: Option<Mtu>, rx_queues: u32) -> LinkMessage {
    let mut message = named(name);
    message.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec())));
    message.attributes.push(LinkAttribute::NumTxQueues(1));
    message.attributes.push(LinkAttribute::NumRxQueues(rx_queues));
    message.attributes.extend(mtu.map(|m| LinkAttribute::Mtu(m.get())));
    message
}

/// EEXIST does not tell which of the two names it means.
fn who_exists(executor: &mut Executor, (host, pod): (&IfName, &IfName), step: &str) -> Result<Error> {
    let in_pod = link::find(&mut executor.pod(step)?.socket, pod)?.is_some();
    let what = if in_pod { format!("interface {pod} in the pod") } else { format!("link {host}") };
    Ok(Error::Exists { what })
}
