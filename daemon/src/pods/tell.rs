//! What there is to say of an ADD.

use super::{Event, Kind, Status};
use crate::node::Node;
use offramp_core::cni::CniError;
use offramp_core::cni::error::codes;
use offramp_core::ids::AttachmentId;
use offramp_core::networks::{NETWORK_STATUS, network_status};
use offramp_core::queue::QueueRef;
use offramp_core::record::{PodRef, Record, State};
use offramp_core::wire::Prepare;
use offramp_core::wish::{Offload, STATUS, Wishes};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Node {
    /// An ADD was refused: its author is told why.
    pub fn tell_refused(&self, ask: &Prepare, error: &CniError) {
        // What is attached already is no news, and a caller that has left hears nothing.
        if let Some(pod) = ask.pod.as_ref().filter(|_| error.code != codes::EXISTS) {
            let kind = if error.code == codes::NO_DEVICE { Kind::NoDevice } else { Kind::Refused };
            let event = Event { pod: self.as_in_api(pod), kind, message: error.to_string() };
            self.outbox.event(event);
        }
    }

    /// The pod would have liked a VF as eth0, and has none.
    pub fn tell_fallback(&self, ask: &Prepare, wishes: &Wishes, record: &Record) {
        let fell_back = wishes.offload == Offload::Preferred && record.plan.path.is_software();
        if let Some(pod) = ask.pod.as_ref().filter(|_| fell_back) {
            let message =
                format!("{} is a {}: {}", ask.attachment.ifname, record.plan.path, record.plan.reason);
            self.outbox.event(Event { pod: self.as_in_api(pod), kind: Kind::Fallback, message });
        }
    }

    /// The ADD is done: what the pod got.
    pub fn tell_status(&self, id: &AttachmentId) {
        if !self.outbox.is_open() {
            return;
        }
        // Its DEL may be over by now.
        let Ok(Some(record)) = self.store.read(id) else { return };
        let Some(pod) = record.pod.as_ref().filter(|_| record.state == State::Ready) else { return };
        let annotations = BTreeMap::from([
            (STATUS.to_owned(), status(&record).to_string()),
            (NETWORK_STATUS.to_owned(), json!(network_status(&record)).to_string()),
        ]);
        self.outbox.status(Status { pod: self.as_in_api(pod), annotations });
    }

    /// The pod with its UID in the API, which is not the runtime's for a static pod.
    fn as_in_api(&self, pod: &PodRef) -> PodRef {
        let known = self.pods.find(pod).map(|known| known.uid);
        PodRef { uid: known.unwrap_or_else(|| pod.uid.clone()), ..pod.clone() }
    }
}

/// `offramp.dev/status`: how each interface is made, and why.
fn status(record: &Record) -> Value {
    let plan = &record.plan;
    let in_pod = plan.result.interfaces.iter().filter(|i| i.sandbox.is_some());
    let queues: Vec<_> = plan.queues().collect();
    let own = in_pod.map(|i| {
        let mut one = json!({"name": i.name, "path": plan.path_of(i)});
        if i.name == record.attachment.ifname.as_str() {
            one["reason"] = json!(plan.reason);
            if !queues.is_empty() {
                // The link's own queue is number 0. Those to which its packets are led are none of the link's.
                let leased = |(n, q): (u32, &QueueRef)| match plan.steering() {
                    None => json!({"queue": n, "of": q.nic, "number": q.queue}),
                    Some(_) => json!({"of": q.nic, "number": q.queue}),
                };
                one["queues"] = (1..).zip(&queues).map(leased).collect();
            }
        }
        if let Some(pci) = &i.pci_id {
            one["device"] = json!(pci);
        }
        one
    });
    let others = record.networks.iter().filter(|d| d.makes_interface()).map(|d| {
        let types: Vec<&str> = (0..d.plugins.len()).map(|i| d.type_of(i)).collect();
        json!({"name": d.ifname, "path": "plugins", "plugins": types})
    });
    json!({"interfaces": own.chain(others).collect::<Vec<_>>()})
}
