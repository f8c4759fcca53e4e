//! What NICs can do and how they are set, by ethtool's netlink family (Documentation/networking/ethtool-netlink.rst;
//! numbers from include/uapi/linux/ethtool_netlink.h). What a driver, or the kernel, does not have is none.

mod bitset;
mod counts;
mod features;
mod ioctl;
mod lead;
mod monitor;
mod ntuple;
mod rss;
#[cfg(test)]
mod tests;
mod tunnels;

pub use features::Switched;
pub use monitor::{Heard, Monitor};
pub use rss::Tables;

use crate::generic::{Attributes, Family, attribute, value_of};
use crate::message::{Message, word};
use crate::{Error, Result, link};
use bitset::Bit;
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_core::offload::{FlowRule, FlowTo, Flows, Ntuple};
use offramp_core::steer::{Lead, Steering};
use std::collections::BTreeMap;

const MSG_STRSET_GET: u8 = 1;
const MSG_PRIVFLAGS_GET: u8 = 13;
/// Of every message.
const A_HEADER: u16 = 1;
const A_HEADER_DEV_NAME: u16 = 2;
const A_PRIVFLAGS_FLAGS: u16 = 2;
const A_STRSET_STRINGSETS: u16 = 2;
const A_STRINGSETS_STRINGSET: u16 = 1;
const A_STRINGSET_ID: u16 = 1;
const A_STRINGSET_STRINGS: u16 = 3;
const A_STRING_INDEX: u16 = 1;
const A_STRING_VALUE: u16 = 2;

/// The family, in one network namespace.
pub struct Ethtool {
    family: Family,
    /// Names of RSS hashes by their bits, once they were asked for.
    hashes: Option<BTreeMap<u32, String>>,
}

impl Ethtool {
    /// In the calling thread's namespace; none before Linux 5.6.
    pub fn open() -> Result<Option<Self>> {
        Ok(Family::open("ethtool")?.map(|family| Self { family, hashes: None }))
    }

    /// As [`Ethtool::open`]; an error if there is none. `what` is tried.
    pub fn require(what: impl Into<String>) -> Result<Self> {
        Self::open()?.ok_or_else(|| Error::Unfit {
            what: what.into(),
            why: "this kernel has no netlink interface of ethtool (Linux 5.6 has)".into(),
        })
    }

    /// The driver's own switches; none if it has none.
    pub fn private_flags(&mut self, device: &IfName) -> Result<BTreeMap<String, bool>> {
        let answer = self.get("private flags", MSG_PRIVFLAGS_GET, device)?;
        let bits = bitset::bits(&of(&answer, A_PRIVFLAGS_FLAGS));
        Ok(bits.into_iter().map(|Bit { name, on, .. }| (name, on)).collect())
    }

    /// Rules that steer flows to queues; none if its driver has no rules.
    pub fn ntuple(&mut self, device: &IfName) -> Result<Option<Ntuple>> {
        ntuple::count(&self.family.socket, device)
    }

    /// Where its rules that steer flows lead.
    pub fn flows(&mut self, device: &IfName) -> Result<Flows> {
        let rules = ntuple::rules(&self.family.socket, device)?.into_iter();
        let rules: Vec<FlowRule> = rules.map(|rule| FlowRule { id: rule.id, to: rule.to }).collect();
        let by_context = |rule: &FlowRule| matches!(rule.to, FlowTo::Context { .. });
        let mut tables = None;
        if rules.iter().any(by_context) {
            tables = self.tables(device)?;
        }
        let mut tables = tables.unwrap_or_default();
        // A driver that does not tell what is in it.
        tables.retain(|_, queues| !queues.is_empty());
        Ok(Flows { rules, tables })
    }

    /// Its rules that steer flows, and its RSS contexts, 0 too. A kernel that cannot list these (before 6.11) is an error.
    pub fn steering(&mut self, device: &IfName) -> Result<Steering> {
        let mut tables = self.tables(device)?.ok_or_else(|| Error::Unfit {
            what: format!("list the RSS contexts of {device}"),
            why: "kernel or driver do not tell of them (Linux 6.11 can)".into(),
        })?;
        tables.retain(|_, queues| !queues.is_empty());
        Ok(Steering { rules: ntuple::rules(&self.family.socket, device)?, tables })
    }

    /// Makes a rule that leads to an RSS context; its number. Nobody else makes any meanwhile ([`crate::steering`]).
    pub fn lead(&mut self, device: &IfName, lead: Lead, context: u32) -> Result<u32> {
        ntuple::lead(&self.family.socket, device, lead, context)
    }

    /// Removes a rule that steers flows, if it is there.
    pub fn delete_rule(&mut self, device: &IfName, id: u32) -> Result<()> {
        ntuple::delete(&self.family.socket, device, id)
    }

    /// Asks for what a device has; none if its driver has no such thing.
    fn get(&mut self, what: &str, command: u8, device: &IfName) -> Result<Option<Message>> {
        let what = format!("read the {what} of {device}");
        let ask = self.family.message(command, about(device));
        unless_unsupported(self.family.socket.get_raw(&what, ask))
    }

    /// A set of names that is the same for all devices.
    fn strings(&mut self, set: u32) -> Result<BTreeMap<u32, String>> {
        let wanted = Attributes::default().number(A_STRINGSET_ID, set);
        let sets = Attributes::default().nest(A_STRINGSETS_STRINGSET, wanted);
        let ask = Attributes::default().nest(A_HEADER, Attributes::default()).nest(A_STRSET_STRINGSETS, sets);
        let ask = self.family.message(MSG_STRSET_GET, ask);
        let answer = self.family.socket.get_raw("read names of ethtool's", ask)?;
        let sets = attribute(&answer, A_STRSET_STRINGSETS).unwrap_or_default();
        let set = value_of(&sets, A_STRINGSETS_STRINGSET).unwrap_or_default();
        let strings = value_of(&set, A_STRINGSET_STRINGS).unwrap_or_default();
        let string = |nla: &[u8]| {
            let index = word(&value_of(nla, A_STRING_INDEX)?, 0)?;
            Some((index, link::text(&value_of(nla, A_STRING_VALUE)?)))
        };
        Ok(link::attributes(&strings).filter_map(|nla| string(nla.value())).collect())
    }
}

/// A message about a device.
fn about(device: &IfName) -> Attributes {
    let header = Attributes::default().text(A_HEADER_DEV_NAME, device.as_str());
    Attributes::default().nest(A_HEADER, header)
}

/// An attribute of an answer, if there was one; else empty.
fn of(answer: &Option<Message>, kind: u16) -> Vec<u8> {
    answer.as_ref().and_then(|answer| attribute(answer, kind)).unwrap_or_default()
}

/// What a driver does not have is none.
pub(crate) fn unless_unsupported<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(answer) => Ok(Some(answer)),
        Err(e) if e.errno() == Some(Errno::EOPNOTSUPP as i32) => Ok(None),
        Err(e) => Err(e),
    }
}
