//! Bit sets in their long form, which has the kernel's names of the bits (Documentation/networking/ethtool-netlink.rst).

use crate::generic::{Attributes, value_of};
use crate::link;
use crate::message::word;

const NOMASK: u16 = 1;
const BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_INDEX: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

/// A bit that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bit {
    pub index: u32,
    pub name: String,
    pub on: bool,
}

/// The bits of a set, those without names left out: drivers have none for what is reserved.
pub(super) fn bits(set: &[u8]) -> Vec<Bit> {
    // Then the bits that are on are listed, and no others.
    let all_on = link::attributes(set).any(|nla| nla.kind() == NOMASK);
    let list = value_of(set, BITS).unwrap_or_default();
    let bit = |bit: &[u8]| {
        let name = link::text(&value_of(bit, BIT_NAME)?);
        let index = value_of(bit, BIT_INDEX).and_then(|index| word(&index, 0)).unwrap_or_default();
        let on = all_on || value_of(bit, BIT_VALUE).is_some();
        Some(Bit { index, name, on }).filter(|bit| !bit.name.is_empty())
    };
    link::attributes(&list).filter(|nla| nla.kind() == BITS_BIT).filter_map(|nla| bit(nla.value())).collect()
}

/// A set that changes one bit and leaves the others.
pub(super) fn change(name: &str, on: bool) -> Attributes {
    let bit = Attributes::default().text(BIT_NAME, name);
    let bit = if on { bit.put(BIT_VALUE, &[]) } else { bit };
    Attributes::default().nest(BITS, Attributes::default().nest(BITS_BIT, bit))
}
