//! Receive side scaling (`ethtool -x`).

use super::{Ethtool, about, unless_unsupported};
use crate::Result;
use crate::generic::attribute;
use crate::message::{Message, word};
use offramp_core::ids::IfName;
use offramp_core::offload::Rss;
use std::collections::{BTreeMap, BTreeSet};

const MSG_GET: u8 = 38;
const A_CONTEXT: u16 = 2;
const A_HASH: u16 = 3;
const A_TABLE: u16 = 4;
const A_KEY: u16 = 5;
/// `ETH_SS_RSS_HASH_FUNCS` (include/uapi/linux/ethtool.h)
const HASHES: u32 = 5;

/// The context that all packets have that no rule leads elsewhere.
const MAIN: u32 = 0;

/// The queues of tables, by context.
type Tables = BTreeMap<u32, BTreeSet<u32>>;

impl Ethtool {
    /// How a device spreads what it receives over its queues; none before Linux 6.3.
    pub fn rss(&mut self, device: &IfName) -> Result<Option<Rss>> {
        if !self.family.has(MSG_GET) {
            return Ok(None);
        }
        let Some(answer) = self.get("receive side scaling", MSG_GET, device)? else { return Ok(None) };
        let hash = attribute(&answer, A_HASH).and_then(|hash| word(&hash, 0)).filter(|hash| *hash != 0);
        let hash = hash.map(|hash| self.hash_name(hash.trailing_zeros())).transpose()?;
        // Beside the one that all have.
        let further = |tables: Tables| tables.keys().filter(|context| **context != MAIN).count();
        let contexts = self.tables(device)?.map(further).and_then(|n| u32::try_from(n).ok());
        Ok(Some(Rss { hash, contexts, ..table(&answer) }))
    }

    /// A bit has the name of its number.
    fn hash_name(&mut self, bit: u32) -> Result<String> {
        if self.hashes.is_none() {
            self.hashes = Some(self.strings(HASHES)?);
        }
        let name = self.hashes.as_ref().and_then(|names| names.get(&bit).cloned());
        Ok(name.unwrap_or_else(|| format!("hash {bit}")))
    }

    /// The queues of all tables, by context. Kernels before 6.11 cannot list them.
    pub(super) fn tables(&mut self, device: &IfName) -> Result<Option<Tables>> {
        if !self.family.has(MSG_GET) {
            return Ok(None);
        }
        let what = format!("list the RSS contexts of {device}");
        let ask = self.family.message(MSG_GET, about(device));
        let tables = unless_unsupported(self.family.socket.dump_raw(&what, ask))?;
        Ok(tables.map(|tables| {
            tables.iter().map(|answer| (context(answer), queues(answer).into_iter().collect())).collect()
        }))
    }
}

fn context(answer: &Message) -> u32 {
    attribute(answer, A_CONTEXT).and_then(|id| word(&id, 0)).unwrap_or(MAIN)
}

/// An entry each.
fn queues(answer: &Message) -> Vec<u32> {
    let table = attribute(answer, A_TABLE).unwrap_or_default();
    table.chunks_exact(4).filter_map(|entry| word(entry, 0)).collect()
}

/// What is in the message itself.
pub(super) fn table(answer: &Message) -> Rss {
    let entries = queues(answer);
    Rss {
        hash: None,
        key_bytes: attribute(answer, A_KEY).and_then(|key| u32::try_from(key.len()).ok()).unwrap_or_default(),
        table: u32::try_from(entries.len()).unwrap_or(u32::MAX),
        queues: entries.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
        contexts: None,
    }
}
