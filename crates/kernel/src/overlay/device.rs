//! The VXLAN device: reading it, making it, putting it right.

use super::Changes;
use crate::link::{self, Link, data_of, info, named, numbered};
use crate::message;
use crate::netlink::{Request, Socket};
use crate::{Error, Result};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo,
    LinkMessage, VxlanDf,
};
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_core::overlay::device::{Device, Fix, Found, Setting};
use std::net::IpAddr;

/// The number of the VXLAN device of this name; none if there is none, or a link of another kind.
pub fn index_of(socket: &mut Socket, name: &IfName) -> Result<Option<u32>> {
    let link = link::find(socket, name)?.filter(|link| link.kind.as_deref() == Some("vxlan"));
    Ok(link.map(|link| link.index))
}

/// Deletes the device.
pub fn delete(socket: &mut Socket, name: &IfName, index: u32) -> Result<()> {
    socket.batch(vec![delete_request(name, index)])
}

/// Makes the device what it should be; answers its number and enters what was done.
pub fn ensure(socket: &mut Socket, device: &Device, changes: &mut Changes) -> Result<u32> {
    let found = find(socket, &device.name)?;
    let requests = match (device.fix(found.as_ref()), &found) {
        (Fix::Adjust(settings), Some(found)) if settings.is_empty() => return Ok(found.index),
        (Fix::Adjust(settings), Some(found)) => {
            settings.into_iter().map(|setting| adjust(device, found.index, setting)).collect()
        }
        (Fix::Recreate(why), Some(found)) => {
            changes.note(&format_args!("make vxlan {} anew, since {why}", device.name));
            let mut requests = vec![delete_request(&device.name, found.index)];
            requests.extend(create(device));
            requests
        }
        (Fix::Foreign(is), _) => {
            let why = format!("it is {is}, where the overlay's VXLAN device is wanted");
            return Err(Error::Unfit { what: format!("link {}", device.name), why });
        }
        (Fix::Create | Fix::Adjust(_) | Fix::Recreate(_), _) => create(device),
    };
    let done: Vec<_> = requests.iter().map(|request| request.what.clone()).collect();
    socket.batch(requests)?;
    done.iter().for_each(|what| changes.note(what));
    Ok(link::require(socket, &device.name)?.index)
}

fn delete_request(name: &IfName, index: u32) -> Request {
    let message = message::del_link(numbered(index));
    Request::new(format!("delete link {name}"), message).accept(&[Errno::ENODEV as i32])
}

fn create(device: &Device) -> Vec<Request> {
    let name = device.name.as_str();
    let mut data = vec![
        InfoVxlan::Id(device.vni.get()),
        InfoVxlan::Port(device.port),
        InfoVxlan::UDPCsum(true),
        InfoVxlan::UDPZeroCsumTX(false),
        InfoVxlan::UDPZeroCsumRX(false),
    ];
    data.extend(changeable(device));
    let mut message = named(&device.name);
    message.attributes.push(LinkAttribute::Address(device.mac.octets().to_vec()));
    message.attributes.push(LinkAttribute::Mtu(device.mtu));
    message.attributes.push(info(InfoKind::Vxlan, Some(InfoData::Vxlan(data))));
    vec![
        link::create(format!("create vxlan {name} (VNI {}, port {})", device.vni, device.port), message),
        link::no_autoconf_v6(name, named(&device.name)),
        link::set_up(name, named(&device.name), true),
    ]
}

/// What the kernel lets be changed on a living device.
fn changeable(device: &Device) -> [InfoVxlan; 6] {
    let local = match device.local {
        IpAddr::V4(a) => InfoVxlan::Local(a),
        IpAddr::V6(a) => InfoVxlan::Local6(a),
    };
    [
        local,
        InfoVxlan::Link(device.uplink),
        InfoVxlan::Learning(false),
        InfoVxlan::Ttl(0),
        InfoVxlan::Tos(0),
        InfoVxlan::Df(VxlanDf::Unset),
    ]
}

fn adjust(device: &Device, index: u32, setting: Setting) -> Request {
    let name = device.name.as_str();
    let mut message = numbered(index);
    match setting {
        Setting::Tunnel => {
            let data = InfoData::Vxlan(changeable(device).into());
            let infos = vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(data)];
            let what = format!("set {name} local {} dev {} nolearning", device.local, device.uplink);
            link::set_info(what, message, infos)
        }
        Setting::Mac => {
            message.attributes.push(LinkAttribute::Address(device.mac.octets().to_vec()));
            link::set(format!("set {name} address {}", device.mac), message)
        }
        Setting::Mtu => link::set_mtu(name, message, device.mtu),
        Setting::NoAutoconf => link::no_autoconf_v6(name, message),
        Setting::Up => link::set_up(name, message, true),
    }
}

fn find(socket: &mut Socket, name: &IfName) -> Result<Option<Found>> {
    let what = format!("look up link {name}");
    match socket.get(&what, message::get_link(named(name))) {
        Ok(RouteNetlinkMessage::NewLink(message)) => Ok(Some(found(message))),
        Ok(_) => Err(Error::Decode { what, why: "it is not a link".into() }),
        Err(e) if e.errno() == Some(Errno::ENODEV as i32) => Ok(None),
        Err(e) => Err(e),
    }
}

/// All VXLAN devices, by name.
pub fn list(socket: &mut Socket) -> Result<Vec<(String, Found)>> {
    let mut message = LinkMessage::default();
    message.attributes.push(info(InfoKind::Vxlan, None)); // the kernel's filter
    socket.dump_map("list VXLAN devices", message::get_link(message), |m| match m {
        RouteNetlinkMessage::NewLink(message) => {
            let name = Link::from(message.clone()).name;
            Some((name, found(message))).filter(|(_, f)| f.kind.as_deref() == Some("vxlan"))
        }
        _ => None,
    })
}

fn found(message: LinkMessage) -> Found {
    let autoconf = message.attributes.iter().any(|a| match a {
        LinkAttribute::AfSpecUnspec(all) => all.iter().any(makes_addresses),
        _ => false,
    });
    let data = data_of(&message);
    let link = Link::from(message);
    let mut found = Found {
        kind: link.kind,
        index: link.index,
        mac: link.mac,
        mtu: link.mtu,
        up: link.up,
        autoconf,
        ..Found::default()
    };
    if let Some(InfoData::Vxlan(data)) = data {
        data.into_iter().for_each(|setting| take(&mut found, setting));
    }
    found
}

fn makes_addresses(spec: &AfSpecUnspec) -> bool {
    let other =
        |a: &AfSpecInet6| matches!(a, AfSpecInet6::AddrGenMode(mode) if *mode != In6AddrGenMode::None);
    matches!(spec, AfSpecUnspec::Inet6(all) if all.iter().any(other))
}

fn take(found: &mut Found, setting: InfoVxlan) {
    match setting {
        InfoVxlan::Id(vni) => found.vni = Some(vni),
        InfoVxlan::Port(port) => found.port = Some(port),
        InfoVxlan::Local(ip) => found.local = Some(ip.into()),
        InfoVxlan::Local6(ip) => found.local = Some(ip.into()),
        InfoVxlan::Link(index) => found.uplink = Some(index),
        InfoVxlan::Learning(true) => found.drifted = true,
        InfoVxlan::Ttl(n) | InfoVxlan::Tos(n) if n != 0 => found.drifted = true,
        InfoVxlan::Df(df) if df != VxlanDf::Unset => found.drifted = true,
        other => {
            found.external |= other == InfoVxlan::CollectMetadata(true);
            found.strange = found.strange.or(strange(&other));
        }
    }
}

/// Settings that change what is on the wire, or to whom it goes, and that only a new device gets rid of.
fn strange(setting: &InfoVxlan) -> Option<&'static str> {
    Some(match setting {
        InfoVxlan::Group(_) | InfoVxlan::Group6(_) => "a default remote",
        InfoVxlan::Gbp => "group policy on",
        InfoVxlan::Gpe => "the protocol extension on",
        InfoVxlan::CollectMetadata(true) => "metadata mode on",
        InfoVxlan::Vnifilter(true) => "a VNI filter",
        InfoVxlan::Proxy(true) => "an ARP proxy",
        InfoVxlan::UDPCsum(false) => "no UDP checksums",
        InfoVxlan::UDPZeroCsumTX(true) | InfoVxlan::UDPZeroCsumRX(true) => "zero UDP checksums over IPv6",
        InfoVxlan::RemCsumTX(true) | InfoVxlan::RemCsumRX(true) => "remote checksum offload",
        InfoVxlan::TtlInherit(1..) => "the inner packet's TTL",
        _ => return None,
    })
}
