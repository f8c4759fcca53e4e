//! A network that is a VF of a pool: the wish for it. The pool's policy judges it like any other, whoever wrote it down.

use super::{Definition, Kind, NETWORKS, Selection};
use crate::cni::CniError;
use crate::cni::fields::Fields;
use crate::cni::result::Route;
use crate::cni::sriov::VfConf;
use crate::ids::MacAddr;
use crate::net::Family;
use crate::spec::Address;
use crate::wish::{InterfaceWish, is_host};
use ipnetwork::IpNetwork;
use serde_json::{Value, json};

/// The wish for a VF, if the network is of a pool. The definition has the fields of `sriov-cni`; addresses come with the
/// selection, since no IPAM plugin is asked.
pub fn pool_wish(wish: &Selection, definition: &Definition) -> Result<Option<InterfaceWish>, CniError> {
    let (Kind::Pool(pool), [plugin]) = (&definition.kind, &definition.plugins[..]) else { return Ok(None) };
    let what = format!("NetworkAttachmentDefinition {}", definition.nad);
    let mut f = Fields::new("spec.config", Value::Object(plugin.clone()))?;
    f.ignore(&["type", "name", "cniVersion", "pool", "capabilities", "dns", "logFile", "logLevel"]);
    if let Some(ipam) = f.take::<Value>("ipam")?.filter(|i| *i != json!({})) {
        let why = "with a pool there is no IPAM plugin, since the daemon plans its VFs and executes no plugins: the pod's \
                   annotation says the addresses, in \"ips\"; or leave out \"pool\", and name the resource of a pool that \
                   kubelet lends in the annotation k8s.v1.cni.cncf.io/resourceName";
        return Err(CniError::unsupported_field("ipam", &ipam).with_details(why).context(what));
    }
    let conf = VfConf::take(&mut f, None).map_err(|e| e.context(&what))?;
    f.finish().map_err(|e| e.context(&what))?;
    nothing_else(wish)?;
    let mut settings = conf.settings;
    if let Some(mac) = &wish.addresses.mac {
        settings.mac = Some(mac.parse::<MacAddr>()?);
    }
    let addresses = addresses(wish)?;
    let default = |gw: &std::net::IpAddr| Route::via(Family::of(*gw).default_route(), Some(*gw));
    Ok(Some(InterfaceWish {
        name: wish.ifname.clone(),
        pool: Some(pool.clone()),
        device: conf.device,
        settings,
        addresses,
        routes: wish.default_route.iter().map(default).collect(),
        default_route: !wish.default_route.is_empty(),
    }))
}

fn nothing_else(wish: &Selection) -> Result<(), CniError> {
    let args = Some(&wish.cni_args).filter(|a| !a.is_empty()).map(|a| Value::Object(a.clone()));
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
