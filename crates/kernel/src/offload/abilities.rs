//! What the running kernel can do: tried in a network namespace that nobody else is in and that goes with the thread, or
//! asked for. Never told from a version: distributions leave things out and put things in.

mod bpf;

use super::sizes;
use super::xdp::Netdev;
use crate::generic::Family;
use crate::link::{self, info};
use crate::message::word;
use crate::netlink::Socket;
use crate::nft::{self, NftError};
use crate::{Error, Result};
use netlink_packet_core::DefaultNla;
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, InfoVlan, InfoVxlan, LinkAttribute, LinkMessage,
};
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use offramp_core::offload::{Abilities, Ability, Answer, Sizes};

/// More than a packet can have without it.
const BIG: u32 = 128 << 10;

/// Tries all. Modules that the kernel has are loaded for it, as they would be for using them.
pub fn abilities() -> Abilities {
    let name = "abilities".to_owned();
    let tried = std::thread::Builder::new().name(name).spawn(|| match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => Ok(in_own_namespace()),
        Err(e) => Err(Error::sys("make a network namespace", e).to_string()),
    });
    let tried = tried.map_err(|e| e.to_string()).map(|thread| thread.join());
    match tried {
        Ok(Ok(Ok(abilities))) => abilities,
        Ok(Ok(Err(why))) | Err(why) => all_unknown(&why),
        Ok(Err(_)) => all_unknown("the thread that tried ended before its time"),
    }
}

fn all_unknown(why: &str) -> Abilities {
    let unknown = |(ability, _): &(Ability, Try)| (*ability, Answer::Unknown { why: why.to_owned() });
    TRIES.iter().map(unknown).collect()
}

type Try = fn() -> Answer;

const TRIES: [(Ability, Try); 14] = [
    (Ability::AfXdp, || answer(bpf::af_xdp())),
    (Ability::BigTcp, || answer(big_tcp(41, |sizes| sizes.gso_max_size))),
    (Ability::BigTcpIpv4, || answer(big_tcp(63, |sizes| sizes.gso_ipv4_max_size))),
    (Ability::BridgeVlan, || answer(bridge_vlan())),
    (Ability::Devlink, || answer(family("devlink"))),
    (Ability::EthtoolNetlink, || answer(family("ethtool"))),
    (Ability::Flowtable, || nft(FLOWTABLE)),
    (Ability::NetdevFamily, || answer(family("netdev"))),
    (Ability::Netkit, || answer(make("probe0", InfoKind::Netkit, None))),
    (Ability::Nftables, || nft("add table inet probe\n")),
    (Ability::QueueLease, || answer(queue_lease())),
    (Ability::Tcx, || answer(bpf::tcx())),
    (Ability::Vlan, || answer(vlan())),
    (Ability::Vxlan, || answer(vxlan())),
];

const FLOWTABLE: &str = "add table inet probe
add flowtable inet probe short { hook ingress priority 0; devices = { lo }; }
add chain inet probe forward { type filter hook forward priority 0; }
add rule inet probe forward meta l4proto tcp flow add @short
";

fn in_own_namespace() -> Abilities {
    TRIES.iter().map(|(ability, attempt)| (*ability, attempt())).collect()
}

fn answer(outcome: Result<()>) -> Answer {
    let Err(e) = outcome else { return Answer::There };
    let why = e.to_string();
    // Not to be allowed, or to have no memory, tells nothing of the kernel.
    let tells = match &e {
        Error::Refused { errno, .. } => matches!(
            *errno,
            libc::EOPNOTSUPP | libc::EINVAL | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ENOENT
        ),
        other => matches!(other, Error::Missing { .. }),
    };
    if tells { Answer::Missing { why } } else { Answer::Unknown { why } }
}

/// By the `nft` that rules are set with; one that is not there tells nothing of the kernel.
fn nft(script: &str) -> Answer {
    let Err(e) = nft::apply(script) else { return Answer::There };
    let text = e.to_string();
    let why = text.lines().next().unwrap_or_default().to_owned();
    if matches!(e, NftError::Refused(_)) { Answer::Missing { why } } else { Answer::Unknown { why } }
}

fn family(name: &str) -> Result<()> {
    Family::open(name)?.map(drop).ok_or_else(|| Error::Missing { what: format!("netlink family {name}") })
}

fn queue_lease() -> Result<()> {
    let missing = || Error::Missing { what: "command queue-create of netlink family netdev".into() };
    Netdev::open()?.filter(Netdev::has_lease).map(drop).ok_or_else(missing)
}

/// Makes a link; it goes with the namespace.
fn make(name: &str, kind: InfoKind, data: Option<InfoData>) -> Result<()> {
    let what = format!("create a link of kind {kind}");
    let mut message = of_name(name);
    message.attributes.push(info(kind, data));
    Socket::open()?.batch(vec![link::create(what, message)])
}

fn vxlan() -> Result<()> {
    let settings = vec![InfoVxlan::Id(1), InfoVxlan::Port(4789)];
    make("probe1", InfoKind::Vxlan, Some(InfoData::Vxlan(settings)))
}

fn bridge_vlan() -> Result<()> {
    make("probe2", InfoKind::Bridge, Some(InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)])))
}

fn vlan() -> Result<()> {
    const BELOW: &str = "probe3";
    make(BELOW, InfoKind::Bridge, None)?;
    let below = numbered_of(BELOW)?;
    let mut message = of_name("probe4");
    message.attributes.push(LinkAttribute::Link(below));
    message.attributes.push(info(InfoKind::Vlan, Some(InfoData::Vlan(vec![InfoVlan::Id(7)]))));
    Socket::open()?.batch(vec![link::create("create a link of kind vlan", message)])
}

fn numbered_of(name: &str) -> Result<u32> {
    let message = crate::message::get_link(of_name(name));
    let answer = Socket::open()?.get_raw(&format!("look up link {name}"), message)?;
    word(&answer.body, 4).ok_or_else(|| Error::Missing { what: format!("link {name}") })
}

/// Kernels that do not know the attribute pass over it, so that one looks.
fn big_tcp(attribute: u16, read: fn(&Sizes) -> Option<u32>) -> Result<()> {
    let mut socket = Socket::open()?;
    let mut message = of_name("lo");
    message.attributes.push(LinkAttribute::Other(DefaultNla::new(attribute, BIG.to_ne_bytes().to_vec())));
    let what = "set a link's GSO size to 128 KiB";
    socket.batch(vec![link::set(what, message)])?;
    let answer = socket.get_raw("read the sizes of lo", crate::message::get_link(of_name("lo")))?;
    let sizes = sizes::parse(&answer.body);
    let missing = || Error::refused(format!("{what}: it stays as it was"), Errno::EOPNOTSUPP as i32);
    read(&sizes).filter(|size| *size == BIG).map(drop).ok_or_else(missing)
}

fn of_name(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}
