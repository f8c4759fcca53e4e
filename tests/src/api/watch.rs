//! A watch: from a version on, for ever or until its time is up.

use super::Gone;
use super::reply::{Answer, Form, Refusal};
use super::request::Ask;
use super::resource::Resource;
use super::selector::Selector;
use super::serve::Shared;
use super::store::{Change, Store};
use super::verbs::selector;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// As often as the real server's.
const BOOKMARK: Duration = Duration::from_secs(60);
/// The real server's least, if the client names none.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// The state of one watch.
pub struct Watch {
    shared: Arc<Shared>,
    resource: Resource,
    selector: Selector,
    form: Form,
    version: u64,
    bookmarks: Option<u64>,
    next_bookmark: Instant,
    end: Instant,
    changed: tokio::sync::watch::Receiver<u64>,
    /// What is sent before anything else.
    first: String,
    ended: bool,
}

impl Watch {
    pub fn begin(shared: &Arc<Shared>, ask: &Ask) -> Answer<Self> {
        let changed = shared.subscribe();
        let store = shared.store();
        let resource = store.resource(ask)?;
        let selector = selector(ask)?;
        if ask.flag("sendInitialEvents") {
            let text = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList \
                        feature gate is enabled";
            return Err(Refusal::invalid(text));
        }
        let mut first = String::new();
        let mut ended = false;
        let version = match ask.parameter("resourceVersion") {
            "" | "0" => {
                for object in store.all(&resource).filter(|o| selector.selects(o)) {
                    first += &event("ADDED", &ask.form.of(object));
                }
                store.version
            }
            text => {
                let version = text.parse().map_err(|_| Refusal::bad_request("invalid resource version"))?;
                if version > store.version {
                    let text = format!("Too large resource version: {version}, current: {}", store.version);
                    return Err(Refusal::new(504, "Timeout", text));
                }
                if version < store.compacted {
                    let refusal = Refusal::gone(version, store.compacted);
                    if store.gone == Gone::Http {
                        return Err(refusal);
                    }
                    first = event("ERROR", &refusal.status());
                    ended = true;
                }
                version
            }
        };
        let bookmarks = ask.flag("allowWatchBookmarks").then_some(store.bookmarks);
        let timeout = ask.parameter("timeoutSeconds").parse().map_or(TIMEOUT, Duration::from_secs);
        let now = Instant::now();
        drop(store);
        shared.watches.fetch_add(1, Ordering::SeqCst);
        Ok(Self {
            shared: shared.clone(),
            resource,
            selector,
            form: ask.form,
            version,
            bookmarks,
            next_bookmark: now + BOOKMARK,
            end: now + timeout,
            changed,
            first,
            ended,
        })
    }

    /// The next lines to send; none at the end.
    pub async fn next(&mut self) -> Option<String> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first));
        }
        while !self.ended {
            self.changed.mark_unchanged();
            let text = self.read();
            if !text.is_empty() {
                return Some(text);
            }
            if Instant::now() >= self.end {
                break;
            }
            let due = self.next_bookmark.min(self.end);
            let _ = tokio::time::timeout_at(due.into(), self.changed.changed()).await;
        }
        None
    }

    fn read(&mut self) -> String {
        let shared = self.shared.clone();
        let store = shared.store();
        let mut text = String::new();
        let unread = store.changes.partition_point(|change| change.version <= self.version);
        for change in store.changes.range(unread..).filter(|c| c.resource == self.resource.name()) {
            text += &self.line(change).unwrap_or_default();
        }
        self.version = store.version;
        text + &self.bookmark(&store)
    }

    /// A change as it looks through the selector.
    fn line(&self, change: &Change) -> Option<String> {
        let selected =
            |object: &Option<Arc<Value>>| object.as_ref().is_some_and(|o| self.selector.selects(o));
        let kind = match (selected(&change.before), selected(&change.after)) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        Some(event(kind, &self.form.of(&change.last)))
    }

    fn bookmark(&mut self, store: &Store) -> String {
        let Some(seen) = self.bookmarks else { return String::new() };
        if seen == store.bookmarks && Instant::now() < self.next_bookmark {
            return String::new();
        }
        self.bookmarks = Some(store.bookmarks);
        self.next_bookmark = Instant::now() + BOOKMARK;
        let (api_version, kind) = match self.form {
            Form::Whole => (self.resource.api_version(), self.resource.kind.as_str()),
            Form::Metadata => ("meta.k8s.io/v1".into(), "PartialObjectMetadata"),
        };
        let metadata = json!({"resourceVersion": self.version.to_string()});
        event("BOOKMARK", &json!({"apiVersion": api_version, "kind": kind, "metadata": metadata}))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.watches.fetch_sub(1, Ordering::SeqCst);
    }
}

fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}
