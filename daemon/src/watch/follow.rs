//! A list and then a watch, for ever: kube's watcher, with what it leaves to its user. It would ask for a version that
//! is gone again and again (an HTTP status 410, where the real server may also send an event with 410 inside): then
//! everything is listed anew.

use super::api::Api;
use super::backoff::{Backoff, jittered, random};
use crate::node::Node;
use futures::StreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// All nodes start at once when a cluster's power comes back, and list all that there is.
const START: Duration = Duration::from_millis(500);
/// So often everything is listed anew, whatever the watch has told: for what no event has.
const RESYNC: Duration = Duration::from_hours(4);
/// Objects of one page of a list: all that is in memory of it at a time.
const PAGE: u32 = 250;
/// A watch that is refused, or finds nobody, has failed by then; one that was taken up tells nothing until there is news.
const TAKEN_UP: Duration = Duration::from_secs(10);

/// What is followed.
pub struct Followed<K> {
    /// In metrics, and in `offrampd status`.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// The objects, by a client.
    pub api: fn(Client) -> kube::Api<K>,
    /// Which of them.
    pub config: watcher::Config,
    /// Whether a cluster that does not have the kind is as it should be.
    pub optional: bool,
    /// Whether all nodes ask for the same: then they start at different times.
    pub of_all: bool,
}

/// What is listed and watched. Lists are the newest state, never a cache's of some time ago: what is not in one is gone.
pub fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// Follows for ever, and tells each event. How it stands is noted in `node`.
pub async fn follow<K>(api: &Api, node: &Arc<Node>, followed: Followed<K>, mut tell: impl FnMut(Event<K>))
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut standing = Standing { node, name: followed.name, complete: false, faulty: true };
    node.watch_begins(followed.name);
    if followed.of_all {
        tokio::time::sleep(jittered(START, random())).await;
    }
    let (mut backoff, mut renewals) = (Backoff::default(), api.renewals());
    loop {
        let mut events = pin!(watcher((followed.api)(api.client()), followed.config.clone()));
        let resync = Instant::now() + jittered(RESYNC, random());
        standing.complete = false;
        // A list that has begun is waited for: it is as good.
        while Instant::now() < resync {
            let until =
                if standing.may_be_taken_up() { resync.min(Instant::now() + TAKEN_UP) } else { resync };
            let event = tokio::select! {
                event = tokio::time::timeout_at(until.into(), events.next()) => event,
                Ok(()) = renewals.changed() => break,
            };
            match event {
                Ok(Some(Ok(event))) => {
                    standing.told(&event);
                    tell(event);
                }
                Ok(Some(Err(e))) => {
                    if followed.optional && is_unknown(&e) {
                        standing.absent();
                    } else {
                        standing.failed(format!(
                            "Kubernetes API, watch of {}: {}",
                            followed.what,
                            describe(&e)
                        ));
                    }
                    let wait = tokio::time::sleep(backoff.after_fault(Instant::now(), random()));
                    tokio::select! {
                        () = wait => {}
                        Ok(()) = renewals.changed() => break,
                    }
                    if is_gone(&e) {
                        break;
                    }
                }
                Err(_) if standing.may_be_taken_up() => standing.taken_up(),
                Ok(None) | Err(_) => break,
            }
        }
    }
}

/// How a watch stands.
struct Standing<'a> {
    node: &'a Node,
    name: &'static str,
    /// All was listed.
    complete: bool,
    /// Nothing has come since it failed.
    faulty: bool,
}

impl Standing<'_> {
    fn told<K>(&mut self, event: &Event<K>) {
        match event {
            // It comes before the list is asked for.
            Event::Init => return self.complete = false,
            Event::InitDone => self.complete = true,
            Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
        }
        self.faulty = false;
        self.node.watch_told(self.name);
    }

    /// The watcher says nothing of a watch that it has taken up again.
    fn may_be_taken_up(&self) -> bool {
        self.faulty && self.complete
    }

    fn taken_up(&mut self) {
        self.faulty = false;
        self.node.watch_fault(self.name, None);
    }

    fn failed(&mut self, why: String) {
        self.faulty = true;
        self.node.watch_fault(self.name, Some(why));
    }

    fn absent(&mut self) {
        self.faulty = true;
        self.node.watch_absent(self.name);
    }
}

/// Whether the version from which was to be watched is no longer known.
fn is_gone(e: &watcher::Error) -> bool {
    matches!(status(e), Some(410))
}

/// Whether the server has no objects of that kind.
fn is_unknown(e: &watcher::Error) -> bool {
    matches!(status(e), Some(404))
}

fn status(e: &watcher::Error) -> Option<u16> {
    match e {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// With its causes: the outermost says little.
pub fn describe(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = e.source();
    }
    text
}
