//! Links: what is asked of one, and the requests that make and change one.

use crate::message::{self, RTM_NEWLINK, word};
use crate::netlink::{Request, Socket};
use crate::{Error, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NlaBuffer, NlasIterator};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, LinkAttribute, LinkExtentMask, LinkFlags,
    LinkInfo, LinkMessage,
};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::pair::ROUTED_GROUP;
use std::os::fd::{AsFd, AsRawFd};

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
    /// The group that it is in; 0 unless somebody says otherwise.
    pub group: u32,
    /// Administratively promiscuous.
    pub promisc: bool,
    /// Receives all multicast, administratively.
    pub allmulticast: bool,
    /// Carrier, with link watch's work done.
    pub carrier: bool,
    /// RFC 2863 operational state is up.
    pub operational: bool,
    /// Index of the link that this one is on, such as a VLAN's; a veth's is its peer's, in whatever namespace.
    pub lower: Option<u32>,
    /// Index of the link that this one is a port of.
    pub controller: Option<u32>,
    /// Bridge port state is forwarding; none if it is no bridge port.
    pub forwarding: Option<bool>,
    /// `bridge`, `veth`, `netkit`, `vxlan`, ...; none for physical links.
    pub kind: Option<String>,
    /// Kind of the root qdisc: `tbf`, `noqueue`, ...
    pub qdisc: String,
    /// A bridge that tells VLANs apart.
    pub vlan_filtering: bool,
    /// `ifalias`
    pub alias: Option<String>,
    /// Alternative names.
    pub altnames: Vec<String>,
    /// The device that it is of; none for virtual links.
    pub parent: Option<Parent>,
    /// `phys_port_name`: what an embedded switch calls this port of its own.
    pub port_name: Option<String>,
    /// `phys_switch_id`, in hexadecimal digits: the embedded switch that it is a port of.
    pub switch_id: Option<String>,
}

/// A device that has a link.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parent {
    /// `pci`, `virtio`, `netdevsim`, ...
    pub bus: String,
    /// Its name on the bus.
    pub device: String,
}

impl Link {
    /// Whether its hardware address is this one.
    pub fn has_mac(&self, mac: MacAddr) -> bool {
        self.mac == mac.octets()
    }

    /// Whether it is the host end of this MAC; of one without MACs the name is enough to be known, and the kind to be sure.
    pub fn is_host_end(&self, mac: Option<MacAddr>) -> bool {
        mac.map_or(self.kind.as_deref() == Some("netkit"), |mac| self.has_mac(mac))
    }

    /// A netkit device in L3 mode: it alone has no MAC.
    pub fn is_netkit_l3(&self) -> bool {
        self.kind.as_deref() == Some("netkit") && self.mac.iter().all(|byte| *byte == 0)
    }

    /// Whether the node routes by it, and checks what comes from there.
    pub fn is_routed(&self) -> bool {
        self.up && self.group == ROUTED_GROUP
    }

    /// One of two ends of a wire, as pods have them: it leads to no NIC.
    pub fn is_pair(&self) -> bool {
        matches!(self.kind.as_deref(), Some("veth" | "netkit"))
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        Self::parse(&message::new_link(message).body)
    }
}

// include/uapi/linux/if_link.h
const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_QDISC: u16 = 6;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
pub(crate) const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_CARRIER: u16 = 33;
const IFLA_PHYS_SWITCH_ID: u16 = 36;
const IFLA_PHYS_PORT_NAME: u16 = 38;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
pub(crate) const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;
pub(crate) const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BRPORT_STATE: u16 = 1;
/// RFC 2863 up (include/uapi/linux/if.h).
const IF_OPER_UP: u8 = 6;
/// include/uapi/linux/if_bridge.h
const BR_STATE_FORWARDING: u8 = 3;
/// struct ifinfomsg
const HEADER: usize = 16;

impl Link {
    /// Reads the dozen fields that matter out of the hundred that the kernel tells.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let flags = LinkFlags::from_bits_retain(word(body, 8).unwrap_or_default());
        let mut link = Self {
            index: word(body, 4).unwrap_or_default(),
            up: flags.contains(LinkFlags::Up),
            promisc: flags.contains(LinkFlags::Promisc),
            allmulticast: flags.contains(LinkFlags::Allmulti),
            ..Self::default()
        };
        for nla in attributes(body.get(HEADER..).unwrap_or_default()) {
            let value = nla.value();
            match nla.kind() {
                IFLA_IFNAME => link.name = text(value),
                IFLA_ADDRESS => link.mac = value.to_vec(),
                IFLA_MTU => link.mtu = word(value, 0).unwrap_or_default(),
                IFLA_GROUP => link.group = word(value, 0).unwrap_or_default(),
                IFLA_QDISC => link.qdisc = text(value),
                IFLA_CARRIER => link.carrier = value == [1],
                IFLA_OPERSTATE => link.operational = value == [IF_OPER_UP],
                IFLA_LINK => link.lower = word(value, 0),
                IFLA_MASTER => link.controller = word(value, 0),
                IFLA_LINKINFO => link.parse_info(value),
                IFLA_PHYS_PORT_NAME => link.port_name = Some(text(value)),
                IFLA_PHYS_SWITCH_ID => {
                    link.switch_id = Some(value.iter().map(|b| format!("{b:02x}")).collect());
                }
                IFLA_PARENT_DEV_NAME => link.parent.get_or_insert_default().device = text(value),
                IFLA_PARENT_DEV_BUS_NAME => link.parent.get_or_insert_default().bus = text(value),
                IFLA_IFALIAS => link.alias = Some(text(value)),
                IFLA_PROP_LIST => {
                    let names = attributes(value).filter(|nla| nla.kind() == IFLA_ALT_IFNAME);
                    link.altnames.extend(names.map(|nla| text(nla.value())));
                }
                _ => {}
            }
        }
        link
    }

    fn parse_info(&mut self, info: &[u8]) {
        let is = |inside: &[u8], kind: u16, value: u8| {
            attributes(inside).any(|nla| nla.kind() == kind && nla.value() == [value])
        };
        for nla in attributes(info) {
            match nla.kind() {
                IFLA_INFO_KIND => self.kind = Some(text(nla.value())),
                // The kind comes before its data.
                IFLA_INFO_DATA if self.kind.as_deref() == Some("bridge") => {
                    self.vlan_filtering = is(nla.value(), IFLA_BR_VLAN_FILTERING, 1);
                }
                IFLA_INFO_SLAVE_DATA => {
                    self.forwarding = Some(is(nla.value(), IFLA_BRPORT_STATE, BR_STATE_FORWARDING));
                }
                _ => {}
            }
        }
    }
}

pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(|nla| nla.ok())
}

pub(crate) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// The settings of a link's kind, decoded in full.
pub fn data_of(message: &LinkMessage) -> Option<InfoData> {
    message.attributes.iter().find_map(|a| match a {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|i| match i {
            LinkInfo::Data(data) => Some(data.clone()),
            _ => None,
        }),
        _ => None,
    })
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
    match socket.get_raw(what, message::get_link(message)) {
        Ok(link) if link.kind == RTM_NEWLINK => Ok(Some(Link::parse(&link.body))),
        Ok(_) => Err(Error::Decode { what: what.to_owned(), why: "it is not a link".into() }),
        Err(e) if e.errno() == Some(Errno::ENODEV as i32) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The index of a link in the calling thread's namespace, if it is there. By binding a socket to it, which looks under RCU
/// as [`index_in`] does, but for a name that nobody has does not start `modprobe`, twice, as that ioctl would (`dev_load`,
/// net/core/dev_ioctl.c): whoever takes something back asks for what is gone.
pub fn index_of(name: &IfName) -> Result<Option<u32>> {
    let failed = |e| Error::sys(format!("look up link {name}"), e);
    let socket =
        socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
    match setsockopt(&socket, sockopt::BindToDevice, &name.as_str().into()) {
        Ok(()) => bound_index(&socket).map(Some).map_err(failed),
        Err(Errno::ENODEV) => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

/// `SO_BINDTOIFINDEX` (socket(7), Linux 5.1).
fn bound_index(socket: &impl AsFd) -> nix::Result<u32> {
    let (mut index, mut len) = (0u32, size_of::<u32>() as nix::libc::socklen_t);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open, and the kernel writes at most `len` bytes, the size of `index`.
    let got = unsafe {
        use nix::libc::{SO_BINDTOIFINDEX, SOL_SOCKET, getsockopt};
        getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, (&raw mut index).cast(), &raw mut len)
    };
    Errno::result(got).map(|_| index)
}

/// The index of a link that must be there, in the socket's namespace. By ioctl: unlike RTM_GETLINK it does not wait for
/// whoever changes links at the moment (SIOCGIFINDEX in `dev_ioctl`, net/core/dev_ioctl.c, looks under RCU).
pub fn index_in(socket: &Socket, name: &IfName) -> Result<u32> {
    // SAFETY: an all-zero ifreq is a valid one; it is plain data.
    let mut request: nix::libc::ifreq = unsafe { std::mem::zeroed() };
    // An interface's name has at most 15 bytes, so that it ends with a zero.
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from as nix::libc::c_char;
    }
    // SAFETY: the descriptor is open, and the kernel writes within the ifreq that it is given.
    match unsafe { get_index(socket.as_fd().as_raw_fd(), &mut request) } {
        // SAFETY: SIOCGIFINDEX fills this member of the union.
        Ok(_) => Ok(unsafe { request.ifr_ifru.ifru_ifindex } as u32),
        Err(Errno::ENODEV) => Err(Error::Missing { what: format!("link {name}") }),
        Err(e) => Err(Error::sys(format!("look up link {name}"), e)),
    }
}

nix::ioctl_readwrite_bad!(
    /// `SIOCGIFINDEX` (netdevice(7)); any socket will do.
    get_index,
    nix::libc::SIOCGIFINDEX,
    nix::libc::ifreq
);

/// Finds a link that must be there.
pub fn require(socket: &mut Socket, name: &IfName) -> Result<Link> {
    find(socket, name)?.ok_or_else(|| Error::Missing { what: format!("link {name}") })
}

/// All links of the namespace.
pub fn list(socket: &mut Socket) -> Result<Vec<Link>> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let replies = socket.dump_raw("list links", message::get_link(message))?;
    Ok(replies.iter().filter(|m| m.kind == RTM_NEWLINK).map(|m| Link::parse(&m.body)).collect())
}

/// Makes a link; fails with EEXIST if the name is taken.
pub fn create(what: impl Into<String>, message: LinkMessage) -> Request {
    Request::new(what, message::new_link(message)).flags(NLM_F_CREATE | NLM_F_EXCL)
}

/// Changes a link.
pub fn set(what: impl Into<String>, message: LinkMessage) -> Request {
    Request::new(what, message::set_link(message))
}

/// Changes settings of a link's kind, or of the link as a port: they are read of RTM_NEWLINK only, RTM_SETLINK
/// passes over them without a word (do_setlink, net/core/rtnetlink.c).
pub fn set_info(what: impl Into<String>, mut message: LinkMessage, infos: Vec<LinkInfo>) -> Request {
    message.attributes.push(LinkAttribute::LinkInfo(infos));
    Request::new(what, message::new_link(message))
}

/// Brings a link up, or down.
pub fn set_up(name: &str, mut message: LinkMessage, up: bool) -> Request {
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    set(format!("set {name} {}", if up { "up" } else { "down" }), message)
}

/// Puts a link into a group.
pub fn set_group(name: &str, mut message: LinkMessage, group: u32) -> Request {
    message.attributes.push(LinkAttribute::Group(group));
    set(format!("set {name} group {group}"), message)
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
