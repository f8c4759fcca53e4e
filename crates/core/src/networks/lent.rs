//! A network that is a VF of a pool: the wish for it. The pool's policy judges it like any other, whoever wrote it down.

use super::{Definition, Kind, NETWORKS, Selection};
use crate::cni::CniError;
use crate::cni::fields::Fields;
use crate::cni::ipam::{Ipam, OwnIpam};
use crate::cni::result::Route;
use crate::cni::sriov::VfConf;
use crate::ids::MacAddr;
use crate::net::Family;
use crate::spec::Address;
use crate::wish::{InterfaceWish, is_host};
use ipnetwork::IpNetwork;
use serde_json::{Map, Value, json};

/// The wish for a VF, if the network is of a pool. The definition has the fields of `sriov-cni`. Addresses come with the
/// selection, or from the definition's `ipam`, which is asked once the VF is in the pod ([`super::Given`]).
pub fn pool_wish(wish: &Selection, definition: &Definition) -> Result<Option<InterfaceWish>, CniError> {
    let (Kind::Pool(pool), [plugin]) = (&definition.kind, &definition.plugins[..]) else { return Ok(None) };
    let (conf, ipam) =
        read(plugin).map_err(|e| e.context(format!("NetworkAttachmentDefinition {}", definition.nad)))?;
    let by_ipam = ipam != Ipam::None;
    nothing_else(wish, by_ipam)?;
    let mut settings = conf.settings;
    if let Some(mac) = &wish.addresses.mac {
        settings.mac = Some(mac.parse::<MacAddr>()?);
    }
    let default = |gw: &std::net::IpAddr| Route::via(Family::of(*gw).default_route(), Some(*gw));
    let (addresses, gateways) = match by_ipam {
        true => (Vec::new(), &[][..]),
        false => (addresses(wish)?, &wish.default_route[..]),
    };
    Ok(Some(InterfaceWish {
        name: wish.ifname.clone(),
        pool: Some(pool.clone()),
        device: conf.device,
        settings,
        addresses,
        routes: gateways.iter().map(default).collect(),
        default_route: !wish.default_route.is_empty(),
    }))
}

fn read(plugin: &Map<String, Value>) -> Result<(VfConf, Ipam), CniError> {
    let mut f = Fields::new("spec.config", Value::Object(plugin.clone()))?;
    f.ignore(&["type", "name", "cniVersion", "pool", "capabilities", "dns", "logFile", "logLevel"]);
    let ipam = Ipam::take(&mut f)?;
    if ipam != Ipam::None {
        f.ignore(&["args"]);
    }
    // The plugin makes these files, and the daemon removes them: it may be in a container, with other directories.
    if let Ipam::Own(OwnIpam { data_dir: Some(dir), .. }) = &ipam {
        return Err(CniError::unsupported_field("ipam.dataDir", &json!(dir)).with_details(
            "with a pool the addresses are kept in the state directory, which plugin and daemon share",
        ));
    }
    let conf = VfConf::take(&mut f, None)?;
    f.finish()?;
    Ok((conf, ipam))
}

/// `cni-args` are an IPAM's affair, but for what has a key of its own: that one is judged, and goes before.
fn nothing_else(wish: &Selection, by_ipam: bool) -> Result<(), CniError> {
    if by_ipam && let Some(key) = wish.cni_args.keys().find(|key| is_judged(key)) {
        return Err(CniError::config(format!(
            "annotation {NETWORKS}: cni-args of {} cannot have {key:?}: use `ips` and `mac` beside it",
            wish.nad
        )));
    }
    let args = Some(&wish.cni_args).filter(|a| !a.is_empty() && !by_ipam).map(|a| Value::Object(a.clone()));
    let others = [
        ("portMappings", wish.port_mappings.clone()),
        ("bandwidth", wish.bandwidth.clone()),
        ("infiniband-guid", wish.guid.as_ref().map(|g| json!(g))),
        ("cni-args", args),
    ];
    match others.into_iter().find_map(|(key, value)| Some((key, value?))) {
        None => Ok(()),
        Some((key, value)) => {
            let field = format!("{NETWORKS}: {key} of {}", wish.nad);
            Err(CniError::unsupported_field(&field, &value).with_details("it is a VF of a pool"))
        }
    }
}

/// As plugins in Go read it, which take `IPS`, and even `ip\u{17f}`, for `ips`.
fn is_judged(key: &str) -> bool {
    ["IPS", "MAC"].contains(&key.to_uppercase().as_str())
}

/// Each with the gateway of its family.
fn addresses(wish: &Selection) -> Result<Vec<Address>, CniError> {
    let mut addresses = Vec::new();
    for text in &wish.addresses.ips {
        let ip = text.parse::<IpNetwork>().ok().filter(|ip| text.contains('/') && is_host(*ip));
        let ip = ip.ok_or_else(|| {
            CniError::config(format!(
                "annotation {NETWORKS}: ips {text:?} of {}: for a VF of a pool it is a host's address with its prefix length, \
                 such as 192.168.10.5/24",
                wish.nad
            ))
        })?;
        let gateway = wish.default_route.iter().copied().find(|g| g.is_ipv4() == ip.is_ipv4());
        addresses.push(Address { ip, gateway });
    }
    match wish.default_route.iter().find(|g| !addresses.iter().any(|a| a.ip.is_ipv4() == g.is_ipv4())) {
        None => Ok(addresses),
        Some(gateway) => Err(CniError::config(format!(
            "annotation {NETWORKS}: default-route {gateway} of {}: ips has no address of its family",
            wish.nad
        ))),
    }
}
