//! A VF: its settings, its driver, its netdev's way into the pod.

use crate::ethtool::Ethtool;
use crate::executor::Executor;
use crate::link::{self, Link, numbered};
use crate::vf::{self, VfPort, bring_home};
use crate::{Error, Result, wait};
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use offramp_core::step::{BindTo, BindVf, ConfigureVf, MoveVf};

/// Sets what the port sets. The MAC is offered to the netdev before: once it is administrative, igbvf may not take it.
pub(crate) fn configure(executor: &mut Executor, want: &ConfigureVf) -> Result<()> {
    let Executor { host: socket, vfs: host, .. } = executor;
    let port = VfPort::of(host, &want.vf)?;
    if let Some(mac) = want.settings.mac {
        vf::offer(host, socket, &port, &want.vf, mac)?;
    }
    port.configure(socket, &want.vf, &want.settings)
}

/// Has the VF's driver know what was set, or binds the VF to vfio-pci.
pub(crate) fn bind(executor: &mut Executor, want: &BindVf) -> Result<()> {
    let Executor { host: socket, vfs: host, .. } = executor;
    match want.to {
        BindTo::SameAnew => vf::take_up_mac(host, socket, &want.vf),
        BindTo::VfioPci => to_vfio(executor, want),
    }
}

fn to_vfio(executor: &mut Executor, want: &BindVf) -> Result<()> {
    const VFIO: &str = "vfio-pci";
    let Executor { host: socket, vfs: host, .. } = executor;
    let pci = want.vf.pci;
    if host.driver(pci)?.as_deref() != Some(VFIO) {
        if let Some(netdev) = host.netdev(pci)? {
            socket.batch(vec![link::set_up(netdev.name.as_str(), numbered(netdev.index), false)])?;
        }
        vf::unbind(host, pci)?;
        vf::bind(host, pci, VFIO)?;
    }
    let missing = || Error::Missing { what: format!("the IOMMU group of {}", want.vf) };
    let group = host.iommu_group(pci)?.ok_or_else(missing)?;
    let node = host.sysfs.path(format!("class/vfio/{group}"));
    wait::until(|| format!("/dev/vfio/{group} of {}", want.vf), || Ok(node.exists()))
}

/// Moves the netdev into the pod, where it gets its name: on the host nobody sees it.
pub(crate) fn move_in(executor: &mut Executor, want: &MoveVf) -> Result<()> {
    let pod = executor.pod("move-vf")?;
    if link::find(&mut pod.socket, &want.name)?.is_some() {
        return Err(Error::Exists { what: format!("interface {} in the pod", want.name) });
    }
    let netns = pod.netns.raw_fd();
    let netdev = on_host(executor, want)?;
    prepare(executor, want, &netdev)?;
    let mut go = numbered(netdev.index);
    go.attributes.push(LinkAttribute::NetNsFd(netns));
    go.attributes.push(LinkAttribute::IfName(want.name.to_string()));
    let what = format!("move {} ({}) into the pod as {}", netdev.name, want.vf, want.name);
    executor.host.batch(vec![link::set(what, go)])?;
    arrived(executor, want)
}

fn on_host(executor: &mut Executor, want: &MoveVf) -> Result<Link> {
    let missing = || Error::Missing { what: format!("the netdev of {}, on the host,", want.vf) };
    let netdev = executor.vfs.netdev(want.vf.pci)?.ok_or_else(missing)?;
    link::find_index(&mut executor.host, netdev.index)?.ok_or_else(missing)
}

/// What is the netdev's own to set.
fn prepare(executor: &mut Executor, want: &MoveVf, netdev: &Link) -> Result<()> {
    has_mac(want, netdev)?;
    let name = netdev.name.as_str();
    let mut requests = vec![link::set_up(name, numbered(netdev.index), false)];
    if let Some(mtu) = want.settings.mtu.filter(|m| m.get() != netdev.mtu) {
        requests.push(link::set_mtu(name, numbered(netdev.index), mtu.get()));
    }
    if let Some(all) = want.settings.allmulticast.filter(|on| *on != netdev.allmulticast) {
        let mut message = numbered(netdev.index);
        message.header.change_mask = LinkFlags::Allmulti;
        message.header.flags = if all { LinkFlags::Allmulti } else { LinkFlags::empty() };
        requests
            .push(link::set(format!("set {name} allmulticast {}", if all { "on" } else { "off" }), message));
    }
    executor.host.batch(requests)?;
    match want.settings.queues {
        Some(queues) => set_queues(name, queues),
        None => Ok(()),
    }
}

/// So many channels, all of which receive.
fn set_queues(netdev: &str, count: u32) -> Result<()> {
    let what = || format!("set {netdev} combined channels {count}");
    let netdev = netdev.parse().map_err(|e| Error::Unfit { what: what(), why: format!("{e}") })?;
    let mut ethtool = Ethtool::require(what())?;
    ethtool.set_combined(&netdev, count)?;
    ethtool.spread(&netdev, count)
}

fn has_mac(want: &MoveVf, link: &Link) -> Result<()> {
    if link.has_mac(want.mac) {
        return Ok(());
    }
    let is = link.mac.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":");
    let what = format!("link {} ({})", link.name, want.vf);
    Err(Error::Unfit { what, why: format!("its MAC is {is}, not {}", want.mac) })
}

fn arrived(executor: &mut Executor, want: &MoveVf) -> Result<()> {
    let found = link::require(&mut executor.pod("move-vf")?.socket, &want.name)?;
    if !executor.vfs.owns(want.vf.pci, &found)? {
        let what = format!("interface {} in the pod", want.name);
        return Err(Error::Unfit { what, why: format!("it is not {}", want.vf) });
    }
    has_mac(want, &found)
}

/// Takes the netdev out of the pod, wherever it is and whatever it is called. One that cannot be found is left to
/// whoever cleans the VF: unbinding its driver ends it.
pub(crate) fn bring_back(executor: &mut Executor, moved: &MoveVf) -> Result<()> {
    let mut hints: Vec<_> = executor.pod.iter().map(|pod| pod.netns.path().to_owned()).collect();
    hints.extend(executor.record_netns.iter().map(|n| n.path.clone()));
    bring_home(&executor.vfs, moved.vf.pci, &hints).map(|_| ())
}
