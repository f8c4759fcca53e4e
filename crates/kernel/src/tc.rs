//! Traffic control: the token bucket, and the redirection of what a link receives to another one.

use crate::message;
use crate::netlink::Request;
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionGeneric, TcActionMirror, TcActionMirrorOption, TcActionOption,
    TcActionType, TcAttribute, TcFilterU32, TcFilterU32Option, TcHandle, TcMessage, TcMirror,
    TcMirrorActionType, TcOption, TcU32Key, TcU32Selector, TcU32SelectorFlags,
};
use nix::libc;
use offramp_core::spec::Rate;

/// How long a packet may wait in a token bucket before it is dropped: what the reference plugin `bandwidth` takes.
const LATENCY_MS: u64 = 25;
/// What a frame has beside the MTU: Ethernet header and two VLAN tags.
const FRAME_HEADERS: u32 = 14 + 2 * 4;

/// A token bucket as root qdisc: limits what the link sends. Fails with EEXIST if the link has a root qdisc already.
pub fn limit(name: &str, index: u32, rate: Rate, mtu: u32) -> Request {
    let mut message = qdisc(index, TcHandle::ROOT, TcHandle::UNSPEC, "tbf");
    let options = TokenBucket::new(rate, mtu).options().into_iter().map(TcOption::Other).collect();
    message.attributes.push(TcAttribute::Options(options));
    let what = format!("limit {name} to {} bit/s", rate.bytes_per_second.saturating_mul(8));
    new_qdisc(what, message)
}

/// Gives a link the place where filters on what it receives hang (`clsact`).
pub fn hook(name: &str, index: u32) -> Request {
    let handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
    new_qdisc(format!("add qdisc clsact to {name}"), qdisc(index, TcHandle::CLSACT, handle, "clsact"))
}

fn new_qdisc(what: String, message: TcMessage) -> Request {
    Request::new(what, message::new_qdisc(message)).flags(NLM_F_CREATE | NLM_F_EXCL)
}

/// All that the link receives is sent through another one first. The filter is u32, as the reference plugin's is:
/// kernels without `matchall` have it.
pub fn redirect(name: &str, index: u32, to_name: &str, to: u32) -> Request {
    let parent = TcHandle { major: TcHandle::CLSACT.major, minor: TcHandle::MIN_INGRESS };
    let mut message = qdisc(index, parent, TcHandle::UNSPEC, TcFilterU32::KIND);
    const PRIORITY: u32 = 1;
    message.header.info = PRIORITY << 16 | u32::from((libc::ETH_P_ALL as u16).to_be());
    let options = [TcFilterU32Option::Action(vec![mirred(to)]), TcFilterU32Option::Selector(everything())];
    message.attributes.push(TcAttribute::Options(options.into_iter().map(TcOption::U32).collect()));
    let what = format!("redirect what {name} receives to {to_name}");
    Request::new(what, message::new_filter(message)).flags(NLM_F_CREATE | NLM_F_EXCL)
}

fn qdisc(index: u32, parent: TcHandle, handle: TcHandle, kind: &str) -> TcMessage {
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = parent;
    message.header.handle = handle;
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    message
}

/// One key whose mask is zero: it fits every packet.
fn everything() -> TcU32Selector {
    let mut selector = TcU32Selector::default();
    selector.flags = TcU32SelectorFlags::Terminal;
    selector.nkeys = 1;
    selector.keys = vec![TcU32Key::default()];
    selector
}

fn mirred(to: u32) -> TcAction {
    let mut generic = TcActionGeneric::default();
    generic.action = TcActionType::Stolen;
    let mut parms = TcMirror::default();
    parms.generic = generic;
    parms.eaction = TcMirrorActionType::EgressRedir;
    parms.ifindex = to;
    let mut action = TcAction::default();
    action.tab = 1;
    action.attributes = vec![
        TcActionAttribute::Kind(TcActionMirror::KIND.to_owned()),
        TcActionAttribute::Options(vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(parms))]),
    ];
    action
}

/// What the kernel is told of a token bucket, in bytes.
struct TokenBucket {
    rate: u64,
    burst: u32,
    queue: u32,
}

impl TokenBucket {
    /// A packet larger than the burst never passes (tbf_enqueue, net/sched/sch_tbf.c; one that segmentation offload
    /// put together is cut), so the burst has room for a frame of `mtu`, and the queue for a burst beside what
    /// drains in time. A rate of less than a byte a second would be none at all for the kernel.
    fn new(rate: Rate, mtu: u32) -> Self {
        let burst = rate.burst_bytes.max(mtu.saturating_add(FRAME_HEADERS));
        let bytes = rate.bytes_per_second.max(1);
        let drains = u128::from(bytes) * u128::from(LATENCY_MS) / 1000;
        let queue = u32::try_from(drains + u128::from(burst)).unwrap_or(u32::MAX);
        Self { rate: bytes, burst, queue }
    }

    /// Attributes `TCA_TBF_*` (include/uapi/linux/pkt_sched.h).
    fn options(&self) -> Vec<DefaultNla> {
        const PARMS: u16 = 1;
        const RATE64: u16 = 4;
        const BURST: u16 = 6;
        let mut options = vec![
            DefaultNla::new(PARMS, self.parms()),
            DefaultNla::new(BURST, self.burst.to_ne_bytes().to_vec()),
        ];
        if self.rate >= u64::from(u32::MAX) {
            options.push(DefaultNla::new(RATE64, self.rate.to_ne_bytes().to_vec()));
        }
        options
    }

    /// `struct tc_tbf_qopt`: two `tc_ratespec` (rate, peak rate), limit, buffer, mtu.
    fn parms(&self) -> Vec<u8> {
        // With a link layer named the kernel computes by itself, and asks for no rate table.
        const LINKLAYER_ETHERNET: u8 = 1;
        // `tc` sends these; the kernel reads them from rate tables only.
        const CELL_LOG: u8 = 3;
        const CELL_ALIGN: i16 = -1;
        let mut parms = vec![CELL_LOG, LINKLAYER_ETHERNET, 0, 0];
        parms.extend(CELL_ALIGN.to_ne_bytes());
        parms.extend([0; 2]);
        parms.extend(u32::try_from(self.rate).unwrap_or(u32::MAX).to_ne_bytes());
        parms.extend([0; 12]);
        parms.extend(self.queue.to_ne_bytes());
        parms.extend(self.buffer_ticks().to_ne_bytes());
        parms.extend([0; 4]);
        parms
    }

    /// The burst as the time that it takes at this rate, in ticks of 64 ns: what kernels before `TCA_TBF_BURST` read.
    fn buffer_ticks(&self) -> u32 {
        let microseconds = u128::from(self.burst) * 1_000_000 / u128::from(self.rate);
        u32::try_from(microseconds * 1000 / 64).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
#[path = "tc_tests.rs"]
mod tests;
