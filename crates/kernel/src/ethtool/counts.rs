//! Channels, rings and coalescing (`ethtool -l`, `-g`, `-c`).

use super::{Ethtool, about};
use crate::generic::attributes;
use crate::message::{Message, word};
use crate::netlink::Request;
use crate::{Error, Result, link};
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_core::offload::{Channels, Ring, Rings};
use std::collections::BTreeMap;

const MSG_RINGS_GET: u8 = 15;
const MSG_CHANNELS_GET: u8 = 17;
const MSG_CHANNELS_SET: u8 = 18;
const MSG_COALESCE_GET: u8 = 19;

const A_RINGS_RX_MAX: u16 = 2;
const A_RINGS_TX_MAX: u16 = 5;
const A_RINGS_RX: u16 = 6;
const A_RINGS_TX: u16 = 9;
const A_RINGS_TCP_DATA_SPLIT: u16 = 11;
/// `ETHTOOL_TCP_DATA_SPLIT_ENABLED`; 1 is disabled, 0 unknown.
const DATA_SPLIT_ENABLED: u32 = 2;

const A_CHANNELS_RX_MAX: u16 = 2;
const A_CHANNELS_TX_MAX: u16 = 3;
const A_CHANNELS_COMBINED_MAX: u16 = 5;
const A_CHANNELS_RX: u16 = 6;
const A_CHANNELS_TX: u16 = 7;
const A_CHANNELS_OTHER: u16 = 8;
const A_CHANNELS_COMBINED: u16 = 9;

/// `ETHTOOL_A_COALESCE_*` from number 2 on, as Documentation/netlink/specs/ethtool.yaml names them. Later ones are not
/// numbers.
const COALESCING: [&str; 27] = [
    "rx-usecs",
    "rx-max-frames",
    "rx-usecs-irq",
    "rx-max-frames-irq",
    "tx-usecs",
    "tx-max-frames",
    "tx-usecs-irq",
    "tx-max-frames-irq",
    "stats-block-usecs",
    "use-adaptive-rx",
    "use-adaptive-tx",
    "pkt-rate-low",
    "rx-usecs-low",
    "rx-max-frames-low",
    "tx-usecs-low",
    "tx-max-frames-low",
    "pkt-rate-high",
    "rx-usecs-high",
    "rx-max-frames-high",
    "tx-usecs-high",
    "tx-max-frames-high",
    "rate-sample-interval",
    "use-cqe-mode-tx",
    "use-cqe-mode-rx",
    "tx-aggr-max-bytes",
    "tx-aggr-max-frames",
    "tx-aggr-time-usecs",
];

impl Ethtool {
    /// How many queues a device has, and can have.
    pub fn channels(&mut self, device: &IfName) -> Result<Option<Channels>> {
        let answer = self.get("channels", MSG_CHANNELS_GET, device)?;
        Ok(answer.map(|answer| channels(&answer)))
    }

    /// Whether a device has `count` combined channels now; if not, it can be set so. The error says why not, in the
    /// driver's words if it has any.
    fn has_combined(&mut self, device: &IfName, count: u32) -> Result<bool> {
        let what = set_combined(device, count);
        // A driver without channels refuses the question, not only the change: its refusal is the answer.
        let answer =
            self.family.socket.get_raw(&what, self.family.message(MSG_CHANNELS_GET, about(device)))?;
        let channels = channels(&answer);
        if channels.combined != count && count > channels.max_combined {
            return Err(Error::Unfit { what, why: format!("it has {} at most", channels.max_combined) });
        }
        Ok(channels.combined == count)
    }

    /// Why a device cannot have `count` combined channels, in its driver's words; none: it has them, or says that it can.
    pub fn lacks_combined(&mut self, device: &IfName, count: u32) -> Result<Option<String>> {
        let lasts = |e: &Error| {
            let lasting = [Errno::EOPNOTSUPP, Errno::EINVAL].map(|errno| Some(errno as i32));
            matches!(e, Error::Unfit { .. }) || lasting.contains(&e.errno())
        };
        match self.has_combined(device, count) {
            Ok(_) => Ok(None),
            Err(e) if lasts(&e) => Ok(Some(e.words())),
            Err(e) => Err(e),
        }
    }

    /// Sets how many combined channels a device has; the error has the driver's words.
    pub fn set_combined(&mut self, device: &IfName, count: u32) -> Result<()> {
        if self.has_combined(device, count)? {
            return Ok(());
        }
        let set = about(device).number(A_CHANNELS_COMBINED, count);
        let message = self.family.message(MSG_CHANNELS_SET, set);
        self.family.socket.batch(vec![Request::new(set_combined(device, count), message)])
    }

    /// How many descriptors its queues have.
    pub fn rings(&mut self, device: &IfName) -> Result<Option<Rings>> {
        let answer = self.get("rings", MSG_RINGS_GET, device)?;
        Ok(answer.map(|answer| rings(&answer)))
    }

    /// How interrupts are put off; what the driver does not have is not there.
    pub fn coalescing(&mut self, device: &IfName) -> Result<BTreeMap<String, u32>> {
        let answer = self.get("coalescing", MSG_COALESCE_GET, device)?;
        Ok(answer.map(|answer| coalescing(&answer)).unwrap_or_default())
    }
}

fn set_combined(device: &IfName, count: u32) -> String {
    format!("set {device} combined channels {count}")
}

pub(super) fn channels(answer: &Message) -> Channels {
    let number = numbers(answer);
    Channels {
        rx: number(A_CHANNELS_RX),
        tx: number(A_CHANNELS_TX),
        combined: number(A_CHANNELS_COMBINED),
        other: number(A_CHANNELS_OTHER),
        max_rx: number(A_CHANNELS_RX_MAX),
        max_tx: number(A_CHANNELS_TX_MAX),
        max_combined: number(A_CHANNELS_COMBINED_MAX),
    }
}

pub(super) fn rings(answer: &Message) -> Rings {
    let number = numbers(answer);
    let split = Some(number(A_RINGS_TCP_DATA_SPLIT)).filter(|split| *split != 0);
    Rings {
        rx: Ring { now: number(A_RINGS_RX), max: number(A_RINGS_RX_MAX) },
        tx: Ring { now: number(A_RINGS_TX), max: number(A_RINGS_TX_MAX) },
        tcp_data_split: split.map(|split| split == DATA_SPLIT_ENABLED),
    }
}

pub(super) fn coalescing(answer: &Message) -> BTreeMap<String, u32> {
    let named = link::attributes(attributes(answer)).filter_map(|nla| {
        let name = COALESCING.get(usize::from(nla.kind().checked_sub(2)?))?;
        Some(((*name).to_owned(), number_of(nla.value())?))
    });
    named.collect()
}

/// Numbers of an answer; 0 for what is not in it.
fn numbers(answer: &Message) -> impl Fn(u16) -> u32 {
    let all =
        link::attributes(attributes(answer)).filter_map(|nla| Some((nla.kind(), number_of(nla.value())?)));
    let all: BTreeMap<u16, u32> = all.collect();
    move |kind| all.get(&kind).copied().unwrap_or_default()
}

/// Of four bytes, or of one.
fn number_of(value: &[u8]) -> Option<u32> {
    match value {
        [byte] => Some(u32::from(*byte)),
        _ => word(value, 0).filter(|_| value.len() == 4),
    }
}
