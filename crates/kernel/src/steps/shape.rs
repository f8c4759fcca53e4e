//! Token buckets, one a direction. What the host end sends is the pod's ingress: its own root qdisc limits that.
//! What it receives could be policed only, not queued, so it takes a detour through an ifb, which sends it.

use crate::executor::Executor;
use crate::link::{self, Link, info, named, numbered};
use crate::netlink::Socket;
use crate::{Error, Result, tc};
use netlink_packet_route::link::{InfoKind, LinkAttribute};
use nix::errno::Errno;
use offramp_core::step::Shape;

/// For a link that has no token bucket yet.
pub(crate) fn apply(executor: &mut Executor, want: &Shape) -> Result<()> {
    let socket = &mut executor.host;
    let name = want.link.as_str();
    let host = link::require(socket, &want.link)?;
    let mut requests = Vec::new();
    if let Some(rate) = want.bandwidth.ingress {
        requests.push(tc::limit(name, host.index, rate, host.mtu));
    }
    if let Some(rate) = want.bandwidth.egress {
        let (ifb, index) = (want.ifb.as_str(), create_ifb(socket, want)?.index);
        requests.push(link::no_autoconf_v6(ifb, numbered(index)));
        requests.push(tc::limit(ifb, index, rate, host.mtu));
        // Up before anything is redirected to it: what goes to a link that is down is dropped.
        requests.push(link::set_up(ifb, numbered(index), true));
        requests.push(tc::hook(name, host.index));
        requests.push(tc::redirect(name, host.index, ifb, index));
    }
    socket.batch(requests)
}

fn create_ifb(socket: &mut Socket, want: &Shape) -> Result<Link> {
    let mut message = named(&want.ifb);
    message.attributes.push(LinkAttribute::Address(want.ifb_mac.octets().to_vec()));
    message.attributes.extend(want.mtu.map(|m| LinkAttribute::Mtu(m.get())));
    message.attributes.push(info(InfoKind::Ifb, None));
    match socket.batch(vec![link::create(format!("create ifb {}", want.ifb), message)]) {
        Err(e) if e.errno() == Some(Errno::EEXIST as i32) => {
            Err(Error::Exists { what: format!("link {}", want.ifb) })
        }
        created => created.and_then(|()| link::require(socket, &want.ifb)),
    }
}
