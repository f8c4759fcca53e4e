//! What a pod's annotations ask for. Their author is not trusted: what is not understood is refused by name, and there
//! are limits on sizes and counts. What a pool allows is judged later ([`crate::pool::settle`]).

mod interface;

pub use interface::InterfaceWish;

use crate::cni::CniError;
use crate::ids::PoolName;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
const STATUS: &str = "offramp.dev/status";

/// Interfaces of one pod, besides eth0.
pub const MAX_INTERFACES: usize = 16;
/// Bytes of an annotation.
const MAX_ANNOTATION: usize = 16 << 10;
/// Characters of an error's message: it may quote the annotation.
const MAX_MESSAGE: usize = 400;
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
    /// Further interfaces.
    pub interfaces: Vec<InterfaceWish>,
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
fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
