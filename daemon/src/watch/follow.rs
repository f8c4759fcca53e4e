//! A list and then a watch, for ever: kube's watcher, with what it leaves to its user. It would ask for a version that
//! is gone again and again (an HTTP status 410, where the real server may also send an event with 410 inside): then
//! everything is listed anew.

use super::backoff::{Backoff, jittered, random};
use futures::StreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::pin::pin;
use std::time::{Duration, Instant};

/// All nodes start at once when a cluster's power comes back.
const START: Duration = Duration::from_millis(500);
/// So often everything is listed anew, whatever the watch has told: for what no event has.
const RESYNC: Duration = Duration::from_hours(4);
/// Objects of one page of a list: all that is in memory of it at a time.
const PAGE: u32 = 250;

/// What [`follow`] tells.
pub enum News<K> {
    /// An object, or the beginning or end of a list.
    Event(Event<K>),
    /// Why there is no news; it goes on.
    Fault(String),
}

/// What is listed and watched. Lists are the newest state, never a cache's of some time ago: what is not in one is gone.
pub fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// Follows for ever.
pub async fn follow<K>(api: Api<K>, config: watcher::Config, mut tell: impl FnMut(News<K>))
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    tokio::time::sleep(jittered(START, random())).await;
    let mut backoff = Backoff::default();
    loop {
        let mut events = pin!(watcher(api.clone(), config.clone()));
        let resync = Instant::now() + jittered(RESYNC, random());
        // A list that has begun is waited for: it is as good.
        while Instant::now() < resync {
            let event = tokio::time::timeout_at(resync.into(), events.next()).await;
            match event {
                Ok(Some(Ok(event))) => tell(News::Event(event)),
                Ok(Some(Err(e))) => {
                    tell(News::Fault(describe(&e)));
                    tokio::time::sleep(backoff.after_fault(Instant::now(), random())).await;
                    if is_gone(&e) {
                        break;
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
    }
}

/// Whether the version from which was to be watched is no longer known.
fn is_gone(e: &watcher::Error) -> bool {
    match e {
        watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code == 410,
        _ => false,
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
