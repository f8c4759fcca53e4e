//! UDP ports of tunnels that NICs are told of (`ethtool --show-tunnels`).

use super::Ethtool;
use super::bitset::{self, Bit};
use crate::generic::{attribute, value_of};
use crate::message::{Message, word};
use crate::{Result, link};
use offramp_core::ids::IfName;
use offramp_core::offload::{TunnelPort, TunnelTable};

const MSG_GET: u8 = 28;
const A_UDP_PORTS: u16 = 2;
const A_UDP_TABLE: u16 = 1;
const A_TABLE_SIZE: u16 = 1;
const A_TABLE_TYPES: u16 = 2;
const A_TABLE_ENTRY: u16 = 3;
const A_ENTRY_PORT: u16 = 1;
const A_ENTRY_TYPE: u16 = 2;

impl Ethtool {
    /// The tables of a device; none if it looks into no tunnels.
    pub fn tunnel_ports(&mut self, device: &IfName) -> Result<Vec<TunnelTable>> {
        let answer = self.get("tunnel ports", MSG_GET, device)?;
        Ok(answer.map(|answer| tables(&answer)).unwrap_or_default())
    }
}

pub(super) fn tables(answer: &Message) -> Vec<TunnelTable> {
    let tables = attribute(answer, A_UDP_PORTS).unwrap_or_default();
    let tables = link::attributes(&tables).filter(|nla| nla.kind() == A_UDP_TABLE);
    tables.map(|nla| table(nla.value())).collect()
}

fn table(table: &[u8]) -> TunnelTable {
    let types = value_of(table, A_TABLE_TYPES).map(|set| bitset::bits(&set)).unwrap_or_default();
    let entries = link::attributes(table).filter(|nla| nla.kind() == A_TABLE_ENTRY);
    let size = value_of(table, A_TABLE_SIZE).and_then(|size| word(&size, 0)).unwrap_or_default();
    let ports = entries.filter_map(|nla| entry(nla.value(), &types)).collect();
    TunnelTable { types: types.into_iter().map(|bit| bit.name).collect(), size, ports }
}

fn entry(entry: &[u8], types: &[Bit]) -> Option<TunnelPort> {
    let port = u16::from_be_bytes(value_of(entry, A_ENTRY_PORT)?.try_into().ok()?);
    let kind = word(&value_of(entry, A_ENTRY_TYPE)?, 0)?;
    let name = types.iter().find(|bit| bit.index == kind).map(|bit| bit.name.clone());
    Some(TunnelPort { kind: name.unwrap_or_else(|| format!("type {kind}")), port })
}
