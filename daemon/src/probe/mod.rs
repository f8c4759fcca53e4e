//! Promises tested, not believed: asks a few peers of each kind of path whether what the hardware has a part in arrives,
//! answers others, and turns off what is broken (docs/offloads.md). Threads of its own: nobody waits for it.

mod answer;
mod ask;
mod cures;
mod features;
mod prober;
mod report;

pub use answer::Wake;
pub use cures::{Cures, PutBack};

use crate::node::Node;
use crate::run::RunError;
use crate::status::ProbeStatus;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

const PROBE_STACK: usize = 256 << 10;

/// What others want of the prober, and what it has found.
#[derive(Default)]
pub struct Probes {
    state: Mutex<State>,
    changed: Condvar,
    wake: OnceLock<Wake>,
}

#[derive(Default)]
struct State {
    /// Something may be otherwise.
    rung: bool,
    /// How often it was asked to probe, and how many of these are done.
    asked: u64,
    done: u64,
    /// The next one puts back what was turned off, and leaves it so.
    undo: bool,
    found: ProbeStatus,
}

/// What the prober is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// To see whether anything has changed.
    Look,
    /// To ask all anew. It does so for those who asked until now: their number.
    Probe { asked: u64, undo: bool },
}

impl Probes {
    /// Links or peers may be others.
    pub fn ring(&self) {
        self.state().rung = true;
        self.changed.notify_all();
        if let Some(wake) = self.wake.get() {
            wake.ring();
        }
    }

    /// Has all be asked anew, after putting back what was turned off if `undo`; answers what was found, or none if that takes
    /// longer than `patience`.
    pub fn request(&self, undo: bool, patience: Duration) -> Option<ProbeStatus> {
        let mut state = self.state();
        state.asked += 1;
        state.undo |= undo;
        let number = state.asked;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(state, patience, |state| state.done < number);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        (state.done >= number).then(|| state.found.clone())
    }

    /// What was found.
    pub fn found(&self) -> ProbeStatus {
        self.state().found.clone()
    }

    /// Waits for something to do, until `until` at most.
    fn wait(&self, until: Option<Instant>) -> Order {
        let mut state = self.state();
        loop {
            if state.asked > state.done {
                state.rung = false;
                return Order::Probe { asked: state.asked, undo: std::mem::take(&mut state.undo) };
            }
            let left = until.map(|at| at.saturating_duration_since(Instant::now()));
            if std::mem::take(&mut state.rung) || left.is_some_and(|left| left.is_zero()) {
                return Order::Look;
            }
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn publish(&self, found: ProbeStatus, asked: Option<u64>) {
        let mut state = self.state();
        state.found = found;
        state.done = asked.unwrap_or(state.done);
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the threads. One that does not probe puts back what a former daemon turned off.
pub fn start(
    node: &Arc<Node>,
    thread: impl Fn(&'static str, Box<dyn FnOnce() + Send>) -> Result<(), RunError>,
) -> Result<(), RunError> {
    if node.config.offloads.probe {
        let wake = Wake::new().map_err(|e| RunError::Thread("probe-answers", e))?;
        let _ = node.probes.wake.set(wake);
        let answering = node.clone();
        thread(
            "probe-answers",
            Box::new(move || {
                if let Some(wake) = answering.probes.wake.get() {
                    answer::run(&answering, wake);
                }
            }),
        )?;
    }
    let probing = node.clone();
    thread("probe", Box::new(move || prober::run(&probing)))
}

/// Puts back all that was turned off.
pub fn put_back(node: &Node) -> PutBack {
    Cures::recall(node).put_back(node, |_| true)
}
