//! What pods are told, until the API has it. Nobody waits for that: who has something to say puts it here and goes on.

use super::limit::Limit;
use crate::metrics::{Fate, Message, Metrics};
use offramp_core::record::PodRef;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// The most pods whose status waits; the API has been away for long then, and their pods can do without.
const MAX_STATUSES: usize = 1024;
/// The most events that wait.
const MAX_EVENTS: usize = 256;
/// The most bytes of an event's message (`kubectl explain event.message`).
const MAX_MESSAGE: usize = 1024;

/// A pod's annotations, to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whose; its UID is that in the API, or empty.
    pub pod: PodRef,
    /// Key and value.
    pub annotations: BTreeMap<String, String>,
}

/// What `kubectl describe` is to show of a pod, or of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whose; its UID is that in the API, or empty. The node has a namespace for its events too.
    pub pod: PodRef,
    /// What.
    pub kind: Kind,
    /// In words.
    pub message: String,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ADD was refused.
    Refused,
    /// It was refused for want of a device, of which an init container may have one.
    NoDevice,
    /// The pod got less than it would have liked.
    Fallback,
    /// Of the node, not of a pod: a feature of a device is broken, and was turned off.
    TurnedOff,
}

impl Kind {
    /// As in `reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Refused | Self::NoDevice => "OfframpRefused",
            Self::Fallback => "OfframpFallback",
            Self::TurnedOff => "OfframpOffloadTurnedOff",
        }
    }
}

/// What waits.
pub struct Outbox {
    waiting: Mutex<Waiting>,
    bell: Notify,
    open: bool,
    metrics: Arc<Metrics>,
}

struct Waiting {
    statuses: HashMap<(String, String), Status>,
    events: VecDeque<Event>,
    limit: Limit,
}

impl Outbox {
    /// Empty. One that is not `open` has no reader, and takes nothing.
    pub fn new(open: bool, metrics: Arc<Metrics>) -> Self {
        let limit = Limit::new(Instant::now());
        let waiting = Waiting { statuses: HashMap::new(), events: VecDeque::new(), limit };
        Self { waiting: Mutex::new(waiting), bell: Notify::new(), open, metrics }
    }

    /// Whether anybody reads it.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Writes a pod's annotations, soon; what is newer takes the place of what is older.
    pub fn status(&self, status: Status) {
        if !self.open {
            return;
        }
        let mut waiting = self.waiting();
        let place = (status.pod.namespace.clone(), status.pod.name.clone());
        if waiting.statuses.len() >= MAX_STATUSES && !waiting.statuses.contains_key(&place) {
            return self.metrics.told(Message::Status, Fate::Dropped);
        }
        waiting.statuses.insert(place, status);
        self.bell.notify_one();
    }

    /// Writes an event, soon, if the limits allow it.
    pub fn event(&self, event: Event) {
        if !self.open {
            return;
        }
        let mut waiting = self.waiting();
        let (pod, what) =
            (format!("{} {}", event.pod, event.pod.uid), format!("{:?} {}", event.kind, event.message));
        if waiting.events.len() >= MAX_EVENTS {
            return self.metrics.told(Message::Event, Fate::Dropped);
        }
        if !waiting.limit.allows(&pod, &what, Instant::now()) {
            return self.metrics.told(Message::Event, Fate::Limited);
        }
        let message = cut(&event.message);
        waiting.events.push_back(Event { message, ..event });
        self.bell.notify_one();
    }

    /// How many pods' annotations wait, and how many events.
    pub fn depth(&self) -> (usize, usize) {
        let waiting = self.waiting();
        (waiting.statuses.len(), waiting.events.len())
    }

    /// Until there is something.
    pub async fn wait(&self) {
        self.bell.notified().await;
    }

    /// All that waits.
    pub fn take(&self) -> (Vec<Status>, Vec<Event>) {
        let mut waiting = self.waiting();
        let statuses = std::mem::take(&mut waiting.statuses).into_values().collect();
        (statuses, std::mem::take(&mut waiting.events).into())
    }

    /// The API did not have it; it waits again, unless there is something newer.
    pub fn put_back(&self, status: Status) {
        let key = (status.pod.namespace.clone(), status.pod.name.clone());
        self.waiting().statuses.entry(key).or_insert(status);
        self.bell.notify_one();
    }

    /// As [`Outbox::put_back`].
    pub fn put_event_back(&self, event: Event) {
        let mut waiting = self.waiting();
        if waiting.events.len() < MAX_EVENTS {
            waiting.events.push_front(event);
            self.bell.notify_one();
        } else {
            self.metrics.told(Message::Event, Fate::Dropped);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What fits into an event.
pub fn cut(message: &str) -> String {
    let end =
        message.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|end| *end <= MAX_MESSAGE).last();
    message[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodRef {
        PodRef { namespace: "ns".into(), name: name.into(), uid: String::new() }
    }

    fn status(name: &str, value: &str) -> Status {
        Status { pod: pod(name), annotations: BTreeMap::from([("k".into(), value.into())]) }
    }

    fn outbox(open: bool) -> Outbox {
        Outbox::new(open, Arc::new(Metrics::new("1")))
    }

    #[test]
    fn the_newest_status_is_what_is_written() {
        let outbox = outbox(true);
        outbox.status(status("a", "1"));
        outbox.status(status("a", "2"));
        assert_eq!(outbox.take().0, [status("a", "2")]);
        outbox.status(status("a", "3"));
        outbox.put_back(status("a", "2"));
        assert_eq!(outbox.take().0, [status("a", "3")]);
        assert_eq!(outbox.take(), (vec![], vec![]));
    }

    #[test]
    fn it_is_bounded() {
        let outbox = outbox(true);
        (0..2000).for_each(|i| outbox.status(status(&i.to_string(), "")));
        let event =
            |i: usize| Event { pod: pod(&i.to_string()), kind: Kind::Refused, message: "ä".repeat(2000) };
        (0..2000).for_each(|i| outbox.event(event(i)));
        assert_eq!(outbox.depth(), (1024, 50));
        let text = outbox.metrics.encode().unwrap();
        for told in [r#"what="status",outcome="dropped"} 976"#, r#"what="event",outcome="limited"} 1950"#] {
            assert!(text.contains(told), "{text}");
        }
        let (statuses, events) = outbox.take();
        assert_eq!((statuses.len(), events.len()), (1024, 50));
        assert_eq!(events[0].message.len(), 1024);
        let closed = tests::outbox(false);
        closed.status(status("a", "1"));
        closed.event(event(0));
        assert_eq!(closed.take(), (vec![], vec![]));
    }
}
