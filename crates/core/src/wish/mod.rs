//! What a pod's annotations ask for. Their author is not trusted: what is not understood is refused by name, and there
//! are limits on sizes and counts. What a pool allows is judged later ([`crate::pool::settle`]).

mod interface;

pub use interface::InterfaceWish;
pub(crate) use interface::is_host;

use crate::cni::CniError;
use crate::ids::{IfName, PoolName};
use crate::net::Family;
use crate::networks::{Delegation, NETWORKS};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What all annotations of Offramp begin with.
pub const PREFIX: &str = "offramp.dev/";
/// `none`, `preferred` or `required`: whether eth0 is to be a VF.
pub const OFFLOAD: &str = "offramp.dev/offload";
/// The pool of VFs, for eth0 and for interfaces that name none.
pub const POOL: &str = "offramp.dev/pool";
/// Queues of eth0.
pub const QUEUES: &str = "offramp.dev/queues";
/// Further interfaces: a list in YAML.
pub const INTERFACES: &str = "offramp.dev/interfaces";
/// What Offramp itself writes.
pub const STATUS: &str = "offramp.dev/status";

/// Interfaces of one pod, besides eth0.
pub const MAX_INTERFACES: usize = 16;
/// Bytes of an annotation.
pub(crate) const MAX_ANNOTATION: usize = 16 << 10;
/// Characters of an error's message: it may quote the annotation.
pub(crate) const MAX_MESSAGE: usize = 400;
/// Characters of an annotation that a record keeps.
const MAX_ASKED: usize = 1000;
/// More than any NIC has.
const MAX_QUEUES: u32 = 1024;

/// Whether an interface is to be a VF.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Offload {
    /// No.
    #[default]
    None,
    /// If there is one to be had.
    Preferred,
    /// Yes, or the pod does not start.
    Required,
}

/// All that a pod asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Of eth0.
    pub offload: Offload,
    /// The pool for eth0; interfaces that name none have it in [`InterfaceWish::pool`] already.
    pub pool: Option<PoolName>,
    /// Channels of eth0.
    pub queues: Option<u32>,
    /// Further interfaces that are VFs.
    pub interfaces: Vec<InterfaceWish>,
    /// Further networks, by their definitions. One without plugins is among `interfaces`.
    pub networks: Vec<Delegation>,
    /// Devices of the pod that networks' plugins get: they are no interface's.
    pub handed: BTreeSet<String>,
    /// The annotations that say so, as they were written, but for what they begin with.
    pub asked: BTreeMap<String, String>,
}

impl Wishes {
    /// Notes that an annotation of others was read.
    pub fn ask(&mut self, key: &str, annotations: &BTreeMap<String, String>) {
        let value = annotations.get(key).map(|value| (key.to_owned(), cut(value, MAX_ASKED)));
        self.asked.extend(value);
    }

    /// Whether the pod's default route of this family is not by eth0.
    pub fn default_elsewhere(&self, family: Family) -> bool {
        let default = family.default_route();
        self.interfaces.iter().any(|i| i.routes.iter().any(|r| r.dst == default))
            || self.networks.iter().any(|n| n.default_route.iter().any(|g| Family::of(*g) == family))
    }

    /// Error 7 if interfaces have one name, are too many, or want two default routes of a family, however they were
    /// asked for.
    pub fn check_together(&self) -> Result<(), CniError> {
        let of_networks = self.networks.iter().filter(|n| n.makes_interface());
        let mut names: Vec<&IfName> =
            self.interfaces.iter().map(|i| &i.name).chain(of_networks.map(|n| &n.ifname)).collect();
        if names.len() > MAX_INTERFACES {
            let why =
                format!("{} interfaces with those of {NETWORKS}; allowed: {MAX_INTERFACES}", names.len());
            return Err(wrong(INTERFACES, why));
        }
        names.sort();
        if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
            return Err(wrong(NETWORKS, format!("interface {name} is in {INTERFACES} too, or there twice")));
        }
        for family in Family::ALL {
            let vfs =
                self.interfaces.iter().filter(|i| i.routes.iter().any(|r| r.dst == family.default_route()));
            let mut names: BTreeSet<&str> = vfs.map(|i| i.name.as_str()).collect();
            let goes_here = |n: &&Delegation| n.default_route.iter().any(|g| Family::of(*g) == family);
            names.extend(self.networks.iter().filter(goes_here).map(|n| n.ifname.as_str()));
            if names.len() > 1 {
                let names: Vec<&str> = names.into_iter().collect();
                let why = format!("{family} default routes over {}: a pod has one", names.join(" and "));
                return Err(wrong(NETWORKS, why));
            }
        }
        Ok(())
    }
}

/// Reads the annotations. `yaml` makes values of an annotation's text; its error says what and where.
///
/// Error 2 for an annotation or a field that is not known, else 7: each names annotation, field, value, and what is
/// allowed.
pub fn parse(
    annotations: &BTreeMap<String, String>,
    yaml: impl Fn(&str) -> Result<Value, String>,
) -> Result<Wishes, CniError> {
    parse_unbounded(annotations, yaml).map_err(|e| CniError { msg: cut(&e.msg, MAX_MESSAGE), ..e })
}

fn parse_unbounded(
    annotations: &BTreeMap<String, String>,
    yaml: impl Fn(&str) -> Result<Value, String>,
) -> Result<Wishes, CniError> {
    let mut wishes = Wishes::default();
    let mut interfaces = None;
    for (key, value) in annotations.iter().filter(|(key, _)| key.starts_with(PREFIX)) {
        if value.len() > MAX_ANNOTATION && key != STATUS {
            let why = format!("it has {} bytes; allowed: {MAX_ANNOTATION}", value.len());
            return Err(CniError::config(format!("annotation {key}: {why}")));
        }
        match key.as_str() {
            OFFLOAD => wishes.offload = offload(value)?,
            POOL => wishes.pool = Some(value.parse().map_err(|e| wrong(key, e))?),
            QUEUES => wishes.queues = Some(queues(value)?),
            INTERFACES => interfaces = Some(value),
            STATUS => {}
            _ => return Err(CniError::unsupported_field(&format!("annotation {key}"), &json!(value))),
        }
    }
    wishes.asked = asked(annotations);
    if let (Some(n), Offload::None) = (wishes.queues, wishes.offload) {
        let key = format!("annotation {QUEUES}");
        return Err(CniError::unsupported_field(&key, &json!(n.to_string()))
            .with_details(format!("queues are those of a VF: {OFFLOAD} must be preferred or required")));
    }
    if let Some(text) = interfaces {
        let value = yaml(text).map_err(|why| wrong(INTERFACES, why))?;
        wishes.interfaces = interface::list(value, wishes.pool.as_ref())?;
    }
    Ok(wishes)
}

/// Kept in the record, which is small: a long list of interfaces is cut.
fn asked(annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let ours = annotations.iter().filter(|(key, value)| *key != STATUS && !value.trim().is_empty());
    let short =
        ours.filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?.to_owned(), cut(value, MAX_ASKED))));
    short.collect()
}

fn wrong(key: &str, why: impl std::fmt::Display) -> CniError {
    CniError::config(format!("annotation {key}: {why}"))
}

fn offload(text: &str) -> Result<Offload, CniError> {
    match text {
        "none" => Ok(Offload::None),
        "preferred" => Ok(Offload::Preferred),
        "required" => Ok(Offload::Required),
        other => Err(wrong(OFFLOAD, format!("{other:?} is not allowed; allowed: none, preferred, required"))),
    }
}

fn queues(text: &str) -> Result<u32, CniError> {
    text.parse().ok().filter(|n| (1..=MAX_QUEUES).contains(n)).ok_or_else(|| {
        wrong(QUEUES, format!("{text:?} is not allowed; allowed: a whole number from 1 to {MAX_QUEUES}"))
    })
}

/// The first `max` characters.
pub(crate) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
