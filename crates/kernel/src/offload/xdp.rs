//! XDP, AF_XDP and queues, by the family `netdev` (Documentation/netlink/specs/netdev.yaml; Linux 6.3, queues 6.8).

use crate::Result;
use crate::ethtool::unless_unsupported;
use crate::generic::{Attributes, Family, attribute};
use crate::message::{Message, word};
use offramp_core::ids::IfName;
use offramp_core::offload::{Queues, Xdp};

// include/uapi/linux/netdev.h
const CMD_DEV_GET: u8 = 1;
const CMD_QUEUE_GET: u8 = 10;
pub(super) const CMD_QUEUE_CREATE: u8 = 16;
const A_DEV_IFINDEX: u16 = 1;
const A_DEV_XDP_FEATURES: u16 = 3;
const A_DEV_XDP_ZC_MAX_SEGS: u16 = 4;
const A_DEV_XDP_RX_METADATA_FEATURES: u16 = 5;
const A_DEV_XSK_FEATURES: u16 = 6;
const A_QUEUE_IFINDEX: u16 = 2;
const A_QUEUE_TYPE: u16 = 3;
const A_QUEUE_DMABUF: u16 = 5;
const A_QUEUE_IO_URING: u16 = 6;
const A_QUEUE_XSK: u16 = 7;
const A_QUEUE_LEASE: u16 = 8;
const QUEUE_TYPE_RX: u32 = 0;

/// The specification's names of bits, from the lowest on: the kernel tells numbers only.
const XDP_FEATURES: [&str; 7] =
    ["basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg"];
const RX_METADATA: [&str; 3] = ["timestamp", "hash", "vlan-tag"];
const XSK_FEATURES: [&str; 3] = ["tx-timestamp", "tx-checksum", "tx-launch-time-fifo"];

pub(super) struct Netdev {
    family: Family,
}

impl Netdev {
    pub(super) fn open() -> Result<Option<Self>> {
        Ok(Family::open("netdev")?.map(|family| Self { family }))
    }

    /// Whether queues can be leased to pods.
    pub(super) fn has_lease(&self) -> bool {
        self.family.has(CMD_QUEUE_CREATE)
    }

    pub(super) fn xdp(&mut self, device: &IfName, index: u32) -> Result<Option<Xdp>> {
        let what = format!("read the XDP features of {device}");
        let ask = Attributes::default().number(A_DEV_IFINDEX, index);
        let ask = self.family.message(CMD_DEV_GET, ask);
        Ok(unless_unsupported(self.family.socket.get_raw(&what, ask))?.map(|answer| xdp(&answer)))
    }

    /// None if the kernel does not tell of queues.
    pub(super) fn queues(&mut self, device: &IfName, index: u32) -> Result<Option<Queues>> {
        if !self.family.has(CMD_QUEUE_GET) {
            return Ok(None);
        }
        let what = format!("list the queues of {device}");
        let ask = Attributes::default().number(A_QUEUE_IFINDEX, index);
        let ask = self.family.message(CMD_QUEUE_GET, ask);
        let queues = unless_unsupported(self.family.socket.dump_raw(&what, ask))?.unwrap_or_default();
        // One that is down has none.
        Ok((!queues.is_empty()).then(|| count(&queues)))
    }
}

fn xdp(answer: &Message) -> Xdp {
    let bits = |kind, names: &[&str]| {
        let value = attribute(answer, kind).and_then(|v| Some(u64::from_ne_bytes(v.try_into().ok()?)));
        names_of(value.unwrap_or_default(), names)
    };
    Xdp {
        features: bits(A_DEV_XDP_FEATURES, &XDP_FEATURES),
        rx_metadata: bits(A_DEV_XDP_RX_METADATA_FEATURES, &RX_METADATA),
        af_xdp: bits(A_DEV_XSK_FEATURES, &XSK_FEATURES),
        zero_copy_segments: attribute(answer, A_DEV_XDP_ZC_MAX_SEGS).and_then(|n| word(&n, 0)),
    }
}

/// A bit of a later kernel has its number for a name.
fn names_of(bits: u64, names: &[&str]) -> Vec<String> {
    let set = (0..u64::BITS as usize).filter(|bit| bits >> bit & 1 == 1);
    set.map(|bit| names.get(bit).map_or_else(|| format!("bit-{bit}"), |name| (*name).to_owned())).collect()
}

fn count(queues: &[Message]) -> Queues {
    let mut counted = Queues::default();
    for queue in queues {
        let has = |kind| u32::from(attribute(queue, kind).is_some());
        if attribute(queue, A_QUEUE_TYPE).and_then(|kind| word(&kind, 0)) == Some(QUEUE_TYPE_RX) {
            counted.rx += 1;
            counted.af_xdp += has(A_QUEUE_XSK);
            counted.bound += has(A_QUEUE_DMABUF).max(has(A_QUEUE_IO_URING));
            counted.leased += has(A_QUEUE_LEASE);
        } else {
            counted.tx += 1;
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_the_names_of_the_specification() {
        assert_eq!(names_of(0b100_1001, &XDP_FEATURES), ["basic", "xsk-zerocopy", "ndo-xmit-sg"]);
        assert_eq!(names_of(1 << 9 | 1, &RX_METADATA), ["timestamp", "bit-9"]);
    }
}
