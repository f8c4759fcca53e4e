//! A VF's representor as a port of a bridge.

use crate::executor::Executor;
use crate::link::{self, Link, numbered};
use crate::netlink::{Request, Socket};
use crate::vf::{self, Representor, VfPort};
use crate::{Error, Result};
use netlink_packet_route::link::{
    InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo, LinkMessage,
};
use nix::errno::Errno;
use offramp_core::step::PlugRepresentor;
use offramp_core::vf::VfRef;

/// The representor is down until all is set, so that no frame passes a half configured port: a bridge puts a new one in
/// a VLAN of its own choice. Nor is one left behind by a failure. A port of another bridge, or of anything else, is
/// somebody's.
pub(crate) fn plug(executor: &mut Executor, want: &PlugRepresentor) -> Result<()> {
    let bridge = executor.bridge(&want.bridge)?;
    let what = format!("make the representor of {} a port of bridge {}", want.vf, want.bridge);
    let Some(representor) = find(&executor.vfs, &want.vf)? else {
        return Err(Error::Unfit { what, why: "it has none: its embedded switch is in legacy mode".into() });
    };
    let socket = &mut executor.host;
    let now = representor.link(socket)?;
    if let Some(other) = now.controller.filter(|index| *index != bridge) {
        let other = link::find_index(socket, other)?.map_or_else(String::new, |l| l.name);
        return Err(Error::Unfit { what, why: format!("{} is a port of {other}", now.name) });
    }
    let in_place = representor.is_plugged(socket, bridge, want)?;
    let done = socket
        .batch(prepare(want, &now, bridge, in_place, what))
        .and_then(|()| want.vlan.map_or(Ok(()), |tag| representor.set_vlan(socket, &want.vf, tag)))
        .and_then(|()| socket.batch(bring_up(want, &now, in_place)));
    if done.is_err() {
        // What failed first tells more; a port that cannot be taken out is down.
        let now = representor.link(socket).ok().filter(|now| now.controller == Some(bridge));
        let _ = now.map(|now| take_out(socket, &now));
    }
    done
}

/// All but the VLAN, which only a port has.
fn prepare(want: &PlugRepresentor, now: &Link, bridge: u32, in_place: bool, what: String) -> Vec<Request> {
    let (name, index) = (now.name.as_str(), now.index);
    let mut requests = Vec::new();
    if now.up && !in_place {
        requests.push(link::set_up(name, numbered(index), false));
    }
    // Before it is a port: a bridge without an MTU of its own takes the least of its ports'.
    if let Some(mtu) = want.mtu.filter(|mtu| mtu.get() != now.mtu) {
        requests.push(link::set_mtu(name, numbered(index), mtu.get()));
    }
    if now.controller != Some(bridge) {
        requests.push(link::set(what, controlled(index, bridge)));
    }
    if want.hairpin {
        let data = vec![InfoBridgePort::HairpinMode(true)];
        let infos = vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(data)),
        ];
        let hairpin = link::set_info(format!("set bridge port {name} hairpin on"), numbered(index), infos);
        // What a driver does not offload it refuses (br_switchdev_set_port_flag, net/bridge/br_switchdev.c).
        requests.push(hairpin.accept(&[Errno::EOPNOTSUPP as i32]));
    }
    requests
}

fn bring_up(want: &PlugRepresentor, now: &Link, in_place: bool) -> Vec<Request> {
    if !want.up || in_place {
        return Vec::new();
    }
    vec![link::set_up(now.name.as_str(), numbered(now.index), true)]
}

/// Takes it out of this bridge. Whose VF is gone has none; one that is elsewhere was put there by somebody else.
pub(crate) fn unplug(executor: &mut Executor, plugged: &PlugRepresentor) -> Result<()> {
    let representor = match find(&executor.vfs, &plugged.vf) {
        Ok(Some(representor)) => representor,
        Ok(None) | Err(Error::Missing { .. } | Error::Unfit { .. }) => return Ok(()),
        Err(e) => return Err(e),
    };
    let Some(bridge) = link::index_of(&plugged.bridge)? else { return Ok(()) };
    match representor.link(&mut executor.host) {
        Ok(now) if now.controller == Some(bridge) => take_out(&mut executor.host, &now),
        Ok(_) | Err(Error::Missing { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

fn find(host: &vf::Host<'_>, vf: &VfRef) -> Result<Option<Representor>> {
    match VfPort::of(host, vf)? {
        VfPort::Switchdev(representor) => Ok(Some(representor)),
        VfPort::Legacy(_) => Ok(None),
    }
}

/// Of whatever it is a port.
pub(crate) fn take_out(socket: &mut Socket, port: &Link) -> Result<()> {
    let what = format!("take {} out of what it is a port of", port.name);
    socket.batch(vec![link::set(what, controlled(port.index, 0))])
}

fn controlled(index: u32, controller: u32) -> LinkMessage {
    let mut message = numbered(index);
    message.attributes.push(LinkAttribute::Controller(controller));
    message
}

#[cfg(test)]
#[path = "representor_tests.rs"]
mod tests;
