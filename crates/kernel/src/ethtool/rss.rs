//! Receive side scaling (`ethtool -x`).

use super::{Ethtool, about, ioctl, unless_unsupported};
use crate::generic::attribute;
use crate::message::{Message, word};
use crate::netlink::Request;
use crate::{Error, Result};
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_core::offload::Rss;
use std::collections::{BTreeMap, BTreeSet};

const MSG_GET: u8 = 38;
const MSG_SET: u8 = 48;
const A_CONTEXT: u16 = 2;
const A_HASH: u16 = 3;
const A_TABLE: u16 = 4;
const A_KEY: u16 = 5;
/// `ETH_SS_RSS_HASH_FUNCS` (include/uapi/linux/ethtool.h)
const HASHES: u32 = 5;
const MSG_CREATE: u8 = 49;
const MSG_DELETE: u8 = 50;
/// `ETHTOOL_SRSSH`, for kernels before 6.17: struct ethtool_rxfh.
const SRSSH: u32 = 0x47;
/// The context that is to be made (`ETH_RXFH_CONTEXT_ALLOC`).
const NEW: u32 = 0xffff_ffff;
/// Of a context's hash nothing is set: no function (`ETH_RSS_HASH_NO_CHANGE`, a byte), no transformation
/// (`RXH_XFRM_NO_CHANGE`, a byte).
const SAME_HASH: [u8; 4] = [0, 0xff, 0, 0];
/// `ETHTOOL_SRXFHINDIR`, for kernels before 6.17: struct ethtool_rxfh_indir, the command, the table's size, the table.
const SRXFHINDIR: u32 = 0x39;

/// The context that all packets have that no rule leads elsewhere.
const MAIN: u32 = 0;

/// The queues of tables, by context.
pub type Tables = BTreeMap<u32, BTreeSet<u32>>;

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

    /// Spreads what a device receives evenly over its first `count` queues, as far as it can be told to: a driver without
    /// a table, or whose table is its own matter, spreads as it does. Other refusals are errors, with the driver's words.
    pub fn spread(&mut self, device: &IfName, count: u32) -> Result<()> {
        if !self.family.has(MSG_GET) {
            return Ok(());
        }
        let Some(answer) = self.get("receive side scaling", MSG_GET, device)? else { return Ok(()) };
        let table = queues(&answer);
        if table.is_empty() || is_even(&table, count) {
            return Ok(());
        }
        let what = format!("spread what {device} receives over {count} queues");
        let even: Vec<u32> = (0..count).cycle().take(table.len()).collect();
        let outcome = if self.family.has(MSG_SET) {
            let bytes: Vec<u8> = even.iter().flat_map(|queue| queue.to_ne_bytes()).collect();
            let message = self.family.message(MSG_SET, about(device).put(A_TABLE, &bytes));
            self.family.socket.batch(vec![Request::new(what, message)])
        } else {
            let size = u32::try_from(even.len()).unwrap_or(u32::MAX);
            let mut words = [vec![SRXFHINDIR, size], even].concat();
            ioctl::ask(&self.family.socket, device, &mut words).map_err(|e| Error::sys(what, e))
        };
        unless_unsupported(outcome).map(drop)
    }

    /// The queues of its RSS contexts, but of the one that all have. None where kernels cannot list them (before 6.11).
    pub fn contexts(&mut self, device: &IfName) -> Result<Tables> {
        let mut tables = self.tables(device)?.unwrap_or_default();
        tables.remove(&MAIN);
        Ok(tables)
    }

    /// Why a device cannot have RSS contexts, and rules to them, at all; none: it may. Asked is for a context of a queue
    /// that there is not: nothing is touched.
    pub fn lacks_steering(&mut self, device: &IfName) -> Result<Option<String>> {
        if let Err(e) = self.steering(device) {
            return match e {
                Error::Unfit { why, .. } => Ok(Some(why)),
                e => Err(e),
            };
        }
        if self.ntuple(device)?.is_none() {
            return Ok(Some(self.without_ntuple(device).unwrap_or_else(|| "it has no flow rules".into())));
        }
        /// More than any NIC has.
        const NO_QUEUE: u32 = u16::MAX as u32;
        match self.create_context(device, &[NO_QUEUE]) {
            Err(e) if e.errno() == Some(Errno::EOPNOTSUPP as i32) => {
                Ok(Some(format!("RSS contexts: {}", e.words())))
            }
            Err(Error::Unfit { why, .. }) => Ok(Some(why)),
            // That there is no such queue, and maybe other things: rules will tell.
            Err(_) => Ok(None),
            Ok(id) => {
                self.delete_context(device, id)?;
                Ok(Some("its driver makes an RSS context of a queue that there is not".into()))
            }
        }
    }

    /// Makes an RSS context that spreads over these queues evenly; its number.
    pub fn create_context(&mut self, device: &IfName, queues: &[u32]) -> Result<u32> {
        let what = format!("make an RSS context of {device} for queues {queues:?}");
        let main = match self.family.has(MSG_GET) {
            true => self.get("receive side scaling", MSG_GET, device)?,
            false => None,
        };
        let size = main.map_or(0, |main| self::queues(&main).len());
        if size < queues.len() || queues.is_empty() {
            let why = format!("its RSS table has {size} entries");
            return Err(Error::Unfit { what, why });
        }
        let table: Vec<u32> = queues.iter().copied().cycle().take(size).collect();
        if self.family.has(MSG_CREATE) {
            let bytes: Vec<u8> = table.iter().flat_map(|queue| queue.to_ne_bytes()).collect();
            let ask = self.family.message(MSG_CREATE, about(device).put(A_TABLE, &bytes));
            let answer = self.family.socket.get_raw(&what, ask)?;
            let id = Some(context(&answer)).filter(|id| *id != MAIN);
            return id.ok_or_else(|| Error::Decode { what, why: "the new context has no number".into() });
        }
        let mut words = rxfh(NEW, &table);
        ioctl::ask(&self.family.socket, device, &mut words).map_err(|e| Error::sys(what, e))?;
        Ok(words[1])
    }

    /// Removes an RSS context, if it is there. No rule may lead to it.
    pub fn delete_context(&mut self, device: &IfName, id: u32) -> Result<()> {
        let what = format!("delete RSS context {id} of {device}");
        if self.family.has(MSG_DELETE) {
            let ask = self.family.message(MSG_DELETE, about(device).number(A_CONTEXT, id));
            const GONE: [i32; 1] = [Errno::ENOENT as i32];
            return self.family.socket.batch(vec![Request::new(what, ask).accept(&GONE)]).map(drop);
        }
        match ioctl::ask(&self.family.socket, device, &mut rxfh(id, &[])) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(Error::sys(what, e)),
        }
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

/// struct ethtool_rxfh (include/uapi/linux/ethtool.h), in words of 32 bits: command, context, sizes of the table and of the
/// key, hash, a reserved word, the table. No table: the context is to be deleted.
fn rxfh(context: u32, table: &[u32]) -> Vec<u32> {
    let size = u32::try_from(table.len()).unwrap_or(u32::MAX);
    let head = [SRSSH, context, size, 0, u32::from_ne_bytes(SAME_HASH), 0];
    [&head, table].concat()
}

/// Whether a table leads to the first `count` queues, and to each as often as to the others, but for one.
fn is_even(table: &[u32], count: u32) -> bool {
    let mut entries: BTreeMap<u32, usize> = (0..count).map(|queue| (queue, 0)).collect();
    table.iter().for_each(|queue| *entries.entry(*queue).or_default() += 1);
    let all = || entries.values();
    entries.len() == count as usize
        && all().max().zip(all().min()).is_some_and(|(most, least)| most - least <= 1)
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

#[cfg(test)]
mod tests {
    use super::{NEW, is_even, rxfh};

    /// The places are those of the kernel's struct.
    #[test]
    fn a_context_is_asked_for_as_the_kernel_reads_it() {
        #[repr(C)]
        struct Rxfh {
            cmd: u32,
            rss_context: u32,
            indir_size: u32,
            key_size: u32,
            hfunc: u8,
            input_xfrm: u8,
            rsvd8: [u8; 2],
            rsvd32: u32,
            rss_config: [u32; 0],
        }
        use std::mem::offset_of;
        let asked = rxfh(NEW, &[4, 5, 4]);
        let bytes: Vec<u8> = asked.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let word = |at: usize| asked[at / 4];
        assert_eq!((word(offset_of!(Rxfh, cmd)), word(offset_of!(Rxfh, rss_context))), (0x47, u32::MAX));
        assert_eq!((word(offset_of!(Rxfh, indir_size)), word(offset_of!(Rxfh, key_size))), (3, 0));
        assert_eq!((bytes[offset_of!(Rxfh, hfunc)], bytes[offset_of!(Rxfh, input_xfrm)]), (0, 0xff));
        assert_eq!(
            (word(offset_of!(Rxfh, rsvd32)), &asked[offset_of!(Rxfh, rss_config) / 4..]),
            (0, &[4, 5, 4][..])
        );
        assert_eq!(&rxfh(3, &[])[1..], [3, 0, 0, asked[4], 0]);
    }

    #[test]
    fn a_table_is_even_over_the_first_queues() {
        assert!(is_even(&[0, 1, 2, 0, 1], 3) && is_even(&[0, 0, 1, 1], 2) && is_even(&[0, 0], 1));
        for (table, count) in [
            (&[0, 1, 0, 1][..], 1),
            (&[0, 1, 0, 1], 3),
            (&[0, 0, 0, 1], 2),
            (&[1, 1, 2, 2], 2),
            (&[0, 1, 0, 2], 2),
            (&[0], 0),
        ] {
            assert!(!is_even(table, count), "{table:?} {count}");
        }
    }
}
