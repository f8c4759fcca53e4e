//! Whether the sources of what comes from routed pods are checked: asked without nft, by whoever puts such a pod's link up.

use super::nfnetlink::{DUMP, REQUEST, encode, exchange, open, request};
use super::script::TABLE;
use crate::{Error, Result};
use nix::libc::NFPROTO_INET;

/// `NFT_MSG_GETRULE`, with the subsystem in the upper byte (linux/netfilter/nf_tables.h).
const GET_RULE: u16 = 0x0a07;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
/// In nat.nft.
const CHAIN: &str = "sources";

/// Whether our table has its rule, in the calling thread's network namespace.
pub fn sources_are_checked() -> Result<bool> {
    let text = |kind, text: &str| encode(kind, &[text.as_bytes(), &[0]].concat());
    let ask = request(
        GET_RULE,
        REQUEST | DUMP,
        NFPROTO_INET as u8,
        &[text(RULE_TABLE, TABLE), text(RULE_CHAIN, CHAIN)],
    );
    let rules = open().and_then(|socket| exchange(&socket, &ask));
    let rules = rules.map_err(|e| Error::io("ask for the rules of table inet offramp", &e))?;
    Ok(!rules.is_empty())
}
