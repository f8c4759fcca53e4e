//! Links: what is asked of one, and the requests that make and change one.

use crate::netlink::{Request, Socket};
use crate::{Error, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgePortState, In6AddrGenMode, InfoBridgePort, InfoData, InfoKind,
    InfoPortData, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, State,
};
use nix::errno::Errno;
use offramp_core::ids::{IfName, MacAddr};

/// What the kernel says of a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Number within the namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Hardware address; empty for links without one.
    pub mac: Vec<u8>,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Administratively promiscuous.
    pub promisc: bool,
    /// Carrier, with link watch's work done.
    pub carrier: bool,
    /// RFC 2863 operational state is up.
    pub operational: bool,
    /// Index of the link that this one is a port of.
    pub controller: Option<u32>,
    /// Bridge port state is forwarding; none if it is no bridge port.
    pub forwarding: Option<bool>,
    /// `bridge`, `veth`, `vxlan`, ...; none for physical links.
    pub kind: Option<InfoKind>,
    /// The kind's settings.
    pub data: Option<InfoData>,
}

impl Link {
    /// Whether its hardware address is this one.
    pub fn has_mac(&self, mac: MacAddr) -> bool {
        self.mac == mac.octets()
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            up: flags.contains(LinkFlags::Up),
            promisc: flags.contains(LinkFlags::Promisc),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(mac) => link.mac = mac,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Carrier(on) => link.carrier = on == 1,
                LinkAttribute::OperState(state) => link.operational = state == State::Up,
                LinkAttribute::Controller(index) => link.controller = Some(index),
                LinkAttribute::LinkInfo(infos) => infos.into_iter().for_each(|info| link.take_info(info)),
                _ => {}
            }
        }
        link
    }
}

impl Link {
    fn take_info(&mut self, info: LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.kind = Some(kind),
            LinkInfo::Data(data) => self.data = Some(data),
            LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
                let forwarding =
                    |p: &InfoBridgePort| *p == InfoBridgePort::State(BridgePortState::Forwarding);
                self.forwarding = Some(port.iter().any(forwarding));
            }
            _ => {}
        }
    }
}

/// A message about the link of this name.
pub fn named(name: &IfName) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_string()));
    message
}

/// A message about the link of this index.
pub fn numbered(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

/// Finds a link by name; none if there is none.
pub fn find(socket: &mut Socket, name: &IfName) -> Result<Option<Link>> {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    lookup(socket, &format!("look up link {name}"), message)
}

/// Finds a link by index; none if there is none.
pub fn find_index(socket: &mut Socket, index: u32) -> Result<Option<Link>> {
    lookup(socket, &format!("look up link {index}"), numbered(index))
}

fn lookup(socket: &mut Socket, what: &str, message: LinkMessage) -> Result<Option<Link>> {
    match socket.get(what, RouteNetlinkMessage::GetLink(message)) {
        Ok(RouteNetlinkMessage::NewLink(link)) => Ok(Some(link.into())),
        Ok(_) => Err(Error::Decode { what: what.to_owned(), why: "it is not a link".into() }),
        Err(e) if e.errno() == Some(Errno::ENODEV as i32) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Finds a link that must be there.
pub fn require(socket: &mut Socket, name: &IfName) -> Result<Link> {
    find(socket, name)?.ok_or_else(|| Error::Missing { what: format!("link {name}") })
}

/// All links of the namespace.
pub fn list(socket: &mut Socket) -> Result<Vec<Link>> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let replies = socket.dump("list links", &RouteNetlinkMessage::GetLink(message))?;
    let link = |m| if let RouteNetlinkMessage::NewLink(l) = m { Some(l.into()) } else { None };
    Ok(replies.into_iter().filter_map(link).collect())
}

/// Makes a link; fails with EEXIST if the name is taken.
pub fn create(what: impl Into<String>, message: LinkMessage) -> Request {
    Request::new(what, RouteNetlinkMessage::NewLink(message)).flags(NLM_F_CREATE | NLM_F_EXCL)
}

/// Changes a link.
pub fn set(what: impl Into<String>, message: LinkMessage) -> Request {
    Request::new(what, RouteNetlinkMessage::SetLink(message))
}

/// Changes settings of a link's kind, or of the link as a port: they are read of RTM_NEWLINK only, RTM_SETLINK
/// passes over them without a word (do_setlink, net/core/rtnetlink.c).
pub fn set_info(what: impl Into<String>, mut message: LinkMessage, infos: Vec<LinkInfo>) -> Request {
    message.attributes.push(LinkAttribute::LinkInfo(infos));
    Request::new(what, RouteNetlinkMessage::NewLink(message))
}

/// Brings a link up, or down.
pub fn set_up(name: &str, mut message: LinkMessage, up: bool) -> Request {
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    set(format!("set {name} {}", if up { "up" } else { "down" }), message)
}

/// No IPv6 address of the kernel's own making: no duplicate address detection, no router solicitation,
/// no multicast listener report that a bridge floods to a thousand ports. Must come before "up".
/// The attribute cannot be in the creating message (rtnl_create_link, net/core/rtnetlink.c, does not read it).
pub fn no_autoconf_v6(name: &str, mut message: LinkMessage) -> Request {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]));
    // A kernel without IPv6 has nothing to turn off.
    set(format!("set {name} addrgenmode none"), message).accept(&[Errno::EAFNOSUPPORT as i32])
}

/// Sets the MTU.
pub fn set_mtu(name: &str, mut message: LinkMessage, mtu: u32) -> Request {
    message.attributes.push(LinkAttribute::Mtu(mtu));
    set(format!("set {name} mtu {mtu}"), message)
}

/// The name of a kind of link.
pub fn info(kind: InfoKind, data: Option<InfoData>) -> LinkAttribute {
    let mut infos = vec![LinkInfo::Kind(kind)];
    infos.extend(data.map(LinkInfo::Data));
    LinkAttribute::LinkInfo(infos)
}
