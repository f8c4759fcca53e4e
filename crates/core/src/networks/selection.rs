//! The annotation `k8s.v1.cni.cncf.io/networks`, in both of its forms. Its author is not trusted.

use super::{NETWORKS, NadRef};
use crate::cni::CniError;
use crate::cni::fields::Fields;
use crate::cni::runtime;
use crate::ids::{IfName, Namespace, ObjectName};
use crate::wish::{MAX_ANNOTATION, MAX_INTERFACES, MAX_MESSAGE, cut};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Addresses of one interface.
const MAX_IPS: usize = 32;

/// One network that a pod is to be attached to.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Which.
    pub nad: NadRef,
    /// The interface in the pod: the one asked for, or `net1` for the first entry, `net2` for the second, ...
    pub ifname: IfName,
    /// Addresses asked for.
    pub addresses: Addresses,
    /// `portMappings`, checked, as the pod wrote it.
    pub port_mappings: Option<Value>,
    /// `bandwidth`, checked, as the pod wrote it.
    pub bandwidth: Option<Value>,
    /// `infiniband-guid`
    pub guid: Option<String>,
    /// `cni-args`: for the plugins alone.
    pub cni_args: Map<String, Value>,
    /// `default-route`: the pod's default gateways, one of a family, by this interface.
    pub default_route: Vec<IpAddr>,
}

/// Addresses that a pod asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Addresses {
    /// `ips`, as the pod wrote them: with a prefix length or without.
    pub ips: Vec<String>,
    /// `mac`: of 6 bytes, or of 20 (InfiniBand).
    pub mac: Option<String>,
}

/// Reads the annotation; none of it: no network. `namespace` is the pod's.
///
/// Error 2 for a key that the standard does not have, else 7: each names annotation, field, value, and what is allowed.
pub fn parse(
    annotations: &BTreeMap<String, String>,
    namespace: &Namespace,
) -> Result<Vec<Selection>, CniError> {
    let Some(text) = annotations.get(NETWORKS) else { return Ok(Vec::new()) };
    let parsed = bounded(text).and_then(|text| match text.chars().next() {
        None => Ok(Vec::new()),
        Some('[' | '{' | '"') => json_form(text, namespace),
        Some(_) => comma_form(text, namespace),
    });
    parsed
        .and_then(|all| names_differ(&all).map(|()| all))
        .map_err(|e| CniError { msg: cut(&e.msg, MAX_MESSAGE), ..e })
}

fn bounded(text: &str) -> Result<&str, CniError> {
    if text.len() > MAX_ANNOTATION {
        return Err(wrong(format!("it has {} bytes; allowed: {MAX_ANNOTATION}", text.len())));
    }
    Ok(text.trim())
}

fn wrong(why: impl std::fmt::Display) -> CniError {
    CniError::config(format!("annotation {NETWORKS}: {why}"))
}

fn wrong_field(name: &str, value: impl std::fmt::Display, why: impl std::fmt::Display) -> CniError {
    CniError::config(format!("field {name:?} with value {value}: {why}"))
}

fn names_differ(all: &[Selection]) -> Result<(), CniError> {
    for (i, one) in all.iter().enumerate() {
        if let Some(at) = all[..i].iter().position(|other| other.ifname == one.ifname) {
            let why = format!("entry {at} has it already; each interface needs a name of its own");
            return Err(wrong_field(&format!("{NETWORKS}[{i}].interface"), &one.ifname, why));
        }
    }
    Ok(())
}

fn count(n: usize) -> Result<(), CniError> {
    if n > MAX_INTERFACES {
        return Err(wrong(format!("{n} networks; allowed: {MAX_INTERFACES}")));
    }
    Ok(())
}

/// `[NAMESPACE/]NAME[@INTERFACE]`, with commas between.
fn comma_form(text: &str, namespace: &Namespace) -> Result<Vec<Selection>, CniError> {
    let entries: Vec<&str> = text.split(',').map(str::trim).collect();
    count(entries.len())?;
    let one = |(i, entry): (usize, &&str)| {
        let field = format!("{NETWORKS}[{i}]");
        let shown = format!("{:?}", cut(entry, 80));
        let why = |e: &dyn std::fmt::Display| wrong_field(&field, &shown, e);
        let form = || why(&"it must be a name, or NAMESPACE/NAME, and @INTERFACE behind it or nothing");
        let (reference, ifname) = match entry.split_once('@') {
            Some((_, name)) if name.contains('@') => return Err(form()),
            Some((reference, name)) => (reference, Some(name.parse::<IfName>().map_err(|e| why(&e))?)),
            None => (*entry, None),
        };
        let (from, name) = match reference.split_once('/') {
            Some((from, name)) if !name.contains('/') => (from.parse().map_err(|e| why(&e))?, name),
            Some(_) => return Err(form()),
            None => (namespace.clone(), reference),
        };
        if name.is_empty() {
            return Err(form());
        }
        let nad = NadRef { namespace: from, name: name.parse().map_err(|e| why(&e))? };
        Ok(Selection::plain(nad, interface(i, ifname, &field)?))
    };
    entries.iter().enumerate().map(one).collect()
}

/// The interface's name: `net1` for the first entry, as multus has it, so that pods find what they expect.
fn interface(i: usize, asked: Option<IfName>, field: &str) -> Result<IfName, CniError> {
    match asked {
        Some(name) if matches!(name.as_str(), "eth0" | "lo") => {
            Err(wrong_field(&format!("{field}.interface"), &name, "it is taken"))
        }
        Some(name) => Ok(name),
        None => Ok(format!("net{}", i + 1).parse()?),
    }
}

fn json_form(text: &str, namespace: &Namespace) -> Result<Vec<Selection>, CniError> {
    let value: Value = serde_json::from_str(text).map_err(|e| wrong(format!("it is no JSON: {e}")))?;
    let Value::Array(entries) = value else {
        return Err(wrong(
            "it must be a JSON list, such as [{\"name\": \"net-a\"}], or names with commas between",
        ));
    };
    count(entries.len())?;
    let one = |(i, entry)| json_entry(i, Fields::new(&format!("{NETWORKS}[{i}]"), entry)?, namespace);
    entries.into_iter().enumerate().map(one).collect()
}

fn json_entry(i: usize, mut f: Fields, namespace: &Namespace) -> Result<Selection, CniError> {
    let field = f.name("").trim_end_matches('.').to_owned();
    let name: ObjectName = f.require("name")?;
    if f.is_empty_text("namespace") {
        f.ignore(&["namespace"]);
    }
    let from: Option<Namespace> = f.take("namespace")?;
    let nad = NadRef { namespace: from.unwrap_or_else(|| namespace.clone()), name };
    if f.is_empty_text("interface") {
        f.ignore(&["interface"]);
    }
    let asked = f.take::<IfName>("interface")?;
    let selection = Selection {
        addresses: Addresses { ips: ips(&mut f)?, mac: mac(&mut f)? },
        port_mappings: port_mappings(&mut f)?,
        bandwidth: bandwidth(&mut f)?,
        guid: guid(&mut f)?,
        cni_args: f.take("cni-args")?.unwrap_or_default(),
        default_route: default_route(&mut f)?,
        ..Selection::plain(nad, interface(i, asked, &field)?)
    };
    // By the standard, keys with a period are other implementations' own.
    f.ignore_with('.');
    f.finish()?;
    Ok(selection)
}

fn ips(f: &mut Fields) -> Result<Vec<String>, CniError> {
    let Some(ips) = f.take::<Vec<String>>("ips")? else { return Ok(Vec::new()) };
    let name = f.name("ips");
    if ips.is_empty() || ips.len() > MAX_IPS {
        return Err(wrong_field(
            &name,
            format!("of {} entries", ips.len()),
            format!("allowed: 1 to {MAX_IPS}"),
        ));
    }
    let mut seen: Vec<IpAddr> = Vec::new();
    for text in &ips {
        let shown = format!("{:?}", cut(text, 64));
        let why = "it must be an IP address, with a prefix length or without";
        let ip = text.parse::<IpNetwork>().map_err(|_| wrong_field(&name, &shown, why))?.ip();
        if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() {
            return Err(wrong_field(&name, &shown, "no host can have it"));
        }
        if seen.contains(&ip) {
            return Err(wrong_field(&name, &shown, "it is there twice"));
        }
        seen.push(ip);
    }
    Ok(ips)
}

fn mac(f: &mut Fields) -> Result<Option<String>, CniError> {
    let why =
        "it must be a unicast hardware address of 6 bytes, or of 20 (InfiniBand), such as 02:00:00:00:00:01";
    let Some(text) = f.take::<String>("mac")? else { return Ok(None) };
    let bytes = hex_bytes(&text);
    let fits = match bytes.as_deref() {
        Some([first, rest @ ..]) if rest.len() == 5 => {
            first & 1 == 0 && (*first != 0 || rest.iter().any(|b| *b != 0))
        }
        Some(bytes) => bytes.len() == 20,
        None => false,
    };
    if fits { Ok(Some(text)) } else { Err(wrong_field(&f.name("mac"), format!("{:?}", cut(&text, 80)), why)) }
}

fn guid(f: &mut Fields) -> Result<Option<String>, CniError> {
    let Some(text) = f.take::<String>("infiniband-guid")? else { return Ok(None) };
    if hex_bytes(&text).is_some_and(|b| b.len() == 8 && b.iter().any(|b| *b != 0)) {
        return Ok(Some(text));
    }
    let why = "it must be 8 bytes, such as c2:11:22:33:44:55:66:77";
    Err(wrong_field(&f.name("infiniband-guid"), format!("{:?}", cut(&text, 80)), why))
}

/// Bytes in hexadecimal with colons between.
fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let byte = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then(|| u8::from_str_radix(part, 16).ok()).flatten()
    };
    text.split(':').map(byte).collect()
}

fn port_mappings(f: &mut Fields) -> Result<Option<Value>, CniError> {
    let raw = f.peek("portMappings").cloned();
    for mapping in f.take_objects("portMappings")? {
        runtime::host_port(mapping)?;
    }
    Ok(raw.filter(|v| v.as_array().is_some_and(|l| !l.is_empty())))
}

fn bandwidth(f: &mut Fields) -> Result<Option<Value>, CniError> {
    let raw = f.peek("bandwidth").cloned();
    let bandwidth = runtime::bandwidth(f)?;
    Ok(raw.filter(|_| bandwidth != Default::default()))
}

fn default_route(f: &mut Fields) -> Result<Vec<IpAddr>, CniError> {
    let gateways: Vec<IpAddr> = f.take_or("default-route", Vec::new())?;
    for (i, gateway) in gateways.iter().enumerate() {
        let name = f.name("default-route");
        if gateway.is_unspecified() || gateway.is_multicast() || gateway.is_loopback() {
            return Err(wrong_field(&name, gateway, "it is no gateway's address"));
        }
        if gateways[..i].iter().any(|other| other.is_ipv4() == gateway.is_ipv4()) {
            return Err(wrong_field(&name, gateway, "there is another one of its family"));
        }
    }
    Ok(gateways)
}

impl Selection {
    /// A network without further wishes.
    pub fn plain(nad: NadRef, ifname: IfName) -> Self {
        Self {
            nad,
            ifname,
            addresses: Addresses::default(),
            port_mappings: None,
            bandwidth: None,
            guid: None,
            cni_args: Map::new(),
            default_route: Vec::new(),
        }
    }
}

/// A pod may use the networks of its own namespace, and of those that the operator names; `*` is all. This is multus'
/// rule of `namespaceIsolation` with its `globalNamespaces`, which multus has to be asked for. Error 107 names both.
pub fn check_namespaces(selected: &[Selection], own: &Namespace, global: &[String]) -> Result<(), CniError> {
    let allowed = |ns: &Namespace| ns == own || global.iter().any(|g| g == "*" || g == ns.as_str());
    match selected.iter().enumerate().find(|(_, s)| !allowed(&s.nad.namespace)) {
        None => Ok(()),
        Some((i, s)) => {
            let mut names: Vec<&str> = vec![own.as_str()];
            names.extend(global.iter().map(String::as_str).filter(|g| *g != own.as_str()));
            Err(CniError::forbidden(format!(
                "field \"{NETWORKS}[{i}].namespace\" with value {}: a pod of namespace {own} may use networks of {}",
                s.nad.namespace,
                names.join(", ")
            ))
            .with_details("networks.globalNamespaces of offrampd's configuration allows more"))
        }
    }
}
