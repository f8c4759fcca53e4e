//! Adds up what pods move, for Prometheus: whenever it asks, and as an interface goes.

use super::reader::{Reader, netdev_bytes};
use crate::node::Node;
use offramp_core::AttachmentId;
use offramp_core::plan::Path;
use offramp_core::record::{NetnsRef, Record};
use offramp_core::traffic::{Bytes, Key, Label, Meter, Metered, Totals, metered};
use std::collections::{BTreeMap, HashSet};
use std::path::Path as FsPath;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Whoever asks more often gets what was read last.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// Where the counters of an attachment are: as much of its record as is looked at each time.
#[derive(Debug)]
pub struct Metering {
    attachment: AttachmentId,
    created: u64,
    netns: NetnsRef,
    interfaces: Vec<Begun>,
}

/// An interface, and where its counter stood as it became the pod's; none: not known.
#[derive(Debug)]
struct Begun {
    metered: Metered,
    at: Option<Bytes>,
}

impl Metering {
    /// Of this one, before its plan is executed: a VF's netdev is on the node then. Later it is in the pod, and where its
    /// counter stood is not known any more.
    pub fn of(record: &Record) -> Self {
        let begun = |metered: Metered| Begun {
            at: match &metered.meter {
                Meter::HostEnd { .. } => Some(Bytes::default()),
                Meter::Netdev { .. } if metered.is_bound_anew(record) => Some(Bytes::default()),
                Meter::Netdev { vf, .. } => netdev_bytes(FsPath::new("/sys"), vf.pci),
                Meter::Function { .. } => None,
            },
            metered,
        };
        Self {
            attachment: record.attachment.clone(),
            created: record.created,
            netns: record.netns.clone(),
            interfaces: metered(record).into_iter().map(begun).collect(),
        }
    }

    /// Whether it is of this record.
    pub fn is_of(&self, record: &Record) -> bool {
        let same = self.attachment == record.attachment && self.created == record.created;
        same && self.interfaces.iter().map(|i| &i.metered).eq(&metered(record))
    }

    fn key(&self, interface: &Metered) -> Key {
        Key { attachment: self.attachment.clone(), created: self.created, ifname: interface.ifname.clone() }
    }

    /// Where its counter stood, if that was while the daemon ran.
    fn began(&self, interface: &Begun, node: &Node) -> Option<Bytes> {
        interface.at.filter(|_| node.has_seen_begin(self.created))
    }
}

fn label(interface: &Metered) -> Label {
    Label { path: interface.path, pf: interface.meter.vf().map(|vf| vf.pf.clone()) }
}

/// A question, answered by dropping or using the sender.
type Question = oneshot::Sender<()>;

/// The totals, and who asks for a look.
pub struct Sampler {
    totals: Mutex<Totals>,
    ask: Sender<Question>,
    asked: Mutex<Option<Receiver<Question>>>,
}

impl Default for Sampler {
    fn default() -> Self {
        let (ask, asked) = channel();
        Self { totals: Mutex::default(), ask, asked: Mutex::new(Some(asked)) }
    }
}

impl Sampler {
    /// Has the counters read; told when they are. Does not wait.
    pub fn refresh(&self) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        // Without a thread the answer is that there is none: `tell` is dropped.
        let _ = self.ask.send(tell);
        told
    }

    /// Looks as it begins, so that what older pods have moved is known, and then whenever somebody asks; for ever. Without
    /// HTTP nobody asks.
    pub fn run(&self, node: &Node) {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(asked) = asked.filter(|_| node.config.http.is_some()) else { return };
        self.look(node);
        let mut looked = Instant::now();
        while let Ok(question) = asked.recv() {
            if looked.elapsed() >= LEAST_PAUSE {
                self.look(node);
                looked = Instant::now();
            }
            // Who asked may have given up.
            let _ = question.send(());
        }
    }

    /// Looks at all interfaces. The lock is not held meanwhile: a DEL does not wait.
    fn look(&self, node: &Node) {
        let meterings = node.meterings();
        let keys = meterings.iter().flat_map(|m| m.interfaces.iter().map(|i| m.key(&i.metered)));
        self.totals().begin(&keys.collect::<HashSet<_>>());
        let mut reader = match Reader::of_all_links() {
            Ok(reader) => reader,
            Err(e) => return tracing::warn!(error = %e, "cannot read what pods moved"),
        };
        let mut counted: BTreeMap<(Path, bool), u64> = BTreeMap::new();
        let mut read = Vec::new();
        for metering in &meterings {
            for interface in &metering.interfaces {
                let reading = reader.read(&interface.metered, &metering.netns);
                *counted.entry((interface.metered.path, reading.is_ok())).or_default() += 1;
                match reading {
                    Ok(reading) => read.push((metering, interface, reading.bytes)),
                    Err(why) => tracing::debug!(attachment = %metering.attachment, why, "not counted"),
                }
            }
        }
        let mut totals = self.totals();
        for (metering, interface, bytes) in read {
            let (key, began) = (metering.key(&interface.metered), metering.began(interface, node));
            totals.seen(&key, &label(&interface.metered), bytes, began);
        }
        node.metrics.set_traffic(&totals);
        node.metrics.set_counted(&counted);
    }

    /// The last look at an attachment's interfaces, before they go.
    pub fn ending(&self, node: &Node, record: &Record) {
        if node.config.http.is_none() {
            return;
        }
        let held = node.metering(&record.attachment).filter(|held| held.is_of(record));
        let metering = held.unwrap_or_else(|| Arc::new(Metering::of(record)));
        let mut reader = Reader::default();
        for interface in &metering.interfaces {
            let bytes = reader.read(&interface.metered, &metering.netns).ok().map(|r| r.bytes);
            let (key, began) = (metering.key(&interface.metered), metering.began(interface, node));
            self.totals().end(key, &label(&interface.metered), bytes, began);
        }
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        // A panic elsewhere leaves plain numbers.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
