//! What pods' interfaces move: read for `offrampd explain`, and added up for Prometheus.

mod reader;
mod sampler;

pub use sampler::{Metering, Sampler};

use offramp_core::IfName;
use offramp_core::plan::Path;
use offramp_core::record::Record;
use offramp_core::traffic::{Metered, Moved, Share, Way, metered};
use offramp_kernel::ethtool::Ethtool;
use offramp_kernel::sysfs::{self, Sysfs, numa_node};
use reader::{Reader, Reading};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// The kernel answers in a millisecond; whoever changes links, or a driver, may hold it up.
const PATIENCE: Duration = Duration::from_secs(3);

/// An interface of a pod: what it has of the node, and what it moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceTraffic {
    /// Its name in the pod.
    pub name: IfName,
    /// How it is made; none: by another plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Path>,
    /// The NUMA node that its device is on, where the machine tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa: Option<u32>,
    /// Queues that it has for itself, to receive and to send; none: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<(u32, u32)>,
    /// Of the NIC's queues that it has, by their numbers in the pod, or counted from 1: the flow rules that lead there; none:
    /// it has none, or that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_rules: Option<BTreeMap<u32, Vec<u32>>>,
    /// The VF leads to the node, whose CPU routes what it moves: that saves bridge and pair, and not the CPU.
    pub routed: bool,
    /// What it moved.
    #[serde(flatten)]
    pub moved: Moved,
}

/// All of a pod's interfaces together.
pub fn share(all: &[InterfaceTraffic]) -> Share {
    let way = |t: &InterfaceTraffic| match t.path {
        _ if t.routed => Way::Routed,
        Some(Path::Queues) => Way::Leases,
        _ => Way::Straight,
    };
    Share::of(all.iter().map(|t| (&t.moved, way(t))))
}

/// Reads the counters of an attachment's interfaces. Called from the node's network namespace; waits for the kernel no
/// longer than seconds, and then knows nothing, and why.
pub fn look(record: &Record) -> Vec<InterfaceTraffic> {
    let (tell, told) = sync_channel(1);
    let reading = record.clone();
    let spawned = std::thread::Builder::new().name("counters".into()).spawn(move || {
        // Who waits may have given up.
        let _ = tell.send(read(&reading));
    });
    let why = match spawned.map(|_| told.recv_timeout(PATIENCE)) {
        Ok(Ok(read)) => return read,
        Ok(Err(RecvTimeoutError::Timeout)) => {
            format!("the kernel gave no answer within {} seconds", PATIENCE.as_secs())
        }
        Ok(Err(RecvTimeoutError::Disconnected)) => "the thread that reads them has died".into(),
        Err(e) => format!("start a thread to read them: {e}"),
    };
    let unknown = |m: Metered| described(m, None, Moved::Unknown { why: why.clone() });
    metered(record).into_iter().map(unknown).chain(by_others(record)).collect()
}

fn read(record: &Record) -> Vec<InterfaceTraffic> {
    let mut reader = Reader::with_queues();
    let one = |m: Metered| match reader.read(&m, &record.netns) {
        Ok(Reading { bytes, cpu, queues }) => {
            let is_led = record.plan.steering().is_some() && m.ifname == record.attachment.ifname;
            let flow_rules = (is_led || m.path == Path::Queues).then(|| flow_rules(record)).flatten();
            InterfaceTraffic { flow_rules, ..described(m, queues, Moved::Counted { bytes, cpu }) }
        }
        Err(why) => described(m, None, Moved::Unknown { why }),
    };
    metered(record).into_iter().map(one).chain(by_others(record)).collect()
}

fn described(m: Metered, queues: Option<(u32, u32)>, moved: Moved) -> InterfaceTraffic {
    let numa = m.meter.vf().and_then(|vf| numa_node(&Sysfs::default(), vf.pci));
    let (name, path) = (m.ifname, Some(m.path));
    InterfaceTraffic { name, path, numa, queues, flow_rules: None, routed: m.routed, moved }
}

/// All leased queues are of one NIC, which may be called otherwise than at the ADD.
fn flow_rules(record: &Record) -> Option<BTreeMap<u32, Vec<u32>>> {
    let port = record.plan.queues().next()?.port;
    let nics = sysfs::assemble(&Sysfs::default(), &sysfs::Facts::gather().ok()?);
    let flows = Ethtool::open().ok()??.flows(&nics.port(&port)?.netdev).ok()?;
    let leading = |queue| flows.leading(queue).map(|rule| rule.id).collect();
    Some((1..).zip(record.plan.queues()).map(|(number, leased)| (number, leading(leased.queue))).collect())
}

/// Interfaces that other plugins have made, in ways that only they know.
fn by_others(record: &Record) -> impl Iterator<Item = InterfaceTraffic> + '_ {
    let others = record.networks.iter().filter(|network| network.makes_interface());
    others.map(|network| InterfaceTraffic {
        name: network.ifname.clone(),
        path: None,
        numa: None,
        queues: None,
        flow_rules: None,
        routed: false,
        moved: Moved::Unknown { why: format!("made by the plugin {}", network.types()) },
    })
}
