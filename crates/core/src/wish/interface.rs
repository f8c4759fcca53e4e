//! One entry of `offramp.dev/interfaces`.

use super::{INTERFACES, MAX_INTERFACES, MAX_QUEUES};
use crate::cni::CniError;
use crate::cni::fields::Fields;
use crate::cni::result::Route;
use crate::ids::{IfName, MacAddr, Mtu, PoolName, VlanId};
use crate::net::Family;
use crate::nic::PciAddr;
use crate::spec::Address;
use crate::vf::{LinkState, VfSettings, VlanProto, VlanTag};
use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;

/// Addresses, and routes, of one interface.
const MAX_LIST: usize = 32;

/// A further interface, wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceWish {
    /// Its name in the pod, unique there.
    pub name: IfName,
    /// The pool; none: any whose policy allows it.
    pub pool: Option<PoolName>,
    /// This VF and no other.
    pub device: Option<PciAddr>,
    /// Settings of the VF.
    pub settings: VfSettings,
    /// Addresses, with their gateways.
    pub addresses: Vec<Address>,
    /// Routes; a default route among them if `default_route`.
    pub routes: Vec<Route>,
    /// The pod's default route goes here, and not over eth0.
    pub default_route: bool,
}

/// `on`, `off`, or a boolean.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "it is on, off, true or false")]
enum Switch {
    Bool(bool),
    Word(OnOff),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnOff {
    On,
    Off,
}

impl Switch {
    fn get(self) -> bool {
        matches!(self, Self::Bool(true) | Self::Word(OnOff::On))
    }
}

/// The annotation's list; `pool` is that of entries that name none.
pub(super) fn list(value: Value, pool: Option<&PoolName>) -> Result<Vec<InterfaceWish>, CniError> {
    let entries = match value {
        Value::Array(entries) => entries,
        Value::Null => Vec::new(),
        _ => return Err(super::wrong(INTERFACES, "it must be a list, such as [{name: net1}]")),
    };
    // Before anything is done for each of them.
    if entries.len() > MAX_INTERFACES {
        return Err(too_many(entries.len()));
    }
    let mut wishes: Vec<InterfaceWish> = Vec::new();
    for (i, entry) in entries.into_iter().enumerate() {
        for wish in self::entry(Fields::new(&format!("{INTERFACES}[{i}]"), entry)?, pool)? {
            if wishes.iter().any(|w| w.name == wish.name) {
                return Err(wrong_field(&format!("{INTERFACES}[{i}].name"), &wish.name, "it is there twice"));
            }
            let same = |w: &InterfaceWish| w.device.is_some() && w.device == wish.device;
            if let Some(other) = wishes.iter().find(|w| same(w)) {
                let why = format!("{} has it already", other.name);
                let device = wish.device.map(|d| d.to_string()).unwrap_or_default();
                return Err(wrong_field(&format!("{INTERFACES}[{i}].deviceID"), device, why));
            }
            wishes.push(wish);
        }
    }
    if wishes.len() > MAX_INTERFACES {
        return Err(too_many(wishes.len()));
    }
    for family in Family::ALL {
        let goes_here = |w: &&InterfaceWish| w.routes.iter().any(|r| r.dst == family.default_route());
        let names: Vec<&str> = wishes.iter().filter(goes_here).map(|w| w.name.as_str()).collect();
        if names.len() > 1 {
            let why = format!("{family} default routes over {}: a pod has one", names.join(" and "));
            return Err(super::wrong(INTERFACES, why));
        }
    }
    Ok(wishes)
}

fn too_many(n: usize) -> CniError {
    super::wrong(INTERFACES, format!("{n} interfaces; allowed: {MAX_INTERFACES}"))
}

fn wrong_field(name: &str, value: impl std::fmt::Display, why: impl std::fmt::Display) -> CniError {
    CniError::config(format!("field {name:?} with value {value}: {why}"))
}

/// An entry, which stands for `count` interfaces.
fn entry(mut f: Fields, pool: Option<&PoolName>) -> Result<Vec<InterfaceWish>, CniError> {
    let name: IfName = f.require("name")?;
    if matches!(name.as_str(), "eth0" | "lo") {
        let why = "it is taken; what eth0 is made of is said by offramp.dev/offload";
        return Err(wrong_field(&f.name("name"), &name, why));
    }
    path(&mut f)?;
    let count: u32 = bounded(&mut f, "count", 1, MAX_INTERFACES as u32)?.unwrap_or(1);
    let device: Option<PciAddr> = f.take("deviceID")?;
    let settings = settings(&mut f)?;
    let addresses = addresses(&mut f)?;
    let default_route = f.take::<bool>("defaultRoute")?.unwrap_or(false);
    let routes = routes(&mut f, &addresses, default_route)?;
    let wish = InterfaceWish {
        name: name.clone(),
        pool: f.take("pool")?.or_else(|| pool.cloned()),
        device,
        settings,
        addresses,
        routes,
        default_route,
    };
    if count == 1 {
        f.finish()?;
        return Ok(vec![wish]);
    }
    let own = wish.device.is_some() || wish.settings.mac.is_some() || !wish.addresses.is_empty();
    if own || !wish.routes.is_empty() {
        let why = "several interfaces cannot share deviceID, mac, ips or routes";
        return Err(wrong_field(&f.name("count"), count, why));
    }
    let names = numbered(&name, count).map_err(|e| wrong_field(&f.name("count"), count, e))?;
    f.finish()?;
    Ok(names.into_iter().map(|name| InterfaceWish { name, ..wish.clone() }).collect())
}

/// `net1` and 3: net1, net2, net3; `net` and 2: net0, net1.
fn numbered(name: &IfName, count: u32) -> Result<Vec<IfName>, crate::ids::Invalid> {
    let stem = name.as_str().trim_end_matches(|c: char| c.is_ascii_digit());
    let first: u32 = name.as_str()[stem.len()..].parse().unwrap_or(0);
    (0..count).map(|i| format!("{stem}{}", u64::from(first) + u64::from(i)).parse()).collect()
}

/// A further interface is a VF: there is no other network that a veth could lead to.
fn path(f: &mut Fields) -> Result<(), CniError> {
    match f.take::<String>("offload")?.as_deref() {
        None | Some("required") => Ok(()),
        Some(other) => {
            let why =
                "allowed: required; there is no other network behind a further interface to fall back to";
            Err(wrong_field(&f.name("offload"), super::cut(other, 40), why))
        }
    }
}

fn settings(f: &mut Fields) -> Result<VfSettings, CniError> {
    let mut switch = |key: &str| Ok::<_, CniError>(f.take::<Switch>(key)?.map(Switch::get));
    let (trust, spoofchk, allmulticast) = (switch("trust")?, switch("spoofchk")?, switch("allmulticast")?);
    let settings = VfSettings {
        mac: f.take::<MacAddr>("mac")?,
        vlan: vlan(f)?,
        trust,
        spoofchk,
        link_state: f.take::<LinkState>("linkState")?,
        min_tx_rate: f.take("minTxRate")?,
        max_tx_rate: f.take("maxTxRate")?,
        mtu: f.take::<Mtu>("mtu")?,
        allmulticast,
        queues: bounded(f, "queues", 1, MAX_QUEUES)?,
    };
    if let (Some(min), Some(max @ 1..)) = (settings.min_tx_rate, settings.max_tx_rate)
        && min > max
    {
        return Err(wrong_field(&f.name("minTxRate"), min, format!("it is above maxTxRate, {max}")));
    }
    Ok(settings)
}

/// VLAN 0 is untagged; priority and protocol are those of a tag.
fn vlan(f: &mut Fields) -> Result<Option<VlanTag>, CniError> {
    let id: Option<u32> = bounded(f, "vlan", 0, 4094)?;
    let qos: Option<u32> = bounded(f, "qos", 0, 7)?;
    let proto: Option<VlanProto> = f.take("proto")?;
    let tagged = id.is_some_and(|id| id != 0);
    for (key, given) in [("qos", qos.is_some_and(|q| q != 0)), ("proto", proto.is_some())] {
        if given && !tagged {
            return Err(CniError::config(format!("field {:?} needs a vlan from 1 to 4094", f.name(key))));
        }
    }
    Ok(id.map(|id| VlanTag {
        id: VlanId::try_from(u64::from(id)).ok(),
        qos: qos.and_then(|q| u8::try_from(q).ok()).unwrap_or(0),
        proto: proto.unwrap_or_default(),
    }))
}

fn bounded(f: &mut Fields, key: &str, min: u32, max: u32) -> Result<Option<u32>, CniError> {
    let Some(value) = f.take::<u32>(key)? else { return Ok(None) };
    if (min..=max).contains(&value) {
        return Ok(Some(value));
    }
    Err(wrong_field(&f.name(key), value, format!("allowed: a whole number from {min} to {max}")))
}

fn limited<T>(f: &Fields, key: &str, list: Vec<T>) -> Result<Vec<T>, CniError> {
    if list.len() <= MAX_LIST {
        return Ok(list);
    }
    Err(CniError::config(format!("field {:?} has {} entries; allowed: {MAX_LIST}", f.name(key), list.len())))
}

/// `gateway` is one address or several; each goes with the addresses of its family.
fn addresses(f: &mut Fields) -> Result<Vec<Address>, CniError> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "it is an IP address, or a list of them")]
    enum OneOrMore {
        One(IpAddr),
        More(Vec<IpAddr>),
    }
    let ips: Vec<String> = f.take_or("ips", Vec::new())?;
    let ips = limited(f, "ips", ips)?;
    let gateways = match f.take("gateway")? {
        None => Vec::new(),
        Some(OneOrMore::One(ip)) => vec![ip],
        Some(OneOrMore::More(ips)) => ips,
    };
    let mut addresses: Vec<Address> = Vec::new();
    for text in ips {
        let why = "it is a host's address with its prefix length, such as 192.168.10.5/24 or fd00::5/64";
        let ip = text.contains('/').then(|| text.parse::<IpNetwork>().ok()).flatten();
        let ip = ip
            .filter(|ip| is_host(*ip))
            .ok_or_else(|| wrong_field(&f.name("ips"), format!("{:?}", super::cut(&text, 64)), why))?;
        if addresses.iter().any(|a| a.ip.ip() == ip.ip()) {
            return Err(wrong_field(&f.name("ips"), ip, "it is there twice"));
        }
        let gateway = gateways.iter().copied().find(|g| g.is_ipv4() == ip.is_ipv4());
        addresses.push(Address { ip, gateway });
    }
    for (i, gateway) in gateways.iter().enumerate() {
        let same_family = |other: &IpAddr| other.is_ipv4() == gateway.is_ipv4();
        let why = if gateways[..i].iter().any(same_family) {
            "there is another one of its family"
        } else if !addresses.iter().any(|a| same_family(&a.ip.ip())) {
            "ips has no address of its family"
        } else if !is_host(IpNetwork::from(*gateway)) || addresses.iter().any(|a| a.ip.ip() == *gateway) {
            "it is no other host's address"
        } else {
            continue;
        };
        return Err(wrong_field(&f.name("gateway"), gateway, why));
    }
    Ok(addresses)
}

/// An address that a host can have: not its network's own, broadcast, multicast, loopback.
pub(crate) fn is_host(net: IpNetwork) -> bool {
    let ip = net.ip();
    let reserved = ip.is_unspecified() || ip.is_multicast() || ip.is_loopback();
    let edge = match net {
        IpNetwork::V4(net) if net.prefix() < 31 => net.ip() == net.network() || net.ip() == net.broadcast(),
        IpNetwork::V4(_) | IpNetwork::V6(_) => false,
    };
    !reserved && !edge && net.prefix() > 0
}

fn routes(f: &mut Fields, addresses: &[Address], default_route: bool) -> Result<Vec<Route>, CniError> {
    let entries = f.take_objects("routes")?;
    let mut routes = Vec::new();
    for mut r in limited(f, "routes", entries)? {
        let name = r.name("dst");
        let dst: IpNetwork = r.require("dst")?;
        let gw: Option<IpAddr> = r.take("gw")?;
        let route = Route { mtu: r.take::<Mtu>("mtu")?.map(Mtu::get), ..Route::via(dst, gw) };
        let route = Route { priority: r.take("priority")?, ..route };
        if crate::net::network_of(dst) != dst {
            return Err(wrong_field(&name, dst, "it has host bits set"));
        }
        if !addresses.iter().any(|a| a.ip.is_ipv4() == dst.is_ipv4()) {
            return Err(wrong_field(&name, dst, "ips has no address of its family"));
        }
        if gw.is_some_and(|gw| gw.is_ipv4() != dst.is_ipv4()) {
            return Err(wrong_field(&name, dst, "gw is of another family"));
        }
        if dst.prefix() == 0 {
            return Err(wrong_field(&name, dst, "a default route is asked for by defaultRoute: true"));
        }
        r.finish()?;
        routes.push(route);
    }
    if default_route {
        let gateways: Vec<IpAddr> = Family::ALL
            .into_iter()
            .filter_map(|family| {
                addresses.iter().filter_map(|a| a.gateway).find(|g| Family::of(*g) == family)
            })
            .collect();
        if gateways.is_empty() {
            return Err(wrong_field(&f.name("defaultRoute"), true, "it needs a gateway"));
        }
        routes.extend(gateways.into_iter().map(|gw| Route::via(Family::of(gw).default_route(), Some(gw))));
    }
    Ok(routes)
}
