//! The pods of this node, as far as an ADD needs them, and what they are told.

mod limit;
mod outbox;
mod tell;

pub use outbox::{Event, Kind, Outbox, Status, cut};

use offramp_core::networks::NETWORK_STATUS;
use offramp_core::record::PodRef;
use offramp_core::wish::STATUS;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Annotations that begin so are kept.
const PREFIXES: [&str; 2] = ["offramp.dev/", "k8s.v1.cni.cncf.io/"];
/// What is only ever written, and nobody asks for anything by.
const WRITTEN: [&str; 2] = [STATUS, NETWORK_STATUS];

/// What is known of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// In the API.
    pub uid: String,
    /// Of a static pod: the runtime's UID for it, of which the one in the API is a mirror.
    pub mirror_of: Option<String>,
    /// Those that Offramp reads.
    pub annotations: BTreeMap<String, String>,
}

impl Pod {
    /// Whether the runtime means this pod, and no other of its name. A runtime that tells no UID means any.
    pub fn is(&self, uid: &str) -> bool {
        uid.is_empty() || self.uid == uid || self.mirror_of.as_deref() == Some(uid)
    }

    /// Of all annotations, those that Offramp reads.
    pub fn relevant(annotations: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
        let relevant = |key: &str| PREFIXES.iter().any(|p| key.starts_with(p)) && !WRITTEN.contains(&key);
        annotations.into_iter().filter(|(key, _)| relevant(key)).collect()
    }
}

/// A pod's place: its namespace and its name.
pub type Place = (String, String);

/// The pods of this node that the watch has told of.
#[derive(Debug, Default)]
pub struct Pods {
    known: Mutex<HashMap<Place, Pod>>,
    /// Those of a list that has begun.
    listed: Mutex<HashSet<Place>>,
}

impl Pods {
    /// A pod, if it is known and is the one that is meant.
    pub fn find(&self, pod: &PodRef) -> Option<Pod> {
        let place = (pod.namespace.clone(), pod.name.clone());
        self.known().get(&place).filter(|known| known.is(&pod.uid)).cloned()
    }

    /// It is so now.
    pub fn set(&self, place: Place, pod: Pod) {
        self.known().insert(place, pod);
    }

    /// It is no more.
    pub fn remove(&self, place: &Place) {
        self.known().remove(place);
    }

    /// A list begins.
    pub fn list_begins(&self) {
        self.listed().clear();
    }

    /// It has this one.
    pub fn list_has(&self, place: Place, pod: Pod) {
        self.listed().insert(place.clone());
        self.set(place, pod);
    }

    /// What it did not have is no more.
    pub fn list_ends(&self) {
        let listed = std::mem::take(&mut *self.listed());
        self.known().retain(|place, _| listed.contains(place));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Place, Pod>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(&self) -> MutexGuard<'_, HashSet<Place>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> Pod {
        Pod { uid: uid.into(), ..Pod::default() }
    }

    fn place(name: &str) -> Place {
        ("ns".into(), name.into())
    }

    fn meant(name: &str, uid: &str) -> PodRef {
        PodRef { namespace: "ns".into(), name: name.into(), uid: uid.into() }
    }

    #[test]
    fn a_pod_is_known_by_its_name_and_its_uid() {
        let pods = Pods::default();
        pods.set(place("a"), pod("1"));
        pods.set(place("static"), Pod { mirror_of: Some("hash".into()), ..pod("2") });
        assert!(pods.find(&meant("a", "1")).is_some() && pods.find(&meant("a", "")).is_some());
        assert_eq!(pods.find(&meant("a", "other")), None, "one that was before it");
        assert!(pods.find(&meant("static", "hash")).is_some(), "the runtime knows no mirror");
        pods.remove(&place("a"));
        assert_eq!(pods.find(&meant("a", "1")), None);
    }

    #[test]
    fn what_a_list_does_not_have_is_gone_when_it_ends() {
        let pods = Pods::default();
        pods.set(place("old"), pod("1"));
        pods.list_begins();
        pods.list_has(place("new"), pod("2"));
        assert!(pods.find(&meant("old", "1")).is_some(), "until the list ends");
        pods.set(place("newer"), pod("3"));
        pods.list_has(place("newer"), pod("3"));
        pods.list_ends();
        assert_eq!(pods.find(&meant("old", "1")), None);
        assert!(pods.find(&meant("new", "2")).is_some() && pods.find(&meant("newer", "3")).is_some());
    }

    #[test]
    fn only_what_is_read_is_kept() {
        let all = [
            "offramp.dev/offload",
            "offramp.dev/status",
            NETWORK_STATUS,
            "k8s.v1.cni.cncf.io/networks",
            "x/y",
        ];
        let kept = Pod::relevant(all.map(|k| (k.to_owned(), "v".to_owned())));
        assert_eq!(
            kept.into_keys().collect::<Vec<_>>(),
            ["k8s.v1.cni.cncf.io/networks", "offramp.dev/offload"]
        );
    }
}
